"""The functions that an exported model carries, as contract.json lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from . import contract
from .clone import Clone
from .layers import FedDropout
from .preprocess import Preprocess

LOSSES = {
    "probabilities": "the model gives probabilities; Keras finds the logits before its softmax, as in `fit`",
    "logits": "the model gives logits",
    "softmax-twice": "the model gives probabilities, and they are taken for logits: the cross-entropy of a "
    "second softmax, as in PyTorch when CrossEntropyLoss gets the output of a Softmax",
}
"""What the cross-entropy is computed from."""


class Backward(NamedTuple):
    """What a forward and a backward pass give."""

    loss: tf.Tensor
    """Float32 []."""
    correct: tf.Tensor
    """Int64 []."""
    gradients: list[tf.Tensor]
    """One for each weight that is trained."""


class Program:
    """A classifier with its loss and optimizer, as functions over uint8 images.

    `train` and `train_accumulate` change weights, BatchNorm statistics and optimizer state; `evaluate` and
    `serve` nothing. The loss is the sparse categorical cross-entropy by one of LOSSES and the model's
    regularization losses. upsample is by how much the model enlarges its images, if that can be fed.

    Of a model with `parts`, `train_head` and `evaluate_head` do as `train` and `evaluate` from the features
    that its backbone makes of images, which stays as it is.

    With a keras.optimizers.LossScaleOptimizer gradients are those of the loss times its scale. A step whose
    gradients are not finite changes nothing but the scale and BatchNorm's statistics; its grad_norm is 0.
    """

    def __init__(
        self,
        clone: Clone,
        optimizer: keras.optimizers.Optimizer,
        preprocess: Preprocess,
        loss: str,
        upsample: int | None = None,
    ) -> None:
        self.model, self.seed, self.factor = clone.model, clone.seed, clone.factor
        self.cancelled = clone.cancelled
        self.scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        inner = optimizer.inner_optimizer if self.scaled else optimizer
        # An optimizer that averages weights moves all of them in each step.
        self.parts = None if inner.use_ema else clone.parts
        self.optimizer = optimizer
        self.preprocess = preprocess
        self.loss = loss
        self.upsample = upsample
        optimizer.build(self.model.trainable_variables)

    def train(
        self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """A step on images uint8 [N,H,W,C], labels int64 [N]; seed int64 [2] decides each draw."""
        return self._step(self.model, self.preprocess(images), labels, learning_rate, seed)

    def train_accumulate(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        learning_rate: tf.Tensor,
        micro_batch_size: tf.Tensor,
        upsample: tf.Tensor | None = None,
        seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """A step by the mean gradient of micro-batches, each of micro_batch_size int64 [] images, at least 1.

        They are computed one after the other; the last one may be short. Each has its own BatchNorm, and
        draws by a seed of its own, the first one by the step's. upsample int64 [] is how much images are
        enlarged in this step, 0 for as much as the model does elsewhere.
        """
        size, examples = tf.maximum(micro_batch_size, 1), tf.shape(labels, tf.int64)[0]
        factor = None if upsample is None else tf.where(upsample > 0, upsample, self.upsample)

        def add(start: tf.Tensor, sums: Backward) -> tuple[tf.Tensor, Backward]:
            some = slice(start, start + size)
            share = tf.cast(tf.size(labels[some]), tf.float32) / tf.cast(examples, tf.float32)
            draws = None if seed is None else _seed_of(seed, start // size)
            with self.factor.feed(factor):
                inputs = self.preprocess(images[some], factor)
                found = self._backward(self.model, inputs, labels[some], draws, share)
            return start + size, tf.nest.map_structure(tf.add, sums, found)

        zeros = [tf.zeros(weight.shape, weight.dtype) for weight in self.model.trainable_variables]
        nothing = Backward(tf.constant(0.0), tf.constant(0, tf.int64), zeros)
        # One after the other: each moves BatchNorm's statistics, and memory is for one.
        _, sums = tf.while_loop(
            lambda start, _: start < examples, add, (tf.constant(0, tf.int64), nothing), parallel_iterations=1
        )
        return self._update(sums, self.model.trainable_variables, learning_rate)

    def evaluate(self, images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Loss summed over N, as Keras's evaluate counts it before it divides, and the classes predicted."""
        outputs = _outputs(self.model, self.preprocess(images), training=False)
        return self._measure(outputs, labels, self.model)

    def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities float32 [N,classes]."""
        outputs = _outputs(self.model, self.preprocess(images), training=False)
        return {"probabilities": tf.nn.softmax(outputs) if self.loss == "logits" else outputs}

    def features(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the backbone makes of images when it predicts: float32 [N,features]."""
        return {"features": _outputs(self.parts.backbone, self.preprocess(images), training=False)}

    def train_head(
        self, features: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """`train` of a model whose backbone is not trainable and predicts: only the head is penalized."""
        return self._step(self.parts.head, features, labels, learning_rate, seed)

    def evaluate_head(self, features: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """`evaluate` of the images that features were made of, the backbone's regularization included."""
        outputs = _outputs(self.parts.head, features, training=False)
        return self._measure(outputs, labels, self.parts.backbone, self.parts.head)

    def trace(self, sizes: contract.Sizes) -> dict[str, Any]:
        """The concrete functions by signature name, checked against the contract."""
        of_all = {
            "train": self.train,
            "train_accumulate": self.train_accumulate,
            "evaluate": self.evaluate,
            "serving_default": self.serve,
        }
        traced = self._trace(sizes, of_all)
        if self.parts and any(layer._get_own_losses() for layer in self.parts.backbone._flatten_layers()):
            self.parts = None  # features do not tell what the backbone pays for its activations
        if self.parts:
            sizes = {**sizes, "features": self.parts.features}
            of_parts = {
                "features": self.features,
                "train_head": self.train_head,
                "evaluate_head": self.evaluate_head,
            }
            traced |= self._trace(sizes, of_parts)
        return traced

    def _trace(
        self, sizes: contract.Sizes, functions: Mapping[str, Callable[..., dict[str, tf.Tensor]]]
    ) -> dict[str, Any]:
        traced = {}
        for name, function in functions.items():
            draws = _draws(self.parts.head if name == "train_head" else self.model)
            wanted = {"seed": draws, "upsample": self.upsample is not None}
            optional = frozenset(name for name, is_wanted in wanted.items() if is_wanted)
            specs = contract.input_specs(name, sizes, optional=optional)
            concrete = tf.function(function, autograph=False).get_concrete_function(
                **{spec.name: spec for spec in specs}
            )
            contract.check_outputs(name, concrete.structured_outputs, sizes)
            traced[name] = concrete
        return traced

    def _step(
        self,
        model: keras.Model,
        inputs: tf.Tensor,
        labels: tf.Tensor,
        learning_rate: tf.Tensor,
        seed: tf.Tensor | None,
    ) -> dict[str, tf.Tensor]:
        """Trains the weights of model, a part of this one or all of it."""
        found = self._backward(model, inputs, labels, seed)
        return self._update(found, model.trainable_variables, learning_rate)

    def _backward(
        self,
        model: keras.Model,
        inputs: tf.Tensor,
        labels: tf.Tensor,
        seed: tf.Tensor | None,
        share: tf.Tensor | None = None,
    ) -> Backward:
        """Mean loss and its gradients; of a share float32 [] of a step's examples, that much of both."""
        with tf.GradientTape() as tape, self.seed.feed(seed):
            outputs = _outputs(model, inputs, training=True)
            loss = tf.reduce_mean(self._cross_entropy(labels, outputs)) + _regularization(model)
            scaled = self.optimizer.scale_loss(loss) if self.scaled else loss
        gradients = self._gradients(tape, scaled, model.trainable_variables, share)
        loss = loss if share is None else loss * share
        return Backward(loss, _correct(labels, tf.argmax(outputs, axis=-1)), gradients)

    def _update(
        self, found: Backward, weights: Sequence[keras.Variable], learning_rate: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Lets the optimizer take a step, and returns what train does."""
        norm = tf.linalg.global_norm(found.gradients)
        if self.scaled:
            norm /= self.optimizer.dynamic_scale.value
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(found.gradients, weights)
        return {"loss": found.loss, "correct": found.correct, "grad_norm": norm}

    def _measure(self, outputs: tf.Tensor, labels: tf.Tensor, *parts: keras.Model) -> dict[str, tf.Tensor]:
        predictions = tf.argmax(outputs, axis=-1)
        n = tf.cast(tf.shape(labels)[0], tf.float32)
        return {
            "loss_sum": tf.reduce_sum(self._cross_entropy(labels, outputs)) + n * _regularization(*parts),
            "correct": _correct(labels, predictions),
            "predictions": predictions,
        }

    def _gradients(
        self,
        tape: tf.GradientTape,
        loss: tf.Tensor,
        weights: Sequence[keras.Variable],
        share: tf.Tensor | None,
    ) -> list[tf.Tensor]:
        """One for each weight, times share; those that are zero by construction are not computed."""
        cancelled = {id(bias) for bias in self.cancelled}
        found = iter(
            tape.gradient(
                loss,
                [w.value for w in weights if id(w) not in cancelled],
                output_gradients=share,
                unconnected_gradients="none" if share is None else "zero",  # only tensors can be summed
            )
        )
        return [tf.zeros(w.shape) if id(w) in cancelled else next(found) for w in weights]

    def _cross_entropy(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Float32 [N]."""
        if self.loss == "probabilities":
            return keras.ops.sparse_categorical_crossentropy(labels, outputs)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)


def _outputs(model: keras.Model, inputs: tf.Tensor, *, training: bool) -> tf.Tensor:
    return tf.cast(model(inputs, training=training), tf.float32)


def _regularization(*parts: keras.Model) -> tf.Tensor | float:
    losses: Sequence[tf.Tensor] = [loss for part in parts for loss in part.losses]
    return tf.add_n(losses) if losses else 0.0


def _draws(model: keras.Model) -> bool:
    return any(isinstance(layer, FedDropout) for layer in model._flatten_layers())


def _correct(labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(tf.equal(labels, predictions), tf.int64))


def _seed_of(seed: tf.Tensor, micro_batch: tf.Tensor) -> tf.Tensor:
    """The seed int64 [2] of a micro-batch, counted from 0, of a step."""
    return tf.where(micro_batch == 0, seed, tf.random.fold_in(seed, micro_batch))

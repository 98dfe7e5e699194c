"""The functions that an exported model carries: train, train_accumulate, evaluate and serving_default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from . import contract
from .clone import Clone
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
    """One for each trainable weight."""


class Program:
    """A classifier with its loss and optimizer, as functions over uint8 images.

    `train` and `train_accumulate` change weights, BatchNorm statistics and optimizer state; `evaluate` and
    `serve` nothing. The loss is the sparse categorical cross-entropy by one of LOSSES and the model's
    regularization losses. upsample is by how much the model enlarges its images, if that can be fed.
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
        self.optimizer = optimizer
        self.preprocess = preprocess
        self.loss = loss
        self.upsample = upsample
        optimizer.build(self.model.trainable_variables)

    def train(
        self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """A step on images uint8 [N,H,W,C], labels int64 [N]; seed int64 [2] decides each draw."""
        return self._update(self._backward(images, labels, seed), learning_rate)

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
                found = self._backward(images[some], labels[some], draws, share)
            return start + size, tf.nest.map_structure(tf.add, sums, found)

        zeros = [tf.zeros(weight.shape, weight.dtype) for weight in self.model.trainable_variables]
        nothing = Backward(tf.constant(0.0), tf.constant(0, tf.int64), zeros)
        # One after the other: each moves BatchNorm's statistics, and memory is for one.
        _, sums = tf.while_loop(
            lambda start, _: start < examples, add, (tf.constant(0, tf.int64), nothing), parallel_iterations=1
        )
        return self._update(sums, learning_rate)

    def evaluate(self, images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Loss summed over N, as Keras's evaluate counts it before it divides, and the classes predicted."""
        outputs = self._forward(images, training=False)
        predictions = tf.argmax(outputs, axis=-1)
        n = tf.cast(tf.shape(images)[0], tf.float32)
        return {
            "loss_sum": tf.reduce_sum(self._cross_entropy(labels, outputs)) + n * self._regularization(),
            "correct": _correct(labels, predictions),
            "predictions": predictions,
        }

    def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities float32 [N,classes]."""
        outputs = self._forward(images, training=False)
        return {"probabilities": tf.nn.softmax(outputs) if self.loss == "logits" else outputs}

    def trace(self, sizes: contract.Sizes) -> dict[str, Any]:
        """The concrete functions by signature name, checked against the contract."""
        optional = frozenset(
            name
            for name, wanted in {"seed": self.seed.layers, "upsample": self.upsample is not None}.items()
            if wanted
        )
        functions = {
            "train": self.train,
            "train_accumulate": self.train_accumulate,
            "evaluate": self.evaluate,
            "serving_default": self.serve,
        }
        traced = {}
        for name, function in functions.items():
            specs = contract.input_specs(name, sizes, optional=optional)
            concrete = tf.function(function, autograph=False).get_concrete_function(
                **{spec.name: spec for spec in specs}
            )
            contract.check_outputs(name, concrete.structured_outputs, sizes)
            traced[name] = concrete
        return traced

    def _backward(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        seed: tf.Tensor | None,
        share: tf.Tensor | None = None,
    ) -> Backward:
        """Mean loss and its gradients; of a share float32 [] of a step's examples, that much of both."""
        with tf.GradientTape() as tape, self.seed.feed(seed):
            outputs = self._forward(images, training=True)
            loss = tf.reduce_mean(self._cross_entropy(labels, outputs)) + self._regularization()
        gradients = self._gradients(tape, loss, share)
        loss = loss if share is None else loss * share
        return Backward(loss, _correct(labels, tf.argmax(outputs, axis=-1)), gradients)

    def _update(self, found: Backward, learning_rate: tf.Tensor) -> dict[str, tf.Tensor]:
        """Lets the optimizer take a step, and returns what train does."""
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(found.gradients, self.model.trainable_variables)
        return {
            "loss": found.loss,
            "correct": found.correct,
            "grad_norm": tf.linalg.global_norm(found.gradients),
        }

    def _gradients(self, tape: tf.GradientTape, loss: tf.Tensor, share: tf.Tensor | None) -> list[tf.Tensor]:
        """One for each weight, times share; those that are zero by construction are not computed."""
        weights = self.model.trainable_variables
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

    def _forward(self, images: tf.Tensor, *, training: bool) -> tf.Tensor:
        return tf.cast(self.model(self.preprocess(images, self.factor.value), training=training), tf.float32)

    def _cross_entropy(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Float32 [N]."""
        if self.loss == "probabilities":
            return keras.ops.sparse_categorical_crossentropy(labels, outputs)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)

    def _regularization(self) -> tf.Tensor | float:
        losses: Sequence[tf.Tensor] = self.model.losses
        return tf.add_n(losses) if losses else 0.0


def _correct(labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(tf.equal(labels, predictions), tf.int64))


def _seed_of(seed: tf.Tensor, micro_batch: tf.Tensor) -> tf.Tensor:
    """The seed int64 [2] of a micro-batch, counted from 0, of a step."""
    return tf.where(micro_batch == 0, seed, tf.random.fold_in(seed, micro_batch))

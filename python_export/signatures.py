"""The functions that an exported model carries: train, evaluate, serving_default, and those of a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


class Program:
    """A classifier with its loss and optimizer, as functions over uint8 images.

    `train` changes weights, BatchNorm statistics and optimizer state; `evaluate` and `serve` nothing. The
    loss is the sparse categorical cross-entropy by one of LOSSES and the model's regularization losses.

    Of a model with `parts`, `train_head` and `evaluate_head` do the same from the features that its backbone
    makes of images, which stays as it is.
    """

    def __init__(
        self, clone: Clone, optimizer: keras.optimizers.Optimizer, preprocess: Preprocess, loss: str
    ) -> None:
        self.model, self.seed = clone.model, clone.seed
        self.cancelled = clone.cancelled
        # An optimizer that averages weights moves all of them in each step.
        self.parts = None if optimizer.use_ema else clone.parts
        self.optimizer = optimizer
        self.preprocess = preprocess
        self.loss = loss
        optimizer.build(self.model.trainable_variables)

    def train(
        self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """A step on images uint8 [N,H,W,C], labels int64 [N]; seed int64 [2] decides each draw."""
        return self._step(self.model, self.preprocess(images), labels, learning_rate, seed)

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
        traced = self._trace(
            sizes, {"train": self.train, "evaluate": self.evaluate, "serving_default": self.serve}
        )
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
            specs = contract.input_specs(name, sizes, optional=frozenset({"seed"} if draws else ()))
            concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
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
        weights = model.trainable_variables
        with tf.GradientTape() as tape, self.seed.feed(seed):
            outputs = _outputs(model, inputs, training=True)
            loss = tf.reduce_mean(self._cross_entropy(labels, outputs)) + _regularization(model)
        gradients = self._gradients(tape, loss, weights)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, weights)
        return {
            "loss": loss,
            "correct": _correct(labels, tf.argmax(outputs, axis=-1)),
            "grad_norm": tf.linalg.global_norm(gradients),
        }

    def _measure(self, outputs: tf.Tensor, labels: tf.Tensor, *parts: keras.Model) -> dict[str, tf.Tensor]:
        predictions = tf.argmax(outputs, axis=-1)
        n = tf.cast(tf.shape(labels)[0], tf.float32)
        return {
            "loss_sum": tf.reduce_sum(self._cross_entropy(labels, outputs)) + n * _regularization(*parts),
            "correct": _correct(labels, predictions),
            "predictions": predictions,
        }

    def _gradients(
        self, tape: tf.GradientTape, loss: tf.Tensor, weights: Sequence[keras.Variable]
    ) -> list[tf.Tensor]:
        """One for each weight; those that are zero by construction are not computed."""
        cancelled = {id(bias) for bias in self.cancelled}
        found = iter(tape.gradient(loss, [w.value for w in weights if id(w) not in cancelled]))
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

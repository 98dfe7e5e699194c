"""The functions that an exported model carries: train, evaluate and serving_default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


class Program:
    """A classifier with its loss and optimizer, as functions over uint8 images.

    `train` changes weights, BatchNorm statistics and optimizer state; `evaluate` and `serve` nothing. The
    loss is the sparse categorical cross-entropy by one of LOSSES and the model's regularization losses.
    """

    def __init__(
        self, clone: Clone, optimizer: keras.optimizers.Optimizer, preprocess: Preprocess, loss: str
    ) -> None:
        self.model, self.seed = clone.model, clone.seed
        self.cancelled = clone.cancelled
        self.optimizer = optimizer
        self.preprocess = preprocess
        self.loss = loss
        optimizer.build(self.model.trainable_variables)

    def train(
        self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """A step on images uint8 [N,H,W,C], labels int64 [N]; seed int64 [2] decides each draw."""
        weights = self.model.trainable_variables
        with tf.GradientTape() as tape, self.seed.feed(seed):
            outputs = self._forward(images, training=True)
            loss = tf.reduce_mean(self._cross_entropy(labels, outputs)) + self._regularization()
        gradients = self._gradients(tape, loss, weights)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, weights)
        return {
            "loss": loss,
            "correct": _correct(labels, tf.argmax(outputs, axis=-1)),
            "grad_norm": tf.linalg.global_norm(gradients),
        }

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
        optional = frozenset({"seed"} if self.seed.layers else ())
        functions = {"train": self.train, "evaluate": self.evaluate, "serving_default": self.serve}
        traced = {}
        for name, function in functions.items():
            specs = contract.input_specs(name, sizes, optional=optional)
            concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
            contract.check_outputs(name, concrete.structured_outputs, sizes)
            traced[name] = concrete
        return traced

    def _gradients(
        self, tape: tf.GradientTape, loss: tf.Tensor, weights: Sequence[keras.Variable]
    ) -> list[tf.Tensor]:
        """One for each weight; those that are zero by construction are not computed."""
        cancelled = {id(bias) for bias in self.cancelled}
        found = iter(tape.gradient(loss, [w.value for w in weights if id(w) not in cancelled]))
        return [tf.zeros(w.shape) if id(w) in cancelled else next(found) for w in weights]

    def _forward(self, images: tf.Tensor, *, training: bool) -> tf.Tensor:
        return tf.cast(self.model(self.preprocess(images), training=training), tf.float32)

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

"""The whole ResNet50 with fused BatchNorm against stock Keras, both against float64.

At random weights ResNet50 is ill-conditioned in float32: two correct programs differ by percents in the
gradient and, in the deepest layers, by more than 1e-5 in the batch statistics (by 1.1e-5 even with moments
computed in float64 inside the float32 network). So the whole network is held to stock Keras's own error, and
each layer to 1e-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export.clone import clone
from python_export.layers import FusedBatchNorm
from python_export.names import named_weights
from python_export.recipes import keras_resnet50

BATCHES = [
    (rng.integers(0, 256, (16, 32, 32, 3)) / 255, rng.integers(0, 10, 16))
    for rng in map(np.random.default_rng, range(3))
]
UPSAMPLE = 2


@dataclass(frozen=True)
class Runs:
    """What three training passes at learning rate 0 gave."""

    model: keras.Model
    gradients: list[np.ndarray]
    """Float64 [parameters], one a batch."""
    statistics: dict[str, np.ndarray]
    """BatchNorm's moving statistics afterwards."""


@contextmanager
def float64() -> Iterator[None]:
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def run(model: keras.Model) -> Runs:
    dtype = model.compute_dtype
    weights = [weight.value for weight in model.trainable_variables]

    @tf.function(autograph=False)
    def gradients(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = tf.reduce_mean(keras.ops.sparse_categorical_crossentropy(labels, outputs))
        return tape.gradient(loss, weights)

    found = [
        np.concatenate(
            [np.float64(part).ravel() for part in gradients(tf.constant(x, dtype), tf.constant(y))]
        )
        for x, y in BATCHES
    ]
    statistics = {path: weight.numpy() for path, weight in named_weights(model).items() if "/moving_" in path}
    return Runs(model, found, statistics)


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(0)
    stock = keras_resnet50(10, 32, UPSAMPLE)
    with float64():
        exact = keras_resnet50(10, 32, UPSAMPLE)
    exact.set_weights(stock.get_weights())
    return {"exact": exact, "stock": stock, "fused": clone(stock, "fused").model}


@pytest.fixture(scope="module")
def inference(models) -> dict[str, np.ndarray]:
    """Probabilities before training. Run before `runs`, which moves statistics."""
    images = BATCHES[0][0].astype(np.float32)
    return {name: models[name](images, training=False).numpy() for name in ("stock", "fused")}


@pytest.fixture(scope="module")
def runs(models, inference) -> dict[str, Runs]:
    return {name: run(model) for name, model in models.items()}


def test_every_batch_norm_is_fused(models):
    kinds = [type(layer) for layer in models["fused"]._flatten_layers()]
    assert kinds.count(FusedBatchNorm) == 53
    assert keras.layers.BatchNormalization not in kinds
    assert not any(isinstance(layer, FusedBatchNorm) for layer in models["stock"]._flatten_layers())


def test_inference_agrees_to_1e_5(inference):
    assert np.abs(inference["fused"] - inference["stock"]).max() <= 1e-5


def test_inference_agrees_to_1e_5_after_training(models, runs):
    models["fused"].set_weights(models["stock"].get_weights())  # statistics that are neither 0 nor 1
    images = BATCHES[1][0].astype(np.float32)
    stock, fused = (models[name](images, training=False).numpy() for name in ("stock", "fused"))
    assert np.abs(fused - stock).max() <= 1e-5


def test_gradient_error_is_keras_own(runs):
    def error(name: str) -> float:
        """Root of the mean squared relative error over the batches."""
        pairs = zip(runs[name].gradients, runs["exact"].gradients, strict=True)
        return np.sqrt(np.mean([np.sum((ours - true) ** 2) / np.sum(true**2) for ours, true in pairs]))

    assert 0 < error("stock") < 0.1
    assert error("fused") <= 1.5 * error("stock")


def test_moving_statistics_error_is_keras_own(runs):
    def errors(name: str) -> np.ndarray:
        """Of each tensor, the largest error as a part of its largest value."""
        exact = runs["exact"].statistics
        return np.array(
            [np.abs(v - exact[k]).max() / np.abs(exact[k]).max() for k, v in runs[name].statistics.items()]
        )

    assert len(errors("fused")) == 2 * 53
    assert np.sqrt(np.mean(errors("fused") ** 2)) <= 2 * np.sqrt(np.mean(errors("stock") ** 2))
    assert errors("fused").max() <= 3e-5


def test_each_layer_from_the_same_inputs_agrees_to_1e_5(models):
    """Three training passes: every layer of the real network, fed what the stock network feeds it."""
    backbone = models["stock"].get_layer("resnet50")
    stock = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    taps = keras.Model(backbone.inputs, [layer.input for layer in stock])
    fused = [FusedBatchNorm.from_config(layer.get_config()) for layer in stock]
    plain = [keras.layers.BatchNormalization.from_config(layer.get_config()) for layer in stock]
    for ours, theirs, layer in zip(fused, plain, stock, strict=True):
        for copy in (ours, theirs):
            copy.build(layer.input.shape)
            copy.set_weights(layer.get_weights())
    enlarge = models["stock"].get_layer("up_sampling2d")
    for images, _ in BATCHES:
        for ours, theirs, inputs in zip(fused, plain, taps(enlarge(images.astype(np.float32))), strict=True):
            outputs, expected = ours(inputs, training=True), theirs(inputs, training=True)
            assert np.abs(outputs - expected).max() <= 1e-5 * np.abs(expected).max(), ours.name
    for ours, theirs in zip(fused, plain, strict=True):
        for kept, moved in zip(theirs.weights[2:], ours.weights[2:], strict=True):
            assert np.abs(kept.numpy() - moved.numpy()).max() <= 1e-5 * np.abs(kept.numpy()).max(), moved.path

"""The fast layers against Keras's own, one at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export.layers import FedDropout, FedSeed, FusedBatchNorm, _biased

INPUTS = np.random.default_rng(3).normal(0.7, 2.0, (6, 5, 4, 8)).astype(np.float32)


def pair(shape: tuple[int, ...], **settings) -> tuple[keras.Layer, keras.Layer]:
    """The stock layer and the fused one with the same weights, none of them 0 or 1."""
    rng = np.random.default_rng(4)
    stock = keras.layers.BatchNormalization(**settings)
    fused = FusedBatchNorm.from_config(stock.get_config())
    for layer in (stock, fused):
        layer.build(shape)
    weights = [rng.uniform(0.5, 1.5, weight.shape).astype(np.float32) for weight in stock.weights]
    for layer in (stock, fused):
        layer.set_weights(weights)
    return stock, fused


def ops_in(layer: keras.Layer, shape: tuple[int, ...], **arguments) -> set[str]:
    concrete = tf.function(lambda x: layer(x, **arguments), autograph=False).get_concrete_function(
        tf.TensorSpec(shape)
    )
    return {operation.type for operation in concrete.graph.get_operations()}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": False},
        {"center": False},
        {"center": False, "scale": False},
        {"epsilon": 1.001e-5, "momentum": 0.9},
    ],
)
def test_forward_gradient_and_statistics_are_keras(training, settings):
    results = []
    for layer in pair(INPUTS.shape, **settings):
        x = tf.constant(INPUTS)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(tf.sin(y))
        watched = [x, *(weight.value for weight in layer.trainable_weights)]
        results.append([y, *tape.gradient(loss, watched), *layer.get_weights()])
    for stock, fused in zip(*results, strict=True):
        stock, fused = np.asarray(stock), np.asarray(fused)
        assert np.abs(stock - fused).max() <= 1e-5 * max(1.0, np.abs(stock).max())


def test_the_fused_op_is_what_runs():
    stock, fused = pair(INPUTS.shape)
    for training in (False, True):
        assert "FusedBatchNormV3" in ops_in(fused, INPUTS.shape, training=training)
        assert "FusedBatchNormV3" not in ops_in(stock, INPUTS.shape, training=training)


def test_statistics_after_three_passes():
    stock, fused = pair(INPUTS.shape)
    for factor in (1.0, 2.0, 0.5):
        for layer in (stock, fused):
            layer(INPUTS * factor, training=True)
    for kept, moved, start in zip(
        stock.weights[2:], fused.weights[2:], pair(INPUTS.shape)[0].get_weights()[2:], strict=True
    ):
        largest = np.abs(kept.numpy()).max()
        assert np.abs(kept.numpy() - moved.numpy()).max() <= 1e-5 * largest
        assert np.abs(moved.numpy() - start).max() > 1e-3 * largest


def test_one_value_a_channel_has_no_variance():
    stock, fused = pair((1, 1, 1, 8))
    for layer in (stock, fused):
        output = layer(INPUTS[:1, :1, :1], training=True)
        assert np.isfinite(output).all()
    np.testing.assert_allclose(fused.moving_variance.numpy(), stock.moving_variance.numpy(), rtol=1e-6)


def test_a_variance_that_is_undefined_counts_as_none():
    """On one value a channel a GPU may give anything."""
    assert _biased(tf.constant([np.nan, np.inf, 2.0]), tf.ones([1, 1, 1, 3])).numpy().tolist() == [0, 0, 0]


def test_a_frozen_layer_keeps_its_statistics():
    stock, fused = pair(INPUTS.shape)
    before = fused.get_weights()
    stock.trainable = fused.trainable = False
    np.testing.assert_allclose(fused(INPUTS, training=True), stock(INPUTS, training=True), atol=1e-5)
    assert all(np.array_equal(now, then) for now, then in zip(fused.get_weights(), before, strict=True))


@pytest.mark.parametrize(
    ("shape", "settings"),
    [((6, 8), {}), ((6, 5, 8), {}), ((6, 5, 4, 8), {"axis": 1}), ((6, 5, 4, 8), {"renorm": True})],
)
def test_what_the_op_cannot_do_is_left_to_keras(shape, settings):
    stock, fused = pair(shape, **settings)
    x = np.resize(INPUTS, shape)
    assert "FusedBatchNormV3" not in ops_in(fused, shape, training=True)
    np.testing.assert_array_equal(fused(x, training=True), stock(x, training=True))


def test_a_mask_is_left_to_keras():
    stock, fused = pair(INPUTS.shape)
    mask = tf.constant(np.random.default_rng(1).integers(0, 2, INPUTS.shape[:-1]).astype(bool))
    np.testing.assert_array_equal(
        fused(INPUTS, training=True, mask=mask), stock(INPUTS, training=True, mask=mask)
    )


def dropped(
    stock: keras.Layer, seed: list[int] | None, inputs: np.ndarray, *, training: bool = True
) -> np.ndarray:
    source = FedSeed()
    layer = FedDropout(stock, source)
    with source.feed(None if seed is None else tf.constant(seed, tf.int64)):
        return layer(inputs, training=training).numpy()


def test_dropout_is_a_function_of_the_seed():
    stock, ones = keras.layers.Dropout(0.25), np.ones((50, 400), np.float32)
    first = dropped(stock, [1, 2], ones)
    assert np.array_equal(first, dropped(stock, [1, 2], ones))
    assert not np.array_equal(first, dropped(stock, [1, 3], ones))
    assert np.unique(first).tolist() == [0.0, np.float32(1 / 0.75)]
    assert abs(np.mean(first == 0) - 0.25) < 0.02
    assert np.array_equal(dropped(stock, None, ones, training=False), ones)


def test_two_draws_of_one_step_differ():
    source = FedSeed()
    layers = [FedDropout(keras.layers.Dropout(0.5), source) for _ in range(2)]
    ones = np.ones((4, 64), np.float32)
    with source.feed(tf.constant([1, 2], tf.int64)):
        first, second = (layer(ones, training=True).numpy() for layer in layers)
    assert not np.array_equal(first, second)


def test_shapes_of_noise_are_keras():
    spatial = dropped(keras.layers.SpatialDropout2D(0.5), [1, 2], np.ones((6, 5, 4, 8), np.float32))
    assert np.array_equal(spatial, np.broadcast_to(spatial[:, :1, :1], spatial.shape))
    assert set(np.unique(spatial)) == {0.0, 2.0}
    rows = dropped(keras.layers.Dropout(0.5, noise_shape=(None, 1)), [1, 2], np.ones((20, 8), np.float32))
    assert np.array_equal(rows, np.broadcast_to(rows[:, :1], rows.shape))
    assert set(np.unique(rows)) == {0.0, 2.0}


def test_drawing_without_a_seed_is_refused():
    with pytest.raises(ValueError, match="outside of the train step"):
        dropped(keras.layers.Dropout(0.5), None, np.ones((2, 2), np.float32))

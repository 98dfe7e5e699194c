"""Which biases a clone counts as cancelled by the BatchNorm behind them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export.clone import clone

from .helpers import blobs, scaled, small_cnn

INPUTS = keras.Input((8, 8, 3), name="images")


def conv(filters: int = 4, **settings) -> keras.Layer:
    return keras.layers.Conv2D(filters, 3, name="conv", **settings)


def norm(**settings) -> keras.Layer:
    return keras.layers.BatchNormalization(**settings)


def ends_in(*outputs) -> keras.Model:
    """A model of two classes over what was built on INPUTS."""
    flat = [keras.layers.Flatten()(output) for output in outputs]
    merged = flat[0] if len(flat) == 1 else keras.layers.Concatenate()(flat)
    return keras.Model(INPUTS, keras.layers.Dense(2, activation="softmax")(merged))


def frozen(layer: keras.Layer) -> keras.Layer:
    layer.trainable = False
    return layer


def read_twice() -> keras.Model:
    x = conv()(INPUTS)
    return ends_in(norm()(x), x)


def result_of_a_nested_model() -> keras.Model:
    inside = keras.Input((8, 8, 3))
    x = conv()(inside)
    nested = keras.Model(inside, [x, norm()(x)], name="nested")
    return ends_in(*nested(INPUTS))


def called_twice() -> keras.Model:
    twice = conv(padding="same", filters=3)
    return ends_in(norm()(twice(twice(INPUTS))))


def nested() -> keras.Model:
    inside = keras.Input((8, 8, 3))
    return ends_in(keras.Model(inside, norm()(conv()(inside)), name="nested")(INPUTS))


CANCELLED = {
    "a convolution into a BatchNorm": lambda: ends_in(norm()(conv()(INPUTS))),
    "inside a nested model": nested,
    "in a sequence": lambda: keras.Sequential(
        [INPUTS, conv(), norm(), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    ),
}
COUNTS = {
    "no bias": lambda: ends_in(norm()(conv(use_bias=False)(INPUTS))),
    "an activation between": lambda: ends_in(norm()(conv(activation="relu")(INPUTS))),
    "a BatchNorm that is frozen": lambda: ends_in(frozen(norm())(conv()(INPUTS))),
    "a BatchNorm over another axis": lambda: ends_in(norm(axis=1)(conv()(INPUTS))),
    "a bias with a penalty": lambda: ends_in(norm()(conv(bias_regularizer="l2")(INPUTS))),
    "another reader": read_twice,
    "a result of a nested model": result_of_a_nested_model,
    "a layer that is called twice": called_twice,
    "no BatchNorm": lambda: ends_in(conv()(INPUTS)),
}


@pytest.mark.parametrize("case", CANCELLED)
def test_a_bias_before_a_batch_norm_is_cancelled(case):
    model = CANCELLED[case]()
    (bias,) = clone(model, "fused").cancelled
    assert bias.path.endswith("conv/bias")
    assert clone(model, "keras").cancelled == ()


@pytest.mark.parametrize("case", COUNTS)
def test_any_other_bias_counts(case):
    assert clone(COUNTS[case](), "fused").cancelled == ()


def test_keras_itself_finds_nothing_but_rounding_for_a_cancelled_bias():
    model = small_cnn()
    images, labels = blobs(16)
    with tf.GradientTape() as tape:
        outputs = model(scaled(images), training=True)
        loss = tf.reduce_mean(keras.ops.sparse_categorical_crossentropy(labels, outputs))
    found = dict(
        zip(
            [w.path for w in model.trainable_variables],
            tape.gradient(loss, [w.value for w in model.trainable_variables]),
            strict=True,
        )
    )
    cancelled = [bias.path for bias in clone(model, "fused").cancelled]
    assert cancelled == ["first/bias", "second/bias"]
    for path in cancelled:
        kernel = np.abs(found[path.replace("bias", "kernel")]).max()
        assert np.abs(found[path]).max() < 1e-5 * kernel

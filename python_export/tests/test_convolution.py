"""Convolutions that are trained by products against Keras's own."""

from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export.convolution import ProductConv2D


def pair(image: tuple[int, ...], **settings) -> tuple[keras.layers.Conv2D, ProductConv2D]:
    """The stock layer and ours with the same weights, for images [H,W,C]."""
    stock = keras.layers.Conv2D(6, **settings)
    ours = ProductConv2D.from_config(stock.get_config())
    for layer in (stock, ours):
        layer.build((None, *image))
    ours.set_weights(stock.get_weights())
    return stock, ours


def kinds(layer: keras.layers.Layer, image: tuple[int | None, ...], training: bool) -> set[str]:
    """The operations that a layer is traced to."""
    traced = tf.function(lambda x: layer(x, training=training), autograph=False)
    graph = traced.get_concrete_function(tf.TensorSpec((None, *image))).graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 3)])
def test_results_and_gradients_are_keras(kernel, padding):
    products = 0
    for height, width, stride, use_bias in product((1, 2, 3, 4), (1, 2, 3, 5), (1, 2), (True, False)):
        if padding == "valid" and (height < kernel[0] or width < kernel[1]):
            continue
        settings = {"kernel_size": kernel, "strides": stride, "padding": padding, "use_bias": use_bias}
        layers = pair((height, width, 4), activation="relu", **settings)
        products += "MatMul" in kinds(layers[1], (height, width, 4), training=True)
        images = tf.constant(np.random.default_rng(1).normal(size=(5, height, width, 4)).astype(np.float32))
        results = []
        for layer in layers:
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = layer(images, training=True) if layer is layers[1] else layer(images)
                loss = tf.reduce_sum(tf.sin(outputs))
            watched = [images, *(weight.value for weight in layer.trainable_weights)]
            results.append([outputs, *tape.gradient(loss, watched)])
        for stock, ours in zip(*results, strict=True):
            assert np.abs(stock - ours).max() < 1e-5, (height, width, settings)
    assert products, "no product was tried"


@pytest.mark.parametrize(
    ("image", "settings", "training"),
    [
        ((2, 2, 4), {"kernel_size": 3, "padding": "same"}, False),
        ((3, 3, 4), {"kernel_size": 3, "padding": "same"}, True),
        ((4, 4, 4), {"kernel_size": 7, "padding": "same"}, True),
        ((5, 4, 4), {"kernel_size": 1}, True),
        ((None, None, 4), {"kernel_size": 1}, True),
        ((1, 1, 4), {"kernel_size": 3, "padding": "same", "groups": 2}, True),
        ((1, 1, 4), {"kernel_size": 3, "padding": "same", "dilation_rate": 2}, True),
    ],
    ids=[
        "not training",
        "corners apart",
        "large weights",
        "many positions",
        "free size",
        "groups",
        "dilated",
    ],
)
def test_others_stay_convolutions(image, settings, training):
    assert "MatMul" not in kinds(pair(image, **settings)[1], image, training)


def test_what_is_stored_is_the_stock_layer_s():
    stock, ours = pair((2, 2, 4), kernel_size=3, padding="same")
    assert ours.get_config() == stock.get_config()
    assert [weight.path for weight in ours.weights] == [weight.path for weight in stock.weights]

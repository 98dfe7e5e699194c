"""Convolutions of images so small that a matrix product is the faster way to train them.

Where an image is no larger than the kernel, a convolution connects each of its positions with each other one:
it is a dense layer whose weights share values. oneDNN's kernels multiply by the padding there, and their
gradients take up to ten times as long as the product does.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

MOST_POINTWISE = 16
"""Positions of a result up to which a product is faster than a convolution of one tap, with its gradients.

Frozen graphs, which have no gradients, have a smaller limit.
"""
MOST_SPREAD = 4
"""How many times as large as the kernel a product's weights may be."""


@keras.saving.register_keras_serializable("residual")
class ProductConv2D(keras.layers.Conv2D):
    """Keras's Conv2D, trained by a matrix product where that is faster; weights and results are Keras's.

    Outside of training it is Keras's own code: frozen graphs have their own rules.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolves inputs [N,H,W,C]."""
        product = self._product(inputs) if training else None
        if product is None:
            return super().call(inputs)
        outputs = product(inputs)
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, self.bias.value)
        return self.activation(outputs)

    def _product(self, inputs: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """The product that takes the convolution's place; None where there is none that is faster."""
        sizes = tuple(inputs.shape)[1:3]
        if (
            self.data_format != "channels_last"
            or self.groups != 1
            or None in sizes
            or max(self.dilation_rate) > 1
        ):
            return None
        rows, columns = (
            _taps(size, kernel, stride, self.padding == "same")
            for size, kernel, stride in zip(sizes, self.kernel_size, self.strides, strict=True)
        )
        if self.kernel_size == (1, 1) and rows.shape[1] * columns.shape[1] <= MOST_POINTWISE:
            return self._pointwise
        taps = self.kernel_size[0] * self.kernel_size[1]
        if (rows >= 0).all() and (columns >= 0).all() and rows.size * columns.size <= MOST_SPREAD * taps:
            return lambda images: self._dense(images, rows, columns)
        return None

    def _pointwise(self, inputs: tf.Tensor) -> tf.Tensor:
        """A product for each position."""
        down, right = self.strides
        if self.strides != (1, 1):
            inputs = inputs[:, ::down, ::right]
        height, width, channels = inputs.shape[1:]
        kernel = tf.reshape(self.kernel, (channels, self.filters))
        outputs = tf.matmul(tf.reshape(inputs, (-1, channels)), kernel)
        return tf.reshape(outputs, (-1, height, width, self.filters))

    def _dense(self, inputs: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
        """One product for the whole image: each position goes into each result, by a tap of the kernel."""
        channels, width = inputs.shape[3], self.kernel_size[1]
        (high, down), (wide, right) = rows.shape, columns.shape
        taps = (rows[:, None, :, None] * width + columns[None, :, None, :]).reshape(high * wide, down * right)
        kernel = tf.reshape(self.kernel, (-1, channels, self.filters))
        blocks = tf.reshape(_pick(kernel, taps.ravel()), (*taps.shape, channels, self.filters))
        weights = tf.reshape(tf.transpose(blocks, (0, 2, 1, 3)), (taps.shape[0] * channels, -1))
        outputs = tf.matmul(tf.reshape(inputs, (-1, weights.shape[0])), weights)
        return tf.reshape(outputs, (-1, down, right, self.filters))


def _taps(size: int, kernel: int, stride: int, same: bool) -> np.ndarray:
    """Int [size, results]: by which tap of the kernel a position goes into a result, on one axis; -1: none.

    Source of the padding: TensorFlow's guide to `tf.nn` convolutions.
    """
    results = -(-size // stride) if same else max(0, (size - kernel) // stride + 1)
    before = max((results - 1) * stride + kernel - size, 0) // 2 if same else 0
    taps = np.arange(size)[:, None] - (np.arange(results) * stride - before)
    return np.where((taps >= 0) & (taps < kernel), taps, -1)


def _pick(table: tf.Tensor, places: np.ndarray) -> tf.Tensor:
    """table[places] of a table [T, ...], whose gradient adds up by a product, not by scattering."""
    picked = np.eye(table.shape[0], dtype=np.float32)[places]

    @tf.custom_gradient
    def pick(table: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            flat = tf.reshape(upstream, (len(places), -1))
            one_hot = tf.constant(picked, flat.dtype)
            return tf.reshape(tf.matmul(one_hot, flat, transpose_a=True), table.shape)

        return tf.gather(table, places), gradient

    return pick(table)

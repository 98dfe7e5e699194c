"""Resizing of uint8 images in the graph, to the same levels as Pillow's `Image.resize(size, BILINEAR)`.

torchvision's Resize does the same to an image. Source of the method: Pillow's libImaging/Resample.c. Columns
are made first, then rows, and the image is rounded to levels after each. Weights are whole numbers of 2**-22.
(Pillow 13 makes rows first of an image that shrinks in height and grows in width: up to one level apart.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

ONE = 1 << 22
"""The weight 1."""


def resize(images: tf.Tensor, size: tuple[int | tf.Tensor, int | tf.Tensor]) -> tf.Tensor:
    """Images uint8 [N,H,W,C] as uint8 [N,*size,C]. H and W must be static.

    A size may be known only when the graph runs, int64 []; it must then be at least the images' own.
    The sums are whole numbers of 1/ONE below 2**9: float64 holds them exactly, on every device, in any order.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    if not _same(size[1], width):
        images = _levels(tf.einsum("ow,nhwc->nhoc", _matrix(width, size[1]), tf.cast(images, tf.float64)))
    if not _same(size[0], height):
        images = _levels(tf.einsum("oh,nhwc->nowc", _matrix(height, size[0]), tf.cast(images, tf.float64)))
    return images


def _same(size: int | tf.Tensor, own: int) -> bool:
    return isinstance(size, int) and size == own


def _levels(sums: tf.Tensor) -> tf.Tensor:
    """Uint8 levels, rounded half up.

    No weight is negative and their sum is 1 but for some units of 1/ONE: no level is out of range.
    """
    import tensorflow as tf

    return tf.cast(sums + 0.5, tf.uint8)  # which cuts off


def _matrix(source: int, target: int | tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    if not isinstance(target, int):
        return _enlarging(source, target) / ONE
    return tf.constant(weights(source, target) / ONE, tf.float64)


def weights(source: int, target: int) -> np.ndarray:
    """Float64 [target, source]: how much of each source pixel goes into a target pixel, in units of 1/ONE.

    A triangle over the source pixels, as wide as two target pixels, at least as two source pixels.
    """
    scale = source / target
    reach = max(scale, 1.0)
    table = np.zeros((target, source))
    for place, row in enumerate(table):
        centre = (place + 0.5) * scale
        first, last = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), source)
        distance = np.abs((np.arange(first, last) - centre + 0.5) * (1.0 / reach))
        share = np.maximum(1.0 - distance, 0.0)
        row[first:last] = np.floor(share * (1.0 / share.sum()) * ONE + 0.5)
    return table


def _enlarging(source: int, target: tf.Tensor) -> tf.Tensor:
    """Computes `weights` in the graph, to the same bits, for a target int64 [] of at least source.

    The triangle is then as wide as two source pixels: at most two weights of a row are not 0, and their sum
    is the same in any order. The division by target is not by a constant, see preprocess._divisor.
    """
    import tensorflow as tf

    scale = tf.constant(source, tf.float64) / tf.cast(target, tf.float64)
    centre = ((tf.range(tf.cast(target, tf.float64), dtype=tf.float64) + 0.5) * scale)[:, tf.newaxis]
    share = tf.maximum(1.0 - tf.abs(np.arange(source) - centre + 0.5), 0.0)
    return tf.floor(share * (1.0 / tf.reduce_sum(share, axis=1, keepdims=True)) * ONE + 0.5)

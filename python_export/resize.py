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


def resize(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Images uint8 [N,H,W,C] as uint8 [N,*size,C]. H and W must be static.

    The sums are whole numbers of 1/ONE below 2**9: float64 holds them exactly, on every device, in any order.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    if size[1] != width:
        images = _levels(tf.einsum("ow,nhwc->nhoc", _matrix(width, size[1]), tf.cast(images, tf.float64)))
    if size[0] != height:
        images = _levels(tf.einsum("oh,nhwc->nowc", _matrix(height, size[0]), tf.cast(images, tf.float64)))
    return images


def _levels(sums: tf.Tensor) -> tf.Tensor:
    """Uint8 levels, rounded half up.

    No weight is negative and their sum is 1 but for some units of 1/ONE: no level is out of range.
    """
    import tensorflow as tf

    return tf.cast(sums + 0.5, tf.uint8)  # which cuts off


def _matrix(source: int, target: int) -> tf.Tensor:
    import tensorflow as tf

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

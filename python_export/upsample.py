"""Which models can be fed a factor by which they enlarge their images, other than their own."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from .clone import Clone
from .preprocess import Preprocess


def own_factor(copy: Clone, preprocess: Preprocess, image: tuple[int, int, int]) -> int | None:
    """How many times a model enlarges images (H, W, C), None if it cannot be fed another factor.

    It can if its images are enlarged in one place, by an UpSampling2D right after its input or by a
    preprocess size that is a multiple of theirs, and if all that comes after takes images as small as they
    are fed.
    """
    factors = [layer.size[0] if _is_first(layer, copy.model) else None for layer in copy.factor.layers]
    if preprocess.size is not None:
        factors.append(_multiple(preprocess.size, image))
    if len(factors) != 1 or factors[0] is None:
        return None
    (own,) = factors
    other = 1 if own > 1 else 2
    return own if _takes(copy, preprocess, image, other) else None


def _is_first(layer: keras.layers.Layer, model: keras.Model) -> bool:
    return len(layer._inbound_nodes) == 1 and layer.input is model.inputs[0]


def _multiple(size: tuple[int, int], image: tuple[int, int, int]) -> int | None:
    factor = size[0] // image[0]
    return factor if factor > 0 and size == (image[0] * factor, image[1] * factor) else None


def _takes(copy: Clone, preprocess: Preprocess, image: tuple[int, int, int], factor: int) -> bool:
    """Whether the model works on an image that is enlarged so much, in a graph that does not know it."""

    def forward(images: tf.Tensor, fed: tf.Tensor) -> tf.Tensor:
        with copy.factor.feed(fed):
            return copy.model(preprocess(images, fed), training=False)

    black, fed = tf.zeros([1, *image], tf.uint8), tf.constant(factor, tf.int64)
    if _leaves_nothing(lambda images: forward(images, fed), black):
        return False
    try:
        traced = tf.function(forward, autograph=False).get_concrete_function(black, fed)
        outputs = traced(black, fed)
    except (ValueError, TypeError, tf.errors.OpError):  # of Keras's layers, of TensorFlow's shapes
        return False
    return bool(np.isfinite(outputs).all())  # a mean over no pixels is not


def _leaves_nothing(forward: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> bool:
    """Whether TensorFlow finds a size below zero where sizes are known.

    oneDNN's convolutions do not find it when they run: they hand their input on. A model in a model wants
    images of its own size where sizes are known, so no other error counts.
    """
    try:
        tf.function(forward, autograph=False).get_concrete_function(images)
    except ValueError as error:
        return "Negative dimension" in str(error)
    except (TypeError, tf.errors.OpError):
        return False
    return False

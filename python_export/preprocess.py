"""Scaling of images, described as data so that it can stand in residual.json and run in the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from .resize import resize

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Preprocess:
    """(x / divide - mean) / std in float32, x being uint8 pixels in 0..255, channels last.

    With a size, images are brought to it first, as by Pillow's BILINEAR (see resize.py).

    The default maps to [0, 1]. The scaling of keras.applications.resnet50.preprocess_input is
    `Preprocess(divide=1.0, mean=(103.939, 116.779, 123.68), channels="BGR")`.
    """

    divide: float = 255.0
    mean: Sequence[float] = (0.0,)
    """One number, or one a channel in the order that the model sees."""
    std: Sequence[float] = (1.0,)
    """As mean; positive."""
    channels: str = "RGB"
    """The order that the model sees: images come in as RGB and are turned round for "BGR"."""
    size: tuple[int, int] | None = None
    """(height, width) that the model sees; None: the images' own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if not (math.isfinite(self.divide) and self.divide > 0):
            raise ValueError(f"preprocess divide is {self.divide}, expected a positive number")
        if not self.mean or not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"preprocess mean is {self.mean}, expected finite numbers")
        if not self.std or not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"preprocess std is {self.std}, expected positive numbers")
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))
            if len(self.size) != 2 or not all(isinstance(n, int) and 0 < n <= 4096 for n in self.size):
                raise ValueError(f"preprocess size is {self.size}, expected (height, width), each 1 to 4096")
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f'preprocess channels is "{self.channels}", expected "RGB" or "BGR"')

    def shape(self, image: tuple[int, int, int]) -> tuple[int, int, int]:
        """(H, W, C) that the model sees of images (H, W, C)."""
        return (*(self.size or image[:2]), image[2])

    def check_channels(self, channels: int) -> None:
        """Raises ValueError when the numbers do not fit images of this many channels."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(f"preprocess {name} has {len(values)} numbers, expected 1 or {channels}")
        if self.channels == "BGR" and channels != 3:
            raise ValueError(f"preprocess channels is BGR, expected images of 3 channels, not {channels}")

    def __call__(self, images: tf.Tensor, factor: tf.Tensor | None = None) -> tf.Tensor:
        """Resizes and scales images uint8 [N,H,W,C] to float32, exactly as the formula stands.

        If there is a size and a factor, int64 [] of at least 1, the images are made that many times as large
        instead.
        """
        import tensorflow as tf

        if self.size is not None:
            size = self.size if factor is None else tuple(n * factor for n in images.shape[1:3])
            images = resize(images, size)
        if self.channels == "BGR":
            images = tf.reverse(images, axis=[-1])
        scaled = tf.cast(images, tf.float32) / _divisor(self.divide)
        if not any(self.mean) and set(self.std) == {1.0}:
            return scaled
        # Rows of pixels: TensorFlow repeats a whole row much faster than three numbers.
        shape, channels = tf.shape(scaled), images.shape[-1]
        width = images.shape[2] or shape[2]
        scaled = tf.reshape(scaled, (-1, width * channels))
        if any(self.mean):
            scaled -= self._row(self.mean, width, channels)
        if set(self.std) != {1.0}:
            scaled /= _divisor(self._row(self.std, width, channels))
        return tf.ensure_shape(tf.reshape(scaled, shape), images.shape)

    @staticmethod
    def _row(values: Sequence[float], width: int | tf.Tensor, channels: int) -> np.ndarray | tf.Tensor:
        """Float32 [width * channels] of one number, or of one a channel."""
        import tensorflow as tf

        pixel = np.broadcast_to(np.float32(values), channels)
        return np.tile(pixel, width) if isinstance(width, int) else tf.tile(pixel, [width])

    def as_json(self) -> dict[str, object]:
        """The fields as they stand in residual.json."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


def _divisor(value: float | np.ndarray | tf.Tensor) -> tf.Tensor:
    """Float32 that TensorFlow's optimizer does not take for a constant.

    Of a division by a constant it makes a product with the rounded reciprocal, off by one bit for half of the
    256 pixel values.
    """
    import tensorflow as tf

    if tf.is_tensor(value):  # of a size that is fed: no constant
        return value
    number = np.float32(value)
    return tf.compat.v1.placeholder_with_default(number, number.shape)

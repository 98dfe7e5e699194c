"""Scaling of images, described as data so that it can stand in residual.json and run in the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Preprocess:
    """(x / divide - mean) / std in float32, x being uint8 pixels in 0..255, channels last.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if not (math.isfinite(self.divide) and self.divide > 0):
            raise ValueError(f"preprocess divide is {self.divide}, expected a positive number")
        if not self.mean or not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"preprocess mean is {self.mean}, expected finite numbers")
        if not self.std or not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"preprocess std is {self.std}, expected positive numbers")
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f'preprocess channels is "{self.channels}", expected "RGB" or "BGR"')

    def check_channels(self, channels: int) -> None:
        """Raises ValueError when the numbers do not fit images of this many channels."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(f"preprocess {name} has {len(values)} numbers, expected 1 or {channels}")
        if self.channels == "BGR" and channels != 3:
            raise ValueError(f"preprocess channels is BGR, expected images of 3 channels, not {channels}")

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Scales images uint8 [N,H,W,C] to float32, exactly.

        It looks values up: of a division TensorFlow's optimizer makes a product with the rounded reciprocal,
        off by one bit for half of the 256 pixel values.
        """
        import tensorflow as tf

        if self.channels == "BGR":
            images = tf.reverse(images, axis=[-1])
        table = self.table()  # [256, 1 or C]
        index = tf.cast(images, tf.int64)
        if table.shape[1] > 1:
            index = index * table.shape[1] + tf.range(table.shape[1], dtype=tf.int64)
        return tf.gather(tf.constant(table.ravel()), index)

    def table(self) -> np.ndarray:
        """Float32 [256, 1 or C]: what each pixel value becomes, computed in float32 as the formula stands."""
        x = np.arange(256, dtype=np.float32)[:, np.newaxis]
        mean, std = np.float32(self.mean), np.float32(self.std)
        return (x / np.float32(self.divide) - mean) / std

    def as_json(self) -> dict[str, object]:
        """The fields as they stand in residual.json."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

"""The weights and images that all contestants compute with, functions of names and seeds alone."""

from __future__ import annotations

import zlib

import numpy as np

SIDE, MEAN, STD = 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 values of a size as after training, in Keras's layout: no bias and no statistic is zero.

    With zeros a runtime folds more away than it can for a trained network.
    """
    uniform = np.random.default_rng(zlib.crc32(name.encode())).random(shape, np.float32)
    if name.endswith(("_3_bn/gamma", ".bn3/gamma")):
        return 0.1 + 0.2 * uniform  # or the sum of sixteen blocks grows without end
    if name.endswith(("gamma", "moving_variance")):
        return 0.5 + uniform
    if len(shape) == 1:
        return 0.2 * (uniform - 0.5)
    fan_in = int(np.prod(shape[:-1]))
    return (uniform - 0.5) * np.float32((24.0 / fan_in) ** 0.5)


IMAGES = 64
"""As many as the largest batch has."""


def images(count: int) -> np.ndarray:
    """Uint8 [count,32,32,3]: patches of colour under noise; the first of IMAGES."""
    rng = np.random.default_rng(11)
    patches = np.kron(rng.integers(0, 256, (IMAGES, 4, 4, 3)), np.ones((1, 8, 8, 1)))
    noisy = patches + rng.integers(-40, 41, (IMAGES, 32, 32, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)[:count]


def labels(count: int) -> np.ndarray:
    """Int64 [count]."""
    return np.random.default_rng(12).integers(0, 10, count)

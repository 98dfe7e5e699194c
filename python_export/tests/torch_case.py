"""The weights and images on which torch and this project are compared. Needs nothing but numpy."""

from __future__ import annotations

import zlib

import numpy as np

SIDE, BATCH, CLASSES = 224, 4, 10
BATCHES = 3
"""Batches over which errors of gradients are pooled: a single one says little."""
SAMPLES = 64
"""Numbers that are kept of each gradient."""


def images(batch: int = 0) -> np.ndarray:
    """Uint8 [BATCH,32,32,3]: patches of colour under noise."""
    rng = np.random.default_rng(11 + batch)
    patches = np.kron(rng.integers(0, 256, (BATCH, 4, 4, 3)), np.ones((1, 8, 8, 1)))
    return np.clip(patches + rng.integers(-40, 41, (BATCH, 32, 32, 3)), 0, 255).astype(np.uint8)


def labels() -> np.ndarray:
    """Int64 [BATCH]."""
    return np.arange(BATCH, dtype=np.int64) * 3 % CLASSES


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 values for a key of the article's state dict, of a size as after training."""
    uniform = np.random.default_rng(zlib.crc32(key.encode())).random(shape, np.float32)
    if key.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
        return 0.5 + uniform
    if key.endswith("bn3.weight"):
        return 0.1 + 0.2 * uniform  # or the sum of sixteen blocks grows without end
    if len(shape) == 1:
        return 0.2 * (uniform - 0.5)
    fan_in = int(np.prod(shape[1:]))
    return (uniform - 0.5) * np.float32((24.0 / fan_in) ** 0.5)


def sampled(key: str, values: np.ndarray) -> np.ndarray:
    """Float64 [SAMPLES]: numbers at places in a gradient of torch's layout that follow from its key."""
    flat = np.asarray(values, np.float64).ravel()
    return flat[np.random.default_rng(zlib.crc32(key.encode()) + 1).integers(0, flat.size, SAMPLES)]

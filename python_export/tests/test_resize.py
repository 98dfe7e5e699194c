"""Resizing in the graph against Pillow, level by level."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from python_export.resize import resize


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((32, 32), (224, 224)),
        ((32, 32), (32, 50)),
        ((32, 32), (45, 32)),
        ((64, 48), (224, 224)),
        ((96, 96), (224, 224)),
        ((37, 61), (111, 13)),
        ((300, 300), (224, 224)),
        ((224, 224), (17, 9)),
        ((5, 5), (5, 5)),
    ],
)
def test_every_level_is_pillows(source, target):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, *source, 3), np.uint8)
    images = np.concatenate([noise, noise[:1] // 128 * 255])  # of black and white sums go past both ends
    expected = [
        np.asarray(Image.fromarray(x).resize(target[::-1], Image.Resampling.BILINEAR)) for x in images
    ]
    resized = tf.function(lambda x: resize(x, target))(images)
    assert resized.dtype == tf.uint8
    assert np.array_equal(resized, expected)


def test_growing_in_width_only_is_a_level_apart_at_most():
    images = np.random.default_rng(0).integers(0, 256, (1, 300, 200, 3), np.uint8)
    expected = np.asarray(Image.fromarray(images[0]).resize((224, 224), Image.Resampling.BILINEAR))
    assert np.abs(resize(tf.constant(images), (224, 224))[0].numpy().astype(int) - expected).max() <= 1

"""Scaling in the graph, exact to the bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import ExportError, Preprocess, export

from .helpers import names, small_cnn, v1

PIXELS = (
    np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)], axis=-1)
    .astype(np.uint8)
    .reshape(1, 16, 16, 3)
)


def in_session(preprocess: Preprocess, images: np.ndarray) -> np.ndarray:
    """Through a session, whose graph optimizer would turn a division into a product."""
    with tf.Graph().as_default(), v1.Session() as session:
        fed = v1.placeholder(tf.uint8, [None, *images.shape[1:]])
        return session.run(tf.identity(preprocess(fed)), {fed: images})


def test_default_is_exactly_x_by_255():
    scaled = in_session(Preprocess(), PIXELS)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, PIXELS.astype(np.float32) / np.float32(255))


def test_mean_and_std_are_applied_a_channel():
    preprocess = Preprocess(divide=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    x = PIXELS.astype(np.float32) / np.float32(255)
    expected = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    assert np.array_equal(in_session(preprocess, PIXELS), expected)


def test_docstrings_example_is_keras_preprocess_input():
    preprocess = Preprocess(divide=1.0, mean=(103.939, 116.779, 123.68), channels="BGR")
    expected = keras.applications.resnet50.preprocess_input(PIXELS.astype(np.float32))
    np.testing.assert_allclose(in_session(preprocess, PIXELS), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"divide": 0.0}, "divide is 0.0, expected a positive number"),
        ({"divide": float("nan")}, "divide is nan"),
        ({"mean": ()}, r"mean is \(\), expected finite"),
        ({"mean": [float("inf")]}, "mean is"),
        ({"std": [1, 0, 1]}, r"std is \(1.0, 0.0, 1.0\), expected positive"),
        ({"channels": "GBR"}, '"GBR", expected "RGB" or "BGR"'),
    ],
)
def test_senseless_numbers_are_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Preprocess(**fields)


@pytest.mark.parametrize("fields", [{"mean": (1, 2)}, {"std": (1, 2, 3, 4)}])
def test_numbers_that_do_not_fit_the_channels_are_refused(tmp_path, fields):
    with pytest.raises(ExportError, match=r"has \d numbers, expected 1 or 3"):
        export(small_cnn(), tmp_path / "m", classes=names(3), preprocess=Preprocess(**fields))
    assert not any(tmp_path.iterdir())

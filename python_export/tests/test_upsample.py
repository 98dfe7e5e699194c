"""Images enlarged by a factor that is fed: which models take one, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import Preprocess, export
from python_export.clone import clone
from python_export.resize import ONE, _enlarging, resize, weights
from python_export.upsample import own_factor

from .helpers import Driver, blobs, names, values

layers = keras.layers
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def behind(*enlarging: keras.layers.Layer, side: int = 4, flatten: bool = False) -> keras.Model:
    """A net that begins with these layers."""
    pooling = layers.Flatten() if flatten else layers.GlobalAveragePooling2D()
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            *enlarging,
            layers.Conv2D(4, 3, padding="same", name="conv"),
            layers.BatchNormalization(name="norm"),
            pooling,
            layers.Dense(3, activation="softmax", name="head"),
        ],
        name="net",
    )


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        (behind(layers.UpSampling2D(3)), None, 3),
        (behind(layers.UpSampling2D(1)), None, 1),
        (behind(side=8), (8, 8), 2),
        (behind(), (4, 4), 1),
        (behind(), None, None),
        (behind(side=6), (6, 6), None),
        (behind(side=8, flatten=True), (8, 8), None),
        (behind(layers.UpSampling2D(2), side=8), (8, 8), None),  # enlarged twice
        (behind(layers.UpSampling2D((2, 3))), None, None),
        (behind(layers.UpSampling2D(2, interpolation="bilinear")), None, None),
        (behind(layers.UpSampling2D(2), flatten=True), None, None),
        (behind(layers.UpSampling2D(2), layers.Conv2D(3, 5)), None, None),  # leaves nothing of 4x4
        (behind(layers.UpSampling2D(2), layers.UpSampling2D(2)), None, None),
        (behind(layers.Conv2D(3, 1), layers.UpSampling2D(2)), None, None),
    ],
)
def test_models_that_take_a_factor(model, size, expected):
    assert own_factor(clone(model, "fused"), Preprocess(size=size), (4, 4, 3)) == expected


def test_the_recipes_models_take_a_factor(full):
    with Driver(full.folder) as driver:
        assert "upsample" in driver.meta.signature_def["train_accumulate"].inputs


def enlarging(way: str, factor: int, folder: Path) -> Path:
    """A net of always the same weights that enlarges 4x4 images, exported."""
    keras.utils.set_random_seed(8)
    settings: dict[str, Any] = {"classes": names(3), "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}
    if way == "layer":
        return export(behind(layers.UpSampling2D(factor)), folder, **settings).path
    scale = Preprocess(size=(4 * factor, 4 * factor), **IMAGENET)
    return export(behind(side=4 * factor), folder, preprocess=scale, image=(4, 4, 3), **settings).path


@pytest.mark.parametrize("way", ["layer", "preprocess"])
def test_a_factor_is_that_of_a_model_exported_with_it(tmp_path, way):
    """What steps return and all variables after them, to the bit; evaluate keeps the model's own factor."""
    images, labels = blobs(6, side=4)
    batch = {"images": images, "labels": labels}
    step = {**batch, "learning_rate": 0.1}

    def end(folder: Path, first: str, factor: int, **more: object) -> tuple[list[object], dict[str, Any]]:
        with Driver(folder, threads=1) as driver:
            told = [
                driver.call("evaluate", **batch),
                driver.call(first, **step, **more),
                driver.call("train_accumulate", **step, micro_batch_size=4, upsample=factor),
            ]
            driver.save(folder / "after" / "variables" / "variables")
        return told, values(folder / "after")

    twice, thrice = enlarging(way, 2, tmp_path / "2"), enlarging(way, 3, tmp_path / "3")
    (before, *want), variables = end(thrice, "train", 0)
    (own, *got), found = end(twice, "train_accumulate", 3, micro_batch_size=6, upsample=3)
    assert want == got
    assert before["loss_sum"] != own["loss_sum"]
    assert variables.keys() == found.keys()
    for key, value in variables.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("source", [1, 2, 5, 28, 32, 33, 224])
def test_weights_for_a_fed_size_are_those_for_a_fixed_one(source):
    enlarge = tf.function(lambda target: _enlarging(source, target))
    for factor in range(1, 17):
        target = source * factor
        if target <= 1024:
            found = enlarge(tf.constant(target, tf.int64)).numpy()
            np.testing.assert_array_equal(found, weights(source, target), err_msg=f"{source} to {target}")
            assert np.array_equal(found, found.round())
            assert abs(found.sum(axis=1) - ONE).max() <= 2


def test_levels_at_a_fed_size_are_those_at_a_fixed_one():
    images = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 3), np.uint8)
    fed = tf.function(lambda x, factor: resize(x, (32 * factor, 32 * factor)))
    for factor in (1, 2, 7):  # of the weights all are tested
        found = fed(images, tf.constant(factor, tf.int64))
        assert np.array_equal(found, resize(tf.constant(images), (32 * factor, 32 * factor)))
    scaled = tf.function(Preprocess(size=(32, 32), **IMAGENET))(images, tf.constant(3, tf.int64))
    assert np.array_equal(scaled, tf.function(Preprocess(size=(96, 96), **IMAGENET))(images))

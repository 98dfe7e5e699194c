"""Images enlarged by a factor that is fed: which models take one, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import Preprocess, contract, export
from python_export.resize import ONE, _enlarging, resize, weights

from .helpers import Driver, blobs, names, small_cnn, values

layers = keras.layers
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def behind(*enlarging: keras.layers.Layer, side: int = 4, flatten: bool = False) -> keras.Model:
    """A net that begins with these layers."""
    pooling = layers.Flatten() if flatten else layers.GlobalAveragePooling2D()
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            *enlarging,
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            pooling,
            layers.Dense(3, activation="softmax"),
        ]
    )


def takes_factor(folder: Path) -> bool:
    with Driver(folder) as driver:
        return "upsample" in driver.meta.signature_def["train_accumulate"].inputs


@pytest.mark.parametrize(
    ("model", "preprocess", "expected"),
    [
        (behind(layers.UpSampling2D(3)), {}, True),
        (behind(layers.UpSampling2D(1)), {}, True),
        (behind(side=8), {"size": (8, 8)}, True),
        (behind(side=4), {"size": (4, 4)}, True),
        (behind(), {}, False),
        (behind(side=6), {"size": (6, 6)}, False),
        (behind(side=8, flatten=True), {"size": (8, 8)}, False),
        (behind(layers.UpSampling2D(2), side=8), {"size": (8, 8)}, False),
        (behind(layers.UpSampling2D((2, 3))), {}, False),
        (behind(layers.UpSampling2D(2, interpolation="bilinear")), {}, False),
        (behind(layers.UpSampling2D(2), flatten=True), {}, False),
        (behind(layers.UpSampling2D(2), layers.Conv2D(3, 5)), {}, False),  # too large for 4x4
        (behind(layers.UpSampling2D(2), layers.UpSampling2D(2)), {}, False),
        (behind(layers.Conv2D(3, 1), layers.UpSampling2D(2)), {}, False),
    ],
)
def test_models_that_take_a_factor(tmp_path, model, preprocess, expected):
    exported = export(
        model, tmp_path / "m", classes=names(3), preprocess=Preprocess(**preprocess), image=(4, 4, 3)
    )
    assert takes_factor(exported.path) is expected


def test_the_recipes_models_take_a_factor(full):
    assert takes_factor(full.folder)


def enlarging(way: str, factor: int, folder: Path) -> Path:
    """A net of always the same weights that enlarges 4x4 images, exported."""
    keras.utils.set_random_seed(8)
    settings: dict[str, Any] = {"classes": names(3), "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}
    net = small_cnn(side=4 * factor, dropout=0.2)
    if way == "layer":
        inputs = keras.Input((4, 4, 3))
        return export(keras.Model(inputs, net(layers.UpSampling2D(factor)(inputs))), folder, **settings).path
    scale = Preprocess(size=(4 * factor, 4 * factor), **IMAGENET)
    return export(net, folder, preprocess=scale, image=(4, 4, 3), **settings).path


@pytest.mark.parametrize("way", ["layer", "preprocess"])
def test_a_factor_is_that_of_a_model_exported_with_it(tmp_path, way):
    """Losses, gradients (as their norm) and all variables after two steps, to the bit."""
    images, labels = blobs(6, side=4)
    batch = {"images": images, "labels": labels, "learning_rate": 0.1}
    twice = enlarging(way, 2, tmp_path / "2")
    for factor in (1, 2, 3):
        other = enlarging(way, factor, tmp_path / f"other{factor}")
        ends = []
        for folder, signature, more in (
            (other, "train", {}),
            (twice, "train_accumulate", {"micro_batch_size": 6, "upsample": factor}),
        ):
            with Driver(folder, threads=1) as driver:
                before = driver.call("evaluate", images=images, labels=labels)["loss_sum"]
                steps = [driver.call(signature, **batch, **more, seed=[1, n]) for n in (1, 2)]
                driver.save(tmp_path / f"{factor}{signature}" / "variables" / "variables")
            ends.append((steps, before, values(tmp_path / f"{factor}{signature}")))
        (want, loss, variables), (got, own_loss, found) = ends
        assert want == got
        assert bool(loss == own_loss) is (factor == 2)  # evaluate keeps the model's own
        assert variables.keys() == found.keys()
        for key, value in variables.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_a_factor_holds_for_every_micro_batch(tmp_path):
    images, labels = blobs(6, side=4)
    batch = {"images": images, "labels": labels, "learning_rate": 0.0, "seed": [1, 1]}
    accumulate = {"micro_batch_size": 2}
    with Driver(enlarging("layer", 2, tmp_path / "2")) as driver:
        fed = driver.call("train_accumulate", **batch, **accumulate, upsample=3)
        own = driver.call("train_accumulate", **batch, **accumulate, upsample=0)
    with Driver(enlarging("layer", 3, tmp_path / "3")) as driver:
        want = driver.call("train_accumulate", **batch, **accumulate, upsample=0)
    assert fed == want != own


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
    images = np.random.default_rng(3).integers(0, 256, (2, 32, 32, 3), np.uint8)
    fed = tf.function(lambda x, factor: resize(x, (32 * factor, 32 * factor)))
    scale = Preprocess(size=(32, 32), **IMAGENET)
    scaled = tf.function(lambda x, factor: scale(x, factor))
    for factor in range(1, 9):
        side = 32 * factor
        number = tf.constant(factor, tf.int64)
        assert np.array_equal(fed(images, number), resize(tf.constant(images), (side, side)))
        fixed = tf.function(Preprocess(size=(side, side), **IMAGENET))
        assert np.array_equal(scaled(images, number), fixed(tf.constant(images)))


def test_the_input_is_the_tables(tmp_path):
    folder = enlarging("layer", 2, tmp_path / "m")
    with Driver(folder) as driver:
        inputs = driver.meta.signature_def["train_accumulate"].inputs
    assert set(inputs) == {entry["name"] for entry in contract.SIGNATURES["train_accumulate"]["inputs"]}

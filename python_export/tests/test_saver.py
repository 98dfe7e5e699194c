"""Saving and restoring through MetaGraphDef.saver_def, the way Go does it."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import export

from .helpers import Driver, blobs, names, small_cnn, values

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.001),
    "adamw_clipped": lambda: keras.optimizers.AdamW(0.001, clipnorm=1.0),
}


def save_into_copy(driver: Driver, folder: Path, copy: Path) -> Path:
    """Makes a SavedModel of the session's weights."""
    shutil.copytree(folder, copy)
    driver.save(copy / "variables" / "variables")
    return copy


def served_by_python(folder: Path, images: np.ndarray) -> np.ndarray:
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return serve(images=tf.constant(images))["probabilities"].numpy()


def test_trained_model_is_read_back_bit_for_bit(small, tmp_path):
    images, labels = blobs(16)
    with Driver(small) as driver:
        first = driver.call("serving_default", images=images)["probabilities"]
        for _ in range(5):
            driver.call("train", images=images, labels=labels, learning_rate=0.1)
        trained = driver.call("serving_default", images=images)["probabilities"]
        copy = save_into_copy(driver, small, tmp_path / "copy")
    assert not np.array_equal(trained, first)
    assert np.array_equal(served_by_python(copy, images), trained)
    with Driver(copy) as driver:
        assert np.array_equal(driver.call("serving_default", images=images)["probabilities"], trained)
    assert np.array_equal(served_by_python(small, images), first)


def test_full_model_is_read_back_bit_for_bit(full, tmp_path):
    images, labels = blobs(8, classes=10, side=32)
    with Driver(full.folder) as driver:
        first = driver.call("serving_default", images=images)["probabilities"]
        driver.call("train", images=images, labels=labels, learning_rate=0.01)
        trained = driver.call("serving_default", images=images)["probabilities"]
        copy = save_into_copy(driver, full.folder, tmp_path / "copy")
    assert not np.array_equal(trained, first)
    assert np.array_equal(served_by_python(copy, images), trained)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_bit_for_bit(kind, tmp_path):
    folder = export(small_cnn(), tmp_path / "m", classes=names(3), optimizer=OPTIMIZERS[kind]()).path
    batches = [blobs(16, seed=seed) for seed in range(6)]

    def train(driver: Driver, some: list) -> list[tuple[float, float]]:
        steps = [driver.call("train", images=x, labels=y, learning_rate=0.01) for x, y in some]
        return [(float(step["loss"]), float(step["grad_norm"])) for step in steps]

    with Driver(folder, threads=1) as driver:
        train(driver, batches[:3])
        copy = save_into_copy(driver, folder, tmp_path / "copy")
        unbroken = train(driver, batches[3:])
    with Driver(copy, threads=1) as driver:
        assert train(driver, batches[3:]) == unbroken
    saved = values(copy)
    state = {key: value for key, value in saved.items() if key.startswith("optimizer/") and value.ndim}
    slots = {"sgd": 0, "momentum": 1, "adam": 2, "adamw_clipped": 2}[kind]
    assert len(state) == slots * 10
    idle = {key for key, value in state.items() if not value.any()}
    assert idle == {
        key for key in state if "first_bias" in key or "second_bias" in key
    }  # BatchNorm cancels them
    iteration = [value for key, value in saved.items() if key == "optimizer/iteration"]
    assert iteration == [3]


def test_checkpoint_keys_are_readable(full):
    keys = values(full.folder)
    assert len(keys) == 326
    assert keys["weights/resnet50/conv1_conv/kernel"].shape == (7, 7, 3, 64)
    assert keys["weights/resnet50/conv5_block3_3_bn/moving_variance"].shape == (2048,)
    assert keys["weights/classification/bias"].shape == (10,)
    assert keys["optimizer/iteration"] == 0
    assert {key.split("/")[0] for key in keys} == {"weights", "optimizer"}


def test_variables_in_the_graph_have_names_of_their_own(full):
    with Driver(full.folder) as driver:
        shared = [handle.get_attr("shared_name").decode() for handle in driver.operations("VarHandleOp")]
    assert len(shared) == len(set(shared)) == 326
    assert {"conv1_conv/kernel", "conv1_bn/moving_mean", "classification/bias", "optimizer/iteration"} < set(
        shared
    )


def test_equally_named_layers_keep_their_own_variables(tmp_path):
    def branch(name: str) -> keras.Model:
        inputs = keras.Input((4, 4, 3))
        x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 1, name="conv")(inputs))
        return keras.Model(inputs, x, name=name)

    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Concatenate()([branch("left")(inputs), branch("right")(inputs)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="head")(x))
    folder = export(model, tmp_path / "m", classes=names(2), optimizer=OPTIMIZERS["momentum"]()).path
    saved = values(folder)
    assert not np.array_equal(saved["weights/left/conv/kernel"], saved["weights/right/conv/kernel"])
    assert {"optimizer/conv_kernel_momentum", "optimizer/conv_kernel_momentum_1"} < saved.keys()
    images, labels = blobs(8, classes=2, side=4)
    with Driver(folder) as driver:
        served = driver.call("serving_default", images=images)["probabilities"]
        driver.call("train", images=images, labels=labels, learning_rate=0.1)
        trained = driver.call("serving_default", images=images)["probabilities"]
        copy = save_into_copy(driver, folder, tmp_path / "copy")
    np.testing.assert_allclose(served, model(images / np.float32(255)), atol=1e-6)
    assert np.array_equal(served_by_python(copy, images), trained)

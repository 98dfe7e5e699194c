"""What Go makes of an exported model, held against Python: the same graph, images, weights and figures."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from python_export.exporter import export
from python_export.preprocess import Preprocess
from python_export.recipes import CIFAR10

from .conftest import ROOT, Full
from .helpers import values

PROGRAM = ROOT / "bin" / "residual"
REAL_IMAGES = ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.gz"

Residual = Callable[..., dict]


@pytest.fixture(scope="module")
def residual() -> Residual:
    """Runs the program and returns the JSON object it prints."""
    if not PROGRAM.exists():
        pytest.fail("bin/residual is missing: run `make build`")

    def run(*arguments: object) -> dict:
        done = subprocess.run(
            [PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, residual: Residual) -> Path:
    """The drawn images as class folders of PNG files: 160 for training, 160 for the test."""
    out = tmp_path_factory.mktemp("images") / "drawn"
    residual("data", "unpack", "--data", "synthetic", "--limit", 160, "--out", out)
    return out


def load(split: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N,32,32,3] and labels int64 [N] in path order, read by Pillow."""
    classes = sorted(folder.name for folder in split.iterdir())
    files = [file for name in classes for file in sorted((split / name).iterdir())]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return images, np.array([classes.index(file.parent.name) for file in files], np.int64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, residual: Residual, full: Full, folders: Path) -> Path:
    """A run of 20 steps of batch 8 with one thread, in path order."""
    out = tmp_path_factory.mktemp("runs") / "run"
    result = residual(
        *("train", "--model", full.folder, "--data", folders, "--out", out, "--quiet"),
        *("--epochs", 1, "--batch-size", 8, "--no-shuffle", "--threads", 1),
    )
    assert result["steps"] == 20
    return out


def test_go_and_a_python_session_train_to_the_same_bit(
    trained: Path, full: Full, folders: Path, tmp_path: Path
):
    images, labels = load(folders / "train")
    np.savez(tmp_path / "images", images=images.reshape(20, 8, 32, 32, 3), labels=labels.reshape(20, 8))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "python_export.tests.replay",
            full.folder,
            tmp_path / "images.npz",
            tmp_path / "out",
        ],
        cwd=ROOT,
        check=True,
    )
    steps = np.load(tmp_path / "out" / "steps.npz")
    with (trained / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    # Nine significant digits are enough to tell any two float32 apart.
    assert [np.float32(row["loss"]) for row in rows] == list(steps["loss"])
    assert [round(float(row["accuracy"]) * 8) for row in rows] == list(steps["correct"])

    go, python = values(trained / "model" / "1"), values(tmp_path / "out")
    assert go.keys() == python.keys()
    different = [key for key in go if go[key].tobytes() != python[key].tobytes()]
    assert different == []
    start = values(full.folder)
    assert any(go[key].tobytes() != start[key].tobytes() for key in go), "nothing was trained"


def test_tensorflow_reads_a_checkpoint(trained: Path, tmp_path: Path, residual: Residual):
    import tensorflow as tf

    listed = residual("checkpoints", "list", trained, "--verify")["checkpoints"]
    assert [(one["step"], one["valid"]) for one in listed] == [(20, True)]
    checkpoint = tf.train.load_checkpoint(str(Path(listed[0]["path"]) / "variables"))
    model = tf.train.load_checkpoint(str(trained / "model" / "1" / "variables" / "variables"))
    names = checkpoint.get_variable_to_shape_map()
    assert names == model.get_variable_to_shape_map()
    for name in names:
        if checkpoint.get_variable_to_dtype_map()[name] != tf.string:
            assert checkpoint.get_tensor(name).tobytes() == model.get_tensor(name).tobytes(), name

    residual("checkpoints", "export", "best", "--from", trained, "--out", tmp_path / "best")
    best = tf.saved_model.load(str(tmp_path / "best")).signatures["serving_default"]
    assert best(images=tf.zeros((2, 32, 32, 3), tf.uint8))["probabilities"].shape == (2, 10)


def test_the_trained_model_predicts_the_same_in_python_and_in_go(
    trained: Path, folders: Path, residual: Residual
):
    import tensorflow as tf

    files = sorted((folders / "test").glob("*/0001.png"))
    serve = tf.saved_model.load(str(trained / "model" / "1")).signatures["serving_default"]
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    python = serve(images=tf.constant(images))["probabilities"].numpy()

    answers = residual("predict", "--model", trained, "--top", 10, *files)["images"]
    assert [answer["path"] for answer in answers] == [str(file) for file in files]
    classes = residual("inspect", trained)["metadata"]["classes"]
    go = np.array(
        [[{g["class"]: g["probability"] for g in a["top"]}[name] for name in classes] for a in answers],
        np.float32,
    )
    np.testing.assert_array_equal(go, python)


def test_evaluate_counts_as_keras_does(full: Full, folders: Path, residual: Residual):
    import keras

    images, labels = load(folders / "test")
    model = keras.models.load_model(full.keras_file)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(images.astype(np.float32) / 255, labels, batch_size=64, verbose=0)

    go = residual("evaluate", "--model", full.folder, "--data", folders, "--batch-size", 64)
    assert go["examples"] == 160
    assert go["correct"] == round(accuracy * 160)
    assert go["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_trained_model_is_trained_further(folders: Path, residual: Residual, tmp_path: Path):
    """Twice one epoch, through a saved model, is two epochs, to the same bit."""
    model = ROOT / "build" / "test-models" / "small"
    common = ["--data", folders, "--batch-size", 8, "--no-shuffle", "--threads", 1]
    residual("train", "--model", model, *common, "--epochs", 2, "--out", tmp_path / "two")
    residual("train", "--model", model, *common, "--epochs", 1, "--out", tmp_path / "first")
    residual("train", "--model", tmp_path / "first", *common, "--epochs", 1, "--out", tmp_path / "second")
    straight, halves = values(tmp_path / "two" / "model" / "1"), values(tmp_path / "second" / "model" / "1")
    assert [key for key in straight if straight[key].tobytes() != halves[key].tobytes()] == []
    once = values(tmp_path / "first" / "model" / "1")
    assert any(straight[key].tobytes() != once[key].tobytes() for key in once), "the second epoch did nothing"


def test_real_images_through_the_program(full: Full, residual: Residual, tmp_path: Path):
    if not REAL_IMAGES.exists():
        pytest.skip(f"{REAL_IMAGES.name} is not there")
    with tarfile.open(REAL_IMAGES) as archive:
        archive.extractall(tmp_path / "cifar10", filter="data")
    run = tmp_path / "run"
    trained = residual(
        *("train", "--model", full.folder, "--data", tmp_path / "cifar10", "--out", run),
        *("--limit", 200, "--batch-size", 16, "--epochs", 1),
    )
    assert (trained["steps"], trained["test"]["examples"]) == (13, 200)
    assert (run / "plots" / "training.png").stat().st_size > 1000
    measured = residual("evaluate", "--model", run, "--data", tmp_path / "cifar10", "--limit", 200)
    assert measured["correct"] == trained["test"]["correct"]
    assert measured["loss"] == pytest.approx(trained["test"]["loss"], rel=1e-6)
    assert sorted(measured["per_class"]) == sorted(p.name for p in (tmp_path / "cifar10" / "test").iterdir())


def test_both_sides_have_one_version():
    from python_export import __version__

    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[2] == __version__


def test_a_layer_of_several_outputs_can_be_inspected(residual: Residual, tmp_path: Path):
    import keras

    from python_export import export

    class Halves(keras.layers.Layer):
        def call(self, inputs):
            return inputs[:, :4], inputs[:, 4:]

    image = keras.Input((8, 8, 3))
    top, bottom = Halves(name="halves")(image)
    merged = keras.layers.Flatten()(keras.layers.Add()([top, bottom]))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(merged))
    export(model, tmp_path / "model", classes=("a", "b"))
    layers = residual("summary", tmp_path / "model")["layers"]
    assert {layer["name"]: layer["output_shape"] for layer in layers}["halves"] is None


def odd() -> keras.Model:
    """Layers in an order that can be folded in some places only."""
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(inputs)
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = before = layers.BatchNormalization(scale=False)(x)  # after a ReLU: stays
    x = layers.SeparableConv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(center=False, epsilon=1e-4)(x)
    x = layers.Add()([x, before])
    x = layers.LeakyReLU()(layers.Conv2D(8, 3, strides=2, padding="same")(x))
    x = layers.Concatenate()([layers.MaxPooling2D()(x), layers.AveragePooling2D(2)(x)])
    x = layers.Conv2DTranspose(4, 2)(x)
    x = layers.BatchNormalization()(layers.Dense(16)(layers.Flatten()(x)))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Activation("gelu")(x)))


def narrow() -> keras.Model:
    """Convolutions of images that are no larger than their kernels, in all that can be fused with one."""
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 7, strides=8, padding="same", activation="relu")(inputs)
    x = before = layers.Conv2D(8, 3, strides=2, padding="same")(x)  # 2x2 from here on
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.ReLU()(layers.Add()([layers.BatchNormalization()(layers.Conv2D(8, 1)(x)), before]))
    x = layers.Add()([layers.Conv2D(8, (1, 3), padding="same")(x), x])
    x = layers.ReLU()(layers.Conv2D(16, 3, strides=2)(layers.ZeroPadding2D(1)(x)))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(layers.Conv2D(24, 1, strides=2)(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))


@pytest.mark.parametrize(
    ("build", "divide"),
    [
        (odd, 255),
        (narrow, 255),
        (lambda: keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10), 255),
        (lambda: keras.applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3), classes=10), 1),
    ],
    ids=["odd", "narrow", "MobileNetV2", "EfficientNetB0"],
)
def test_networks_of_other_kinds_predict_as_in_keras(
    build: Callable[[], keras.Model], divide: float, folders: Path, residual: Residual, tmp_path: Path
):
    keras.utils.set_random_seed(5)
    model = build()
    files = sorted((folders / "test").rglob("*.png"))[::8]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    trained_on(model, images.astype(np.float32) / divide)
    expected = model.predict(images.astype(np.float32) / divide, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0.02, "it tells no image from another"
    export(model, tmp_path / "model", classes=CIFAR10, preprocess=Preprocess(divide=divide))
    answer = residual("predict", "--model", tmp_path / "model", "--top", 10, *files)
    for row, image in zip(expected, answer["images"], strict=True):
        found = {guess["class"]: guess["probability"] for guess in image["top"]}
        # Such weights are ill-conditioned: Keras itself is up to 3e-5 off float64 here.
        assert np.abs(row - [found[name] for name in CIFAR10]).max() < 1e-4


def trained_on(model: keras.Model, images: np.ndarray) -> None:
    """Gives a model what training does: biases, scales, and the statistics of its images."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.path.endswith(("gamma", "beta", "bias")):
            weight.assign(weight + rng.uniform(-0.1, 0.1, weight.shape))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)

"""The command line: what it prints, what it refuses, what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from python_export.__main__ import main

from .conftest import ROOT
from .helpers import Driver, blobs, scaled

WRONG_USAGE = {
    "no command": ([], "required: COMMAND"),
    "unknown command": (["exprot"], "'exprot'"),
    "no --out": (["export"], "required: --out"),
    "empty --out": (["export", "--out", ""], "--out: "),
    "unknown flag": (["export", "--out", "m", "--upsampling", "2"], "--upsampling 2"),
    "cut flag": (["export", "--out", "m", "--up", "2"], "--up 2"),
    "argument too many": (["export", "--out", "m", "extra"], "extra"),
    "unknown recipe": (
        ["export", "--out", "m", "--recipe", "vgg"],
        '--recipe: "vgg" is not a recipe, expected one of: keras',
    ),
    "upsample 0": (
        ["export", "--out", "m", "--upsample", "0"],
        '--upsample: "0" is not a whole number from 1 to 16',
    ),
    "upsample 17": (["export", "--out", "m", "--upsample", "17"], '"17" is not a whole number from 1 to 16'),
    "upsample 1.5": (["export", "--out", "m", "--upsample", "1.5"], '"1.5" is not a whole number'),
    "upsample nan": (["export", "--out", "m", "--upsample", "nan"], '"nan" is not a whole number'),
    "upsample without value": (["export", "--out", "m", "--upsample"], "--upsample: expected one argument"),
    "image size": (
        ["export", "--out", "m", "--image-size", "-4"],
        '--image-size: "-4" is not a whole number',
    ),
    "too small": (
        ["export", "--out", "m", "--image-size", "10", "--upsample", "3"],
        "--image-size 10 with --upsample 3 gives 30 pixels a side, expected 32 to 4096",
    ),
    "too large": (["export", "--out", "m", "--image-size", "4096", "--upsample", "2"], "gives 8192 pixels"),
    "seed": (
        ["export", "--out", "m", "--seed", "-1"],
        '--seed: "-1" is not a whole number from 0 to 4294967295',
    ),
    "class twice": (["export", "--out", "m", "--classes", "a,b,a"], '--classes: "a,b,a" holds "a" twice'),
    "empty class": (["export", "--out", "m", "--classes", "a,,b"], '"a,,b" holds an empty name'),
    "no class": (["export", "--out", "m", "--classes", ""], "holds an empty name"),
    "one class": (
        ["export", "--out", "m", "--classes", "cat"],
        '"cat" is one class, expected a number or at least two',
    ),
    "classes 1": (["export", "--out", "m", "--classes", "1"], '"1" is not a whole number from 2 to'),
    "classes -3": (["export", "--out", "m", "--classes", "-3"], '"-3" is one class'),
    "weights suffix": (
        ["export", "--out", "m", "--weights", "w.pt"],
        '"w.pt" is not random, imagenet or a .keras, .h5, .npz',
    ),
    "batch norm": (
        ["export", "--out", "m", "--batch-norm", "fast"],
        '--batch-norm: "fast" is not fused or keras',
    ),
    "keras suffix": (
        ["export", "--out", "m", "--save-keras", "m.h5"],
        '--save-keras: "m.h5" is not a file name ending in .keras',
    ),
    "one inside the other": (["export", "--out", "m", "--save-keras", "m/m.keras"], "lie inside each other"),
    "one and the same": (["export", "--out", "m.keras", "--save-keras", "m.keras"], "lie inside each other"),
}
FAILURES = {
    "--out exists": (["export", "--out", "there"], '"there" exists already and is never overwritten'),
    "--save-keras exists": (
        ["export", "--out", "m", "--save-keras", "there.keras"],
        '"there.keras" exists already',
    ),
    "no such weights": (
        ["export", "--out", "m", "--weights", "none.npz"],
        '--weights "none.npz" is not a file',
    ),
    "a folder as weights": (
        ["export", "--out", "m", "--weights", "folder.npz"],
        '"folder.npz" is not a file',
    ),
    "bad weights": (
        ["export", "--out", "m", "--upsample", "1", "--weights", "bad.npz"],
        '--weights "bad.npz" cannot be read',
    ),
    "a file as parent": (
        ["export", "--out", "file/m", "--upsample", "1"],
        '"file/m" cannot be made: ',
    ),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with some things in it."""
    (tmp_path / "there").mkdir()
    (tmp_path / "folder.npz").mkdir()
    for name in ("there.keras", "bad.npz", "file"):
        (tmp_path / name).write_text("not what it says")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("case", WRONG_USAGE)
def test_wrong_usage_is_one_sentence_and_exit_2(here, capfd, case):
    arguments, sentence = WRONG_USAGE[case]
    before = listing(here)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    stdout, stderr = capfd.readouterr()
    assert caught.value.code == 2
    assert stdout == ""
    assert stderr.count("\n") == 1
    assert sentence in stderr
    assert listing(here) == before


@pytest.mark.parametrize("case", FAILURES)
def test_failure_is_one_sentence_and_exit_1(here, capfd, case):
    arguments, sentence = FAILURES[case]
    before = listing(here)
    assert main(arguments) == 1
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert stderr.count("\n") == 1
    assert sentence in stderr
    assert listing(here) == before


def test_help_has_an_example_and_every_flag(command_line):
    done = command_line("export", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "example:\n  python -m python_export export --out" in done.stdout
    for flag in [
        "out",
        "recipe",
        "upsample",
        "classes",
        "image-size",
        "weights",
        "seed",
        "batch-norm",
        "save-keras",
        "json",
    ]:
        assert f"--{flag}" in done.stdout


def test_success_says_where_and_what(full):
    assert full.stderr == ""
    *human, last = full.stdout.splitlines()
    assert human[0].startswith(f"exported resnet50_classifier to {full.folder} in ")
    assert "26,215,818 (26,162,698 trainable)" in human[1]
    assert human[2].split() == ["precision", "float32"]
    assert human[3].split() == ["weights", "random"]
    signatures = ["train", "train_accumulate", "evaluate", "serving_default"]
    signatures += ["features", "train_head", "evaluate_head"]
    assert ", ".join(signatures) in human[4]
    said = json.loads(last)
    assert said.pop("seconds") > 0
    assert said == {
        "out": str(full.folder),
        "recipe": "keras",
        "parameters": {"total": 26_215_818, "trainable": 26_162_698, "non_trainable": 53_120},
        "signatures": signatures,
        "batch_norm": "fused",
        "precision": "float32",
        "weights": "random",
        "keras": str(full.keras_file),
    }


def test_only_the_model_is_left(full):
    assert sorted(path.name for path in full.folder.parent.iterdir()) == ["model"]
    assert sorted(path.name for path in full.keras_file.parent.iterdir()) == ["deep", "stock.keras"]
    left = {str(path.relative_to(full.folder)) for path in full.folder.rglob("*") if path.is_file()}
    assert left == {
        "saved_model.pb",
        "fingerprint.pb",
        "assets.extra/residual.json",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    }


def test_saved_keras_model_has_the_same_weights_and_takes_0_to_1(full):
    stock = keras.models.load_model(full.keras_file)
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in stock._flatten_layers())
    assert stock.input.dtype == "float32"
    images, _ = blobs(4, classes=10, side=32)
    with Driver(full.folder) as driver:
        served = driver.call("serving_default", images=images)["probabilities"]
    np.testing.assert_allclose(stock(scaled(images), training=False), served, atol=1e-5)


@pytest.mark.parametrize(
    ("flag", "names"),
    [("4", ["0", "1", "2", "3"]), ("cat, dog,fox", ["cat", "dog", "fox"]), ("2,1", ["2", "1"])],
)
def test_classes_are_a_number_or_names(flag, names):
    from python_export.__main__ import _classes

    assert list(_classes(flag)) == names


def test_a_terminated_export_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "python_export",
            "export",
            "--out",
            tmp_path / "deep" / "m",
            "--upsample",
            "1",
        ],
        cwd=ROOT,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 200
    while not any(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=100) == 143
    assert not any(tmp_path.iterdir())

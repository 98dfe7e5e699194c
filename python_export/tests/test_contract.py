"""The exported signatures against contract.json, through both ways of loading."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import ExportError, contract, export

from .helpers import Driver, blobs, names, small_cnn

TABLE = json.loads((Path(contract.__file__).parent / "contract.json").read_text())["signatures"]
SIZES = {"N": -1, "H": 8, "W": 8, "C": 3, "classes": 3, "features": 12}


def rows(signature: str, side: str, *, seed: bool) -> dict[str, tuple[str, list[int]]]:
    """Of a model that does not enlarge its images."""
    return {
        entry["name"]: (entry["dtype"], [SIZES.get(size, size) for size in entry["shape"]])
        for entry in TABLE[signature][side]
        if (seed or entry["name"] != "seed") and entry["name"] != "upsample"
    }


def infos(side) -> dict[str, tuple[str, list[int]]]:
    return {
        name: (tf.as_dtype(info.dtype).name, [dim.size for dim in info.tensor_shape.dim])
        for name, info in side.items()
    }


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_signature_defs_are_the_table(tmp_path, dropout):
    folder = export(small_cnn(dropout=dropout), tmp_path / "m", classes=names(3)).path
    with Driver(folder) as driver:
        found = {name: sig for name, sig in driver.meta.signature_def.items() if not name.startswith("__")}
    assert set(found) == set(TABLE)
    for name, signature in found.items():
        assert infos(signature.inputs) == rows(name, "inputs", seed=dropout > 0)
        assert infos(signature.outputs) == rows(name, "outputs", seed=True)


def test_saved_model_load_gives_the_same_signatures(small):
    images, labels = blobs(6)
    with Driver(small) as driver:
        there = {
            "evaluate": driver.call("evaluate", images=images, labels=labels),
            "serving_default": driver.call("serving_default", images=images),
            "features": driver.call("features", images=images),
            "train_accumulate": driver.call(
                "train_accumulate", images=images, labels=labels, learning_rate=0.1, micro_batch_size=4
            ),
        }
        rows = there["features"]["features"]
        there["evaluate_head"] = driver.call("evaluate_head", features=rows, labels=labels)
        there["train"] = driver.call("train", images=images, labels=labels, learning_rate=0.1)
        there["train_head"] = driver.call("train_head", features=rows, labels=labels, learning_rate=0.1)
    loaded = tf.saved_model.load(str(small)).signatures
    assert set(loaded) == set(there)
    feeds = {
        "features": tf.constant(rows),
        "images": tf.constant(images),
        "labels": tf.constant(labels),
        "learning_rate": tf.constant(0.1),
        "micro_batch_size": tf.constant(4, tf.int64),
    }
    for name, outputs in there.items():
        inputs = {entry["name"]: feeds[entry["name"]] for entry in TABLE[name]["inputs"] if entry["required"]}
        here = loaded[name](**inputs)
        assert set(here) == set(outputs)
        for key, value in outputs.items():
            np.testing.assert_allclose(here[key].numpy(), value, rtol=1e-5, err_msg=f"{name} {key}")


def test_a_model_without_a_head_has_all_that_is_required(tmp_path):
    flat = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    exported = export(flat, tmp_path / "m", classes=names(3))
    assert set(exported.signatures) == {name for name in TABLE if TABLE[name].get("required", True)}


def test_any_batch_size_goes_in(small):
    with Driver(small) as driver:
        for count in (1, 2, 17):
            images, labels = blobs(count)
            assert driver.call("serving_default", images=images)["probabilities"].shape == (count, 3)
            assert driver.call("evaluate", images=images, labels=labels)["predictions"].shape == (count,)
            assert np.isfinite(driver.call("train", images=images, labels=labels, learning_rate=0.1)["loss"])


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ({"wrong": tf.zeros([2, 3])}, r"returns \['wrong'\], expected \['probabilities'\]"),
        ({"probabilities": tf.zeros([2, 3], tf.float64)}, "returns probabilities as float64"),
        ({"probabilities": tf.zeros([2, 4])}, r"expected float32 \(None, 3\)"),
    ],
)
def test_other_outputs_are_refused(outputs, sentence):
    with pytest.raises(ExportError, match=sentence):
        contract.check_outputs("serving_default", outputs, {**SIZES, "N": None})

"""Weights from files and from Keras's download."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from python_export import ExportError, weights
from python_export.names import named_weights

layers = keras.layers


def backbone(name: str = "resnet50") -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv1_conv")(inputs)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    return keras.Model(inputs, layers.ReLU(name="conv1_relu")(x), name=name)


def nested(seed: int, classes: int = 3) -> keras.Model:
    """A model built like the recipe's, small."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3), name="input_layer")
    x = layers.GlobalAveragePooling2D(name="pool")(backbone()(inputs))
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="classification")(x))
    for weight in model.weights:
        if not weight.path.endswith("kernel"):
            weight.assign(np.random.default_rng(seed).uniform(0.5, 1.5, weight.shape))
    return model


def arrays(model: keras.Model) -> dict[str, np.ndarray]:
    return {path: weight.numpy() for path, weight in named_weights(model).items()}


def older_h5(model: keras.Model, path: Path) -> None:
    """Weights as keras.applications' files hold them: a group a layer, names in attributes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.6"
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()


WRITERS = {
    "whole .keras": lambda m, d: m.save(d / "w.keras"),
    "whole .weights.h5": lambda m, d: m.save_weights(d / "w.weights.h5"),
    "whole .h5 model": lambda m, d: m.save(d / "w.h5"),
    "whole .npz": lambda m, d: np.savez(d / "w.npz", **arrays(m)),
    "backbone .keras": lambda m, d: m.get_layer("resnet50").save(d / "w.keras"),
    "backbone .weights.h5": lambda m, d: m.get_layer("resnet50").save_weights(d / "w.weights.h5"),
    "backbone older .h5": lambda m, d: older_h5(m.get_layer("resnet50"), d / "notop.h5"),
    "backbone .npz": lambda m, d: np.savez(d / "w.npz", **arrays(m.get_layer("resnet50"))),
    "backbone .npz with its name": lambda m, d: np.savez(
        d / "w.npz", **{k: v for k, v in arrays(m).items() if k.startswith("resnet50/")}
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_round_trip(tmp_path, kind):
    source, target = nested(seed=1), nested(seed=2)
    before = arrays(target)
    WRITERS[kind](source, tmp_path)
    [path] = tmp_path.iterdir()
    weights.load(target, str(path))
    for name, array in arrays(target).items():
        taken = kind.startswith("whole") or name.startswith("resnet50/")
        assert np.array_equal(array, arrays(source)[name] if taken else before[name]), name
    assert not np.array_equal(
        before["resnet50/conv1_conv/kernel"], arrays(source)["resnet50/conv1_conv/kernel"]
    )


def test_random_changes_nothing():
    model = nested(seed=1)
    before = arrays(model)
    weights.load(model, "random")
    assert all(np.array_equal(before[name], array) for name, array in arrays(model).items())


def spoiled(model: keras.Model, path: Path) -> None:
    whole = arrays(model)
    whole["classification/bias"] = np.full(3, np.nan, np.float32)
    np.savez(path, **whole)


BAD = {
    "a missing key": (
        "w.npz",
        lambda m, p: np.savez(p, **{k: v for k, v in arrays(m).items() if k != "resnet50/conv1_bn/gamma"}),
        'lacks "resnet50/conv1_bn/gamma", expected 8 weights',
    ),
    "an unknown key": (
        "w.npz",
        lambda m, p: np.savez(p, **arrays(m), **{"other/kernel": np.zeros(1)}),
        'holds "other/kernel", which the model does not have',
    ),
    "no key that fits": (
        "w.npz",
        lambda m, p: np.savez(p, a=np.zeros(1)),
        'lacks "resnet50/conv1_bn/beta" and 5 more',
    ),
    "a wrong shape": (
        "w.npz",
        lambda m, p: np.savez(p, **arrays(nested(1, classes=4))),
        r"classification/(bias|kernel) of shape \(.*4,?\), expected \(.*3,?\)",
    ),
    "words for numbers": (
        "w.npz",
        lambda m, p: np.savez(p, **{k: np.full(v.shape, "x") for k, v in arrays(m).items()}),
        "cannot be read as .npz weights",
    ),
    "numbers that are not finite": ("w.npz", spoiled, "holds numbers that are not finite"),
    "another model .keras": ("w.keras", lambda m, p: nested(1, classes=4).save(p), "of shape"),
    "another model .h5": (
        "w.weights.h5",
        lambda m, p: nested(1, classes=4).save_weights(p),
        "fits neither the model",
    ),
    "text .npz": ("w.npz", lambda m, p: p.write_text("hello"), "cannot be read as .npz weights"),
    "text .h5": ("w.h5", lambda m, p: p.write_text("hello"), "cannot be read as .h5 weights"),
    "text .keras": ("w.keras", lambda m, p: p.write_text("hello"), "cannot be read as .keras weights"),
    "empty .npz": ("w.npz", lambda m, p: p.touch(), "cannot be read as .npz weights"),
    "empty .h5": ("w.h5", lambda m, p: p.touch(), "cannot be read as .h5 weights"),
    "empty .keras": ("w.keras", lambda m, p: p.touch(), "cannot be read as .keras weights"),
    "a folder": ("w.npz", lambda m, p: p.mkdir(), "cannot be read as .npz weights"),
    "nothing there": ("w.keras", lambda m, p: None, "cannot be read as .keras weights"),
    "a cut .npz": (
        "w.npz",
        lambda m, p: cut(p, lambda: np.savez(p, **arrays(m))),
        "cannot be read as .npz weights",
    ),
    "a cut .h5": (
        "w.weights.h5",
        lambda m, p: cut(p, lambda: m.save_weights(p)),
        "cannot be read as .h5 weights",
    ),
    "a cut .keras": ("w.keras", lambda m, p: cut(p, lambda: m.save(p)), "cannot be read as .keras weights"),
}


def cut(path: Path, write) -> None:
    write()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_sentence(tmp_path, case):
    name, write, sentence = BAD[case]
    model = nested(seed=1)
    write(model, tmp_path / name)
    with pytest.raises(ExportError, match=sentence) as caught:
        weights.load(model, str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_file_that_lost_a_layer_is_refused(tmp_path):
    model, path = nested(seed=1), tmp_path / "w.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        del file["layers/functional/layers/conv2d"]
    with pytest.raises(ExportError, match=r'w\.weights\.h5" (fits neither|cannot be read)'):
        weights.load(model, str(path))


def test_weights_that_keras_does_not_report_missing_are_missed(monkeypatch, tmp_path):
    path = tmp_path / "w.weights.h5"
    nested(seed=1).save_weights(path)
    monkeypatch.setattr(
        keras.Model,
        "load_weights",
        lambda self, path: self.layers[-1].set_weights(
            [np.ones(weight.shape) for weight in self.layers[-1].weights]
        ),
    )
    with pytest.raises(ExportError, match=r'it lacks "resnet50/conv1_bn/beta" and 5 more'):
        weights.load(nested(seed=1), str(path))


def test_imagenet_fills_the_backbone_from_keras_applications(monkeypatch):
    donor = nested(seed=3).get_layer("resnet50")
    asked = {}

    def fake(**arguments: object) -> keras.Model:
        asked.update(arguments)
        return donor

    monkeypatch.setattr(keras.applications, "ResNet50", fake)
    model = nested(seed=1)
    before = arrays(model)
    weights.load(model, "imagenet")
    assert asked == {"include_top": False, "weights": "imagenet", "input_shape": (8, 8, 3)}
    for name, array in arrays(model).items():
        expected = (
            arrays(donor)[name.removeprefix("resnet50/")] if name.startswith("resnet50/") else before[name]
        )
        assert np.array_equal(array, expected), name


def test_imagenet_offline_names_the_other_ways(monkeypatch, tmp_path):
    def offline(**_: object) -> None:
        raise Exception("URL fetch failure on https://storage.googleapis.com/…: Name or service not known")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    with pytest.raises(ExportError, match=r"URL fetch failure.*--weights random.*\.keras.*\.npz") as caught:
        weights.load(nested(seed=1), "imagenet")
    assert str(tmp_path / "home" / "models") in str(caught.value)

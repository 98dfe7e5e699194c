"""export() of models that are not the recipe's, and what it refuses."""

import errno
import json
import resource

import keras
import numpy as np
import pytest

from python_export import ExportError, Preprocess, export, metadata

from .helpers import Driver, blobs, names, scaled, small_cnn, values

layers = keras.layers


class Subclassed(keras.Model):
    """A classifier that is code, not a graph of layers."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__(name="subclassed")
        self.conv = layers.Conv2D(4, 3)
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(rate, name="inner_drop")
        self.head = layers.Dense(3)

    def call(self, inputs, training=None):
        x = self.norm(self.conv(inputs), training=training)
        return self.head(self.drop(keras.ops.mean(x, axis=(1, 2)), training=training))


def test_sequential_with_dropout_and_logits(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(scale=False, name="norm"),
            layers.ReLU(),
            layers.Dropout(0.3, name="drop"),
            layers.Flatten(),
            layers.Dense(2, name="head"),
        ],
        name="mine",
    )
    preprocess = Preprocess(divide=127.5, mean=(1.0,))
    exported = export(
        model,
        tmp_path / "m",
        classes=["no", "yes"],
        loss="logits",
        preprocess=preprocess,
        defaults={"epochs": 9},
    )
    described = json.loads((exported.path / "assets.extra" / "residual.json").read_text())
    assert described == exported.description
    assert (described["recipe"], described["seed"], described["name"]) == (None, None, "mine")
    assert described["random_layers"] == ["drop"]
    assert described["image"] == {"height": 8, "width": 8, "channels": 3}
    assert described["from_logits"] is True
    assert described["preprocess"]["mean"] == [1.0]
    assert described["defaults"] == {"epochs": 9, "batch_size": 64, "learning_rate": 0.01, "shuffle": True}
    images, labels = blobs(12, classes=2)
    with Driver(exported.path) as driver:
        probabilities = driver.call("serving_default", images=images)["probabilities"]
        losses = [
            driver.call("train", images=images, labels=labels, learning_rate=0.05, seed=[7, step])["loss"]
            for step in range(30)
        ]
    logits = model(images.astype(np.float32) / np.float32(127.5) - np.float32(1))
    np.testing.assert_allclose(probabilities, keras.ops.softmax(logits), atol=1e-6)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_subclassed_model_keeps_its_layers_and_says_so(tmp_path):
    model = Subclassed()
    exported = export(model, tmp_path / "m", classes=names(3), loss="logits", image=(8, 8, 3))
    assert exported.description["batch_norm"] == "keras"
    assert exported.notes == ('model "subclassed" is subclassed: exported with its stock layers',)
    images, labels = blobs(24)
    with Driver(exported.path) as driver:
        np.testing.assert_allclose(
            driver.call("serving_default", images=images)["probabilities"],
            keras.ops.softmax(model(scaled(images))),
            atol=1e-6,
        )
        losses = [
            driver.call("train", images=images, labels=labels, learning_rate=0.1)["loss"] for _ in range(30)
        ]
    assert losses[-1] < 0.5 * losses[0]


def test_a_model_that_overrides_call_is_not_taken_for_its_graph(tmp_path):
    class Doubled(keras.Model):
        def call(self, inputs, training=None):
            return 2.0 * super().call(inputs, training=training)

    plain = small_cnn(softmax=False)
    model = Doubled(plain.input, plain.output, name="doubled")
    exported = export(model, tmp_path / "m", classes=names(3), loss="logits")
    assert "subclassed" in exported.notes[0]
    images, _ = blobs(6)
    with Driver(exported.path) as driver:
        served = driver.call("serving_default", images=images)["probabilities"]
    np.testing.assert_allclose(served, keras.ops.softmax(2.0 * plain(scaled(images))), atol=1e-6)


@pytest.mark.parametrize("kind", ["fused", "keras"])
def test_batch_norm_is_as_asked_and_said(tmp_path, kind):
    folder = export(small_cnn(), tmp_path / "m", classes=names(3), batch_norm=kind).path
    graph = (folder / "saved_model.pb").read_bytes()
    assert (b"FusedBatchNormGradV3" in graph) == (kind == "fused")
    assert metadata_of(folder)["batch_norm"] == kind


def metadata_of(folder) -> dict:
    return json.loads((folder / metadata.PLACE).read_text())


def test_the_users_model_and_optimizer_are_left_alone(tmp_path):
    model, optimizer = small_cnn(dropout=0.5), keras.optimizers.Adam(0.003)
    before, kinds = model.get_weights(), [type(layer) for layer in model.layers]
    exported = export(model, tmp_path / "m", classes=names(3), optimizer=optimizer)
    assert [type(layer) for layer in model.layers] == kinds
    assert all(np.array_equal(now, then) for now, then in zip(model.get_weights(), before, strict=True))
    assert not optimizer.built
    assert exported.description["optimizer"]["name"] == "Adam"
    assert exported.description["defaults"]["learning_rate"] == 0.003


def test_frozen_layers_stay_frozen(tmp_path):
    model = small_cnn()
    model.get_layer("norm_1").trainable = model.get_layer("first").trainable = False
    exported = export(model, tmp_path / "m", classes=names(3))
    assert exported.description["parameters"]["non_trainable"] == 8 * 27 + 8 + 4 * 8 + 2 * 12
    with Driver(exported.path) as driver:
        driver.call("train", images=blobs(8)[0], labels=blobs(8)[1], learning_rate=0.5)
        driver.save(tmp_path / "after" / "variables" / "variables")
    before, now = values(exported.path), values(tmp_path / "after")
    for key in before:
        # norm_2 cancels second/bias: its gradient is zero.
        frozen = key.startswith(("weights/first/", "weights/norm_1/", "weights/second/bias"))
        if key.startswith("weights/"):
            assert np.array_equal(before[key], now[key]) == frozen, key


def test_a_weight_shared_by_two_calls_is_saved_once(tmp_path):
    inputs = keras.Input((8, 8, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="twice")
    x = layers.GlobalAveragePooling2D()(twice(twice(inputs)))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(x))
    exported = export(model, tmp_path / "m", classes=names(2))
    assert exported.description["layers"][1] == {
        "name": "twice",
        "class": "Conv2D",
        "output_shape": [None, 8, 8, 3],
        "parameters": 84,
    }
    images, _ = blobs(5)
    with Driver(exported.path) as driver:
        served = driver.call("serving_default", images=images)["probabilities"]
    np.testing.assert_allclose(served, model(scaled(images)), atol=1e-6)


def refused_models() -> dict[str, tuple[dict, str]]:
    """What export() refuses: arguments beside out, and a part of the sentence."""
    schedule = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    noisy = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.GaussianNoise(0.1, name="noise"), layers.Flatten(), layers.Dense(3)]
    )
    frozen = small_cnn()
    frozen.trainable = False
    vector = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    open_size = keras.Sequential([keras.Input((None, None, 3)), layers.GlobalMaxPooling2D(), layers.Dense(3)])
    flags = {"classes": names(3)}
    return {
        "classes that do not fit": (
            {"model": small_cnn(), "classes": names(4)},
            r"gives \(None, 3\), expected \(None, 4\)",
        ),
        "one class": ({"model": small_cnn(), "classes": ["a"]}, "expected at least two names"),
        "a class twice": ({"model": small_cnn(), "classes": ["a", "b", "a"]}, "none twice"),
        "an empty class": ({"model": small_cnn(), "classes": ["a", "b", ""]}, "none empty"),
        "classes in one string": ({"model": small_cnn(), "classes": "abc"}, "'abc', expected at least two"),
        "logits taken for probabilities": (
            {"model": small_cnn(softmax=False), **flags},
            'give loss="logits"',
        ),
        "a schedule": (
            {"model": small_cnn(), **flags, "optimizer": schedule},
            "learning rate schedule, expected a number",
        ),
        "unfed randomness": (
            {"model": noisy, **flags, "loss": "logits"},
            r'layer "noise" \(GaussianNoise\)',
        ),
        "unfed randomness in code": (
            {"model": Subclassed(0.5), **flags, "loss": "logits", "image": (8, 8, 3)},
            'layer "inner_drop"',
        ),
        "nothing to train": ({"model": frozen, **flags}, "no trainable weights"),
        "vectors": ({"model": vector, **flags}, r"input shape \(None, 5\), expected one batch of images"),
        "open size": (
            {"model": open_size, **flags, "loss": "logits"},
            r"give image=\(height, width, channels\)",
        ),
        "subclassed without size": ({"model": Subclassed(), **flags}, "give image="),
        "unknown batch_norm": (
            {"model": small_cnn(), **flags, "batch_norm": "fast"},
            '"fast", expected "fused" or',
        ),
    }


@pytest.mark.parametrize("case", refused_models())
def test_refusals_name_what_is_wrong_and_leave_nothing(tmp_path, case):
    arguments, sentence = refused_models()[case]
    with pytest.raises(ExportError, match=sentence) as caught:
        export(arguments.pop("model"), tmp_path / "deep" / "m", **arguments)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_an_open_size_is_fixed_by_image(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.GlobalMaxPooling2D(), layers.Dense(3)]
    )
    exported = export(model, tmp_path / "m", classes=names(3), loss="logits", image=(9, 11, 3))
    with Driver(exported.path) as driver:
        shape = driver.meta.signature_def["train"].inputs["images"].tensor_shape
    assert [dim.size for dim in shape.dim] == [-1, 9, 11, 3]


def test_a_full_disk_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises((ExportError, OSError)):
            export(small_cnn(), tmp_path / "deep" / "m", classes=names(3), save_keras=tmp_path / "s.keras")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_error_at_the_last_moment_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(metadata, "write", fail)
    with pytest.raises(type(error)):
        export(small_cnn(), tmp_path / "deep" / "m", classes=names(3), save_keras=tmp_path / "s.keras")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "defaults", [{"lr": 0.1}, {"batch_size": "x"}, {"epochs": 1.5}, {"shuffle": 1}, {"learning_rate": 1}]
)
def test_defaults_that_go_would_not_take_are_refused(tmp_path, defaults):
    with pytest.raises(ExportError, match=f"defaults has '{next(iter(defaults))}'"):
        export(small_cnn(), tmp_path / "model", classes=names(3), defaults=defaults)
    assert not (tmp_path / "model").exists()


def test_images_of_one_channel_are_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    with pytest.raises(ExportError, match="1 channels, expected 3"):
        export(model, tmp_path / "model", classes=names(3))

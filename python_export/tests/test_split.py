"""Training of a head on features, against Keras with a backbone that is not trainable."""

import keras
import numpy as np
import pytest

from python_export import export
from python_export.clone import clone
from python_export.names import named_weights
from python_export.resnet_torch import classifier
from python_export.signatures import LOSSES
from python_export.split import split

from .helpers import Driver, blobs, names, scaled, small_cnn, values
from .test_export import Subclassed
from .test_training import after, changed

layers = keras.layers
STEPS = 6


def two_layers(**settings) -> keras.Model:
    """A net with BatchNorms whose head has two layers, penalties on both sides, and statistics of its own."""
    base = small_cnn(**settings)
    x = base.layers[-2].output
    x = layers.Dense(8, activation="relu", kernel_regularizer="l2", name="hidden")(x)
    softmax = base.layers[-1].activation is keras.activations.softmax
    outputs = layers.Dense(3, activation="softmax" if softmax else None, name="head")(x)
    model = keras.Model(base.input, outputs, name="two_layers")
    for seed in range(3):
        model(scaled(blobs(16, seed=seed)[0]), training=True)
    return model


def reference(stock: keras.Model, optimizer: keras.optimizers.Optimizer, loss) -> list[float]:
    """Trains the stock model as Keras's guide does: its backbone is not trainable, and predicts."""
    cut = stock.get_layer("hidden").input
    backbone = keras.Model(stock.input, cut)
    head = keras.Model(cut, stock.output)
    backbone.trainable = False
    inputs = keras.Input(stock.input_shape[1:])
    model = keras.Model(inputs, head(backbone(inputs, training=False)))
    model.compile(optimizer, loss)
    losses = []
    for step in range(STEPS):
        images, labels = blobs(16, seed=step)
        losses.append(float(model.train_on_batch(scaled(images), labels)))
        model.reset_metrics()
    return losses


@pytest.mark.parametrize(
    ("optimizer", "softmax"),
    [
        (lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01), True),
        (lambda: keras.optimizers.Adam(0.01, global_clipnorm=1.0), False),
    ],
    ids=["SGD", "Adam from logits"],
)
def test_head_trains_as_behind_a_frozen_backbone_in_keras(tmp_path, optimizer, softmax):
    stock = two_layers(softmax=softmax)
    folder = export(
        stock,
        tmp_path / "m",
        classes=names(3),
        loss="probabilities" if softmax else "logits",
        optimizer=optimizer(),
    ).path
    before = values(folder)
    rate = float(optimizer().learning_rate)
    with Driver(folder) as driver:
        losses = []
        for step in range(STEPS):
            images, labels = blobs(16, seed=step)
            rows = driver.call("features", images=images)["features"]
            trained = driver.call("train_head", features=rows, labels=labels, learning_rate=rate)
            losses.append(trained["loss"])
            assert trained["grad_norm"] > 0
        now = after(driver, folder, tmp_path)
    expected = reference(
        stock, optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for path, weight in named_weights(stock).items():
        np.testing.assert_allclose(now[f"weights/{path}"], weight.numpy(), atol=1e-5, err_msg=path)
    # Not a bit of the backbone, nor of what the optimizer keeps of it, has moved.
    moved = {key for key in changed(before, now) if "hidden" not in key and "head" not in key}
    assert moved <= {"optimizer/iteration", "optimizer/learning_rate"}
    assert now["optimizer/iteration"] == STEPS


def test_evaluate_head_is_evaluate(tmp_path):
    for loss in LOSSES:
        model = two_layers(softmax=loss != "logits")
        folder = export(model, tmp_path / loss, classes=names(3), loss=loss).path
        images, labels = blobs(24, seed=7)
        with Driver(folder) as driver:
            whole = driver.call("evaluate", images=images, labels=labels)
            rows = driver.call("features", images=images)["features"]
            head = driver.call("evaluate_head", features=rows, labels=labels)
        np.testing.assert_allclose(head["loss_sum"], whole["loss_sum"], rtol=1e-6)
        assert head["correct"] == whole["correct"]
        assert np.array_equal(head["predictions"], whole["predictions"])


def test_dropouts_of_the_head_draw_and_those_of_the_backbone_do_not(tmp_path):
    folder = export(small_cnn(dropout=0.5), tmp_path / "m", classes=names(3)).path
    images, labels = blobs(16)
    with Driver(folder, threads=1) as driver:
        rows = driver.call("features", images=images)["features"]
        assert np.array_equal(rows, driver.call("features", images=images)["features"])

        def loss(seed: list[int]) -> float:
            feeds = {"features": rows, "labels": labels, "learning_rate": 0.0, "seed": seed}
            return float(driver.call("train_head", **feeds)["loss"])

        assert loss([1, 2]) == loss([1, 2])
        assert len({loss([1, 2]), loss([1, 3]), loss([2, 2])}) == 3


def sequence(*tail: keras.Layer) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            *tail,
        ]
    )


def merged() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    x = layers.Add()([layers.Dense(4, name="inside")(x), x])
    return keras.Model(inputs, layers.Dense(3, name="head")(keras.ops.relu(x)))


SPLITS = {
    "after what needs no weights": (
        lambda: sequence(layers.Flatten(), layers.Dense(3, name="head")),
        144,
        ("head",),
    ),
    "before a dropout": (
        lambda: sequence(layers.Flatten(), layers.Dropout(0.5, name="drop"), layers.Dense(3, name="head")),
        144,
        ("drop", "head"),
    ),
    "before all layers of one vector": (
        lambda: sequence(
            layers.GlobalMaxPooling2D(),
            layers.BatchNormalization(name="norm_of_vectors"),
            layers.Dense(5, name="hidden"),
            layers.ReLU(name="relu"),
            layers.Dense(3, name="head"),
            layers.Softmax(name="softmax"),
        ),
        4,
        ("norm_of_vectors", "hidden", "relu", "head", "softmax"),
    ),
    "before a model of vectors": (
        lambda: sequence(
            layers.Flatten(), keras.Sequential([keras.Input((144,)), layers.Dense(3)], name="top")
        ),
        144,
        ("top",),
    ),
    "behind what reads two": (merged, 4, ("head",)),
}


@pytest.mark.parametrize("case", SPLITS)
def test_a_model_is_split(case):
    build, features, head = SPLITS[case]
    parts = clone(build(), "fused").parts
    assert (parts.features, parts.layers) == (features, head)


def test_the_article_in_pytorch_is_split_before_its_classifier():
    parts = split(classifier(10, 32, softmax=True))  # the one in Keras: test_recipes.py
    assert parts.features == 2048
    assert parts.layers == tuple(f"classifier.{number}" for number in range(1, 7))


def shared() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    twice = layers.Dense(4)
    x = twice(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs)))
    x = layers.Add()([x, layers.ReLU()(x)])
    return keras.Model(inputs, layers.Softmax()(twice(x)))


def frozen() -> keras.Model:
    model = small_cnn()
    model.get_layer("head").trainable = False
    return model


WHOLE = {
    "nothing before the head has weights": lambda: keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)]
    ),
    "the end has no vectors": lambda: sequence(
        layers.Conv2D(3, 6), layers.Flatten(), layers.Activation("softmax")
    ),
    "the head is frozen": frozen,
    "both sides share weights": shared,
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_model_cannot_be_split(case):
    assert clone(WHOLE[case](), "fused").parts is None


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (lambda: sequence(layers.ActivityRegularization(l2=0.1), layers.Flatten(), layers.Dense(3)), {}),
        (lambda: small_cnn(softmax=False), {"optimizer": keras.optimizers.SGD(0.1, use_ema=True)}),
        (Subclassed, {"image": (8, 8, 3)}),
    ],
    ids=["the backbone pays for its activations", "weights are averaged", "subclassed"],
)
def test_a_model_is_exported_whole(tmp_path, build, settings):
    exported = export(build(), tmp_path / "m", classes=names(3), loss="logits", **settings)
    assert set(exported.signatures) == {"train", "train_accumulate", "evaluate", "serving_default"}
    assert exported.description["head"] is None


def test_the_head_is_described(tmp_path):
    exported = export(small_cnn(dropout=0.1), tmp_path / "m", classes=names(3))
    assert exported.description["head"] == ["drop", "head"]


def test_a_frozen_backbone_may_be_split_off(tmp_path):
    model = small_cnn()
    for layer in model.layers[:-1]:
        layer.trainable = False
    folder = export(model, tmp_path / "m", classes=names(3)).path
    images, labels = blobs(8)
    with Driver(folder) as driver:
        rows = driver.call("features", images=images)["features"]
        head = driver.call("train_head", features=rows, labels=labels, learning_rate=0.0)
        whole = driver.call("train", images=images, labels=labels, learning_rate=0.0)
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(head[name], whole[name], rtol=1e-5, err_msg=name)

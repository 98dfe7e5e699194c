"""Steps in micro-batches: what train_accumulate computes, driven through a session."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import export
from python_export.names import named_weights

from .helpers import Driver, blobs, names, scaled, small_cnn, values

Step = dict[str, np.ndarray]


def plain_cnn() -> keras.Model:
    """A net without BatchNorm, with regularization."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-2)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def enlarging_cnn() -> keras.Model:
    """small_cnn, with dropout, on images that are enlarged twice."""
    inputs = keras.Input((4, 4, 3))
    return keras.Model(inputs, small_cnn(dropout=0.3)(keras.layers.UpSampling2D(2)(inputs)))


def run(folder: Path, tmp_path: Path, signature: str, *steps: dict[str, object]) -> tuple[list[Step], Step]:
    """What the steps return, and the variables after them. One thread."""
    with Driver(folder, threads=1) as driver:
        told = [driver.call(signature, **step) for step in steps]
        driver.save(tmp_path / signature / "variables" / "variables")
    return told, values(tmp_path / signature)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported plain_cnn."""
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    folder = tmp_path_factory.mktemp("plain") / "m"
    return export(plain_cnn(), folder, classes=names(3), optimizer=optimizer).path


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported small_cnn of seed 5."""
    keras.utils.set_random_seed(5)
    folder = tmp_path_factory.mktemp("normed") / "m"
    return export(small_cnn(), folder, classes=names(3)).path


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported enlarging_cnn."""
    optimizer = keras.optimizers.Adam(0.01)
    folder = tmp_path_factory.mktemp("dropping") / "m"
    return export(enlarging_cnn(), folder, classes=names(3), optimizer=optimizer).path


@pytest.mark.parametrize("count", [16, 14, 3])  # the last micro-batch whole, short, and the only one, short
def test_micro_batches_are_one_batch_where_no_layer_sees_the_batch(plain, tmp_path, count):
    images, labels = blobs(count)
    batch = {"images": images, "labels": labels, "learning_rate": 0.5}
    want, weights = run(plain, tmp_path, "train", batch, batch)
    got, accumulated = run(plain, tmp_path, "train_accumulate", *2 * [{**batch, "micro_batch_size": 4}])
    for a, b in zip(want, got, strict=True):
        assert a["correct"] == b["correct"]
        np.testing.assert_allclose([b["loss"], b["grad_norm"]], [a["loss"], a["grad_norm"]], rtol=2e-6)
    assert weights.keys() == accumulated.keys()
    for key, value in weights.items():
        np.testing.assert_allclose(accumulated[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


def test_batch_norm_sees_each_micro_batch_and_moves_its_statistics_with_each(normed, tmp_path):
    """Against stock Keras, written out: three micro-batches of 6, 6 and 2, then one update."""
    images, labels = blobs(14)
    keras.utils.set_random_seed(5)
    stock = small_cnn()
    optimizer = keras.optimizers.SGD(0.05)
    weights = stock.trainable_variables
    total, sums, correct = 0.0, [np.zeros(w.shape, np.float32) for w in weights], 0
    for some in (slice(0, 6), slice(6, 12), slice(12, 14)):
        with tf.GradientTape() as tape:
            outputs = stock(scaled(images[some]), training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels[some], outputs)
            loss = (tf.reduce_mean(losses) + sum(stock.losses)) * len(labels[some]) / 14
        gradients = tape.gradient(loss, [w.value for w in weights])
        sums = [a + b for a, b in zip(sums, gradients, strict=True)]
        total += float(loss)
        correct += int(np.sum(np.argmax(outputs, axis=-1) == labels[some]))
    optimizer.apply(sums, weights)
    (step,), now = run(
        normed,
        tmp_path,
        "train_accumulate",
        {"images": images, "labels": labels, "learning_rate": 0.05, "micro_batch_size": 6},
    )
    assert step["loss"] == pytest.approx(total, rel=1e-5)
    assert step["correct"] == correct
    assert step["grad_norm"] == pytest.approx(float(tf.linalg.global_norm(sums)), rel=1e-4)
    for path, weight in named_weights(stock).items():
        np.testing.assert_allclose(now[f"weights/{path}"], weight.numpy(), atol=1e-5, err_msg=path)
    assert now["optimizer/iteration"] == 1


def test_statistics_move_as_in_a_step_for_each_micro_batch(normed, tmp_path):
    images, labels = blobs(12)
    still = {"learning_rate": 0.0}
    parts = [{"images": images[i : i + 4], "labels": labels[i : i + 4], **still} for i in (0, 4, 8)]
    _, one_by_one = run(normed, tmp_path, "train", *parts)
    _, together = run(
        normed,
        tmp_path,
        "train_accumulate",
        {"images": images, "labels": labels, "micro_batch_size": 4, **still},
    )
    statistics = [key for key in together if "/moving_" in key]
    assert len(statistics) == 4
    for key in statistics:
        np.testing.assert_array_equal(together[key], one_by_one[key])


@pytest.mark.parametrize(
    ("model", "side", "seed", "own"),
    [("normed", 8, {}, {}), ("dropping", 4, {"seed": [3, 4]}, {"upsample": 0})],
)
def test_one_micro_batch_is_train_to_the_bit(request, tmp_path, model, side, seed, own):
    folder = request.getfixturevalue(model)
    batches = [blobs(8, side=side, seed=n) for n in (1, 2, 3)]
    steps = [{"images": x, "labels": y, "learning_rate": 0.05, **seed} for x, y in batches]
    want, weights = run(folder, tmp_path, "train", *steps)
    sizes = (8, 9, 2**63 - 1)
    parts = [{**step, **own, "micro_batch_size": size} for step, size in zip(steps, sizes, strict=True)]
    got, accumulated = run(folder, tmp_path, "train_accumulate", *parts)
    assert want == got
    assert weights.keys() == accumulated.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(accumulated[key], value, err_msg=key)


def test_each_micro_batch_draws_by_a_seed_of_its_own(dropping, tmp_path):
    images, labels = blobs(8, side=4)
    batch = {"images": images, "labels": labels, "learning_rate": 0.0}
    seed = np.int64([7, 11])
    second = tf.random.fold_in(tf.constant(seed), tf.constant(1, tf.int64)).numpy()
    (first, other), _ = run(dropping, tmp_path, "train", batch | {"seed": seed}, batch | {"seed": second})
    twice = {"images": np.tile(images, (2, 1, 1, 1)), "labels": np.tile(labels, 2), "learning_rate": 0.0}
    (step,), _ = run(
        dropping, tmp_path, "train_accumulate", twice | {"micro_batch_size": 8, "upsample": 0, "seed": seed}
    )
    assert first["loss"] != other["loss"]
    assert step["loss"] == pytest.approx((first["loss"] + other["loss"]) / 2, rel=1e-6)


def test_no_micro_batch_size_makes_a_step_endless(plain):
    images, labels = blobs(2)
    with Driver(plain) as driver:
        batch = {"images": images, "labels": labels, "learning_rate": 0.0}
        steps = [driver.call("train_accumulate", **batch, micro_batch_size=size) for size in (1, 0, -5)]
    assert steps[0] == steps[1] == steps[2]

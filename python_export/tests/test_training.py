"""What the signatures do to a model: driven through a session, as Go does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import export
from python_export.names import named_weights

from .helpers import Driver, blobs, names, scaled, small_cnn, values


def after(driver: Driver, folder, tmp_path) -> dict[str, np.ndarray]:
    """The session's variables by checkpoint key."""
    prefix = tmp_path / "after" / "variables" / "variables"
    driver.save(prefix)
    return values(tmp_path / "after")


def changed(before: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == now.keys()
    return {key for key in before if not np.array_equal(before[key], now[key])}


def test_loss_falls_on_one_repeated_batch(small):
    images, labels = blobs(32)
    with Driver(small) as driver:
        steps = [driver.call("train", images=images, labels=labels, learning_rate=0.1) for _ in range(40)]
    assert steps[-1]["loss"] < 0.3 * steps[0]["loss"]
    assert steps[-1]["correct"] > steps[0]["correct"]
    assert all(step["grad_norm"] > 0 for step in steps)


def test_statistics_move_under_train_and_not_under_evaluate(small, tmp_path):
    images, labels = blobs(16)
    before = values(small)
    with Driver(small) as driver:
        driver.call("evaluate", images=images, labels=labels)
        driver.call("serving_default", images=images)
        assert changed(before, after(driver, small, tmp_path)) == set()
        driver.call("train", images=images, labels=labels, learning_rate=0.1)
        moved = changed(before, after(driver, small, tmp_path))
    statistics = {f"weights/norm_{n}/moving_{kind}" for n in (1, 2) for kind in ("mean", "variance")}
    assert statistics < moved
    assert {"weights/first/kernel", "weights/norm_1/gamma", "weights/head/bias"} < moved


def test_learning_rate_zero_leaves_weights_and_moves_statistics_as_keras_does(small, tmp_path):
    before = values(small)
    keras.utils.set_random_seed(5)
    stock = small_cnn()
    with Driver(small) as driver:
        for seed in range(3):
            images, labels = blobs(16, seed=seed)
            driver.call("train", images=images, labels=labels, learning_rate=0.0)
            stock(scaled(images), training=True)
        now = after(driver, small, tmp_path)
    statistics = {key for key in before if "/moving_" in key}
    assert len(statistics) == 4
    assert changed(before, now) == statistics | {"optimizer/iteration", "optimizer/learning_rate"}
    for path, weight in named_weights(stock).items():
        expected = weight.numpy()
        assert np.abs(now[f"weights/{path}"] - expected).max() <= 1e-5 * np.abs(expected).max(), path


def test_one_step_is_kerass_step(small, tmp_path):
    """Loss with its regularization, gradient norm and update, against the stock model's."""
    images, labels = blobs(16)
    keras.utils.set_random_seed(5)
    stock = small_cnn()
    stock.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    with tf.GradientTape() as tape:
        probabilities = stock(scaled(images), training=True)
        loss = stock.compute_loss(y=labels, y_pred=probabilities)
    gradients = tape.gradient(loss, [weight.value for weight in stock.trainable_variables])
    stock.optimizer.apply(gradients, stock.trainable_variables)
    with Driver(small) as driver:
        step = driver.call("train", images=images, labels=labels, learning_rate=0.05)
        now = after(driver, small, tmp_path)
    assert step["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert step["loss"] > float(
        tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
    )
    assert step["grad_norm"] == pytest.approx(float(tf.linalg.global_norm(gradients)), rel=1e-4)
    assert step["correct"] == np.sum(np.argmax(probabilities, axis=-1) == labels)
    for path, weight in named_weights(stock).items():
        np.testing.assert_allclose(now[f"weights/{path}"], weight.numpy(), atol=1e-5, err_msg=path)


@pytest.mark.parametrize("softmax", [True, False])
def test_evaluate_is_keras_evaluate_with_regularization(tmp_path, softmax):
    stock = small_cnn(softmax=softmax)
    for seed in range(3):
        stock(scaled(blobs(16, seed=seed)[0]), training=True)  # statistics of their own
    folder = export(
        stock, tmp_path / "m", classes=names(3), loss="probabilities" if softmax else "logits"
    ).path
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    stock.compile(loss=loss, metrics=["accuracy"])
    images, labels = blobs(50, seed=9)
    expected_loss, accuracy = stock.evaluate(scaled(images), labels, batch_size=16, verbose=0)
    with Driver(folder) as driver:
        parts = [
            driver.call("evaluate", images=images[i : i + 16], labels=labels[i : i + 16])
            for i in range(0, 50, 16)
        ]
        served = driver.call("serving_default", images=images)["probabilities"]
    assert sum(part["loss_sum"] for part in parts) / 50 == pytest.approx(expected_loss, rel=1e-5)
    assert sum(part["correct"] for part in parts) == round(accuracy * 50)
    outputs = stock.predict(scaled(images), verbose=0)
    assert np.array_equal(np.concatenate([part["predictions"] for part in parts]), outputs.argmax(axis=-1))
    expected = outputs if softmax else keras.ops.softmax(outputs)
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_full_model_evaluates_as_the_saved_keras_model(full):
    stock = keras.models.load_model(full.keras_file)
    stock.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = blobs(64, classes=10, side=32)
    loss, accuracy = stock.evaluate(scaled(images), labels, batch_size=32, verbose=0)
    with Driver(full.folder) as driver:
        parts = [
            driver.call("evaluate", images=images[i : i + 32], labels=labels[i : i + 32]) for i in (0, 32)
        ]
    assert sum(part["loss_sum"] for part in parts) / 64 == pytest.approx(loss, rel=1e-5)
    assert sum(part["correct"] for part in parts) == round(accuracy * 64)


def test_probabilities_of_one_do_not_make_the_loss_infinite(tmp_path):
    """Keras takes the logits before the softmax; from clipped probabilities the loss would stop at 16."""
    stock = small_cnn()
    stock.get_layer("head").set_weights([np.zeros((12, 3), np.float32), np.float32([50, 0, 0])])
    folder = export(stock, tmp_path / "m", classes=names(3)).path
    images, _ = blobs(4)
    with Driver(folder) as driver:
        found = driver.call("evaluate", images=images, labels=np.ones(4, np.int64))
    assert found["loss_sum"] / 4 == pytest.approx(50 + float(sum(stock.losses)), rel=1e-5)


def test_one_thread_repeats_bit_for_bit(small):
    def run() -> list[bytes]:
        with Driver(small, threads=1) as driver:
            return [
                driver.call("train", images=blobs(8, seed=i)[0], labels=blobs(8)[1], learning_rate=0.1)[
                    "loss"
                ].tobytes()
                for i in range(10)
            ]

    assert run() == run()


def test_dropout_follows_from_the_fed_seed(tmp_path):
    folder = export(small_cnn(dropout=0.5), tmp_path / "m", classes=names(3)).path
    images, labels = blobs(16)

    def loss(seed: list[int]) -> float:
        with Driver(folder, threads=1) as driver:
            step = driver.call("train", images=images, labels=labels, learning_rate=0.0, seed=seed)
            again = (
                driver.call("evaluate", images=images, labels=labels),
                driver.call("evaluate", images=images, labels=labels),
            )
        assert again[0]["loss_sum"] == again[1]["loss_sum"]
        return float(step["loss"])

    assert loss([1, 2]) == loss([1, 2])
    assert len({loss([1, 2]), loss([1, 3]), loss([2, 2])}) == 3

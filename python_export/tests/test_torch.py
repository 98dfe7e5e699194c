"""The PyTorch recipe against the real torch and torchvision, by numbers that golden/make_torch.py wrote."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import recipes, weights
from python_export.clone import clone
from python_export.names import named_weights
from python_export.signatures import Program
from python_export.state_dict import to_torch, torch_name

from . import torch_case as case

GOLDEN = np.load(Path(__file__).with_name("golden") / "torch.npz")
IMAGES, LABELS = tf.constant(case.images()), tf.constant(case.labels())


def fill(model: keras.Model) -> None:
    """Sets a model's weights to the case's."""
    state = {
        torch_name(path): case.weight(torch_name(path), to_torch(path, weight.numpy()).shape)
        for path, weight in named_weights(model).items()
    }
    weights._assign_state(model, state, Path("case"))


def system(*, logits: bool = False) -> recipes.System:
    found = recipes.pytorch_system(case.CLASSES, 32, case.SIDE // 32, logits=logits)
    fill(found.model)
    return found


def program(found: recipes.System) -> Program:
    return Program(clone(found.model, "fused"), keras.optimizers.SGD(0.01), found.preprocess, found.loss)


@pytest.fixture(scope="module")
def published() -> recipes.System:
    return system()


def largest(difference: np.ndarray, of: np.ndarray) -> float:
    return np.abs(difference).max() / np.abs(of).max()


def test_preprocessing_is_resize_to_tensor_normalize(published):
    x = published.preprocess(IMAGES).numpy()
    assert x.shape == (case.BATCH, 224, 224, 3)
    ours, theirs = x.transpose(0, 3, 1, 2)[:, :, ::7, ::5], GOLDEN["pixels"]
    span = (1 / np.array(published.preprocess.std, np.float32)).reshape(1, 3, 1, 1)  # of black to white
    off = np.abs(ours - theirs) / span
    assert off.max() <= 1 / 255
    assert off.mean() < 1e-3
    assert np.array_equal(ours, theirs)  # more than was promised


def test_logits_are_torchs():
    found = system(logits=True)
    outputs = found.model(found.preprocess(IMAGES), training=False).numpy()
    assert largest(outputs - GOLDEN["logits"], GOLDEN["logits"]) <= 1e-4
    loss = program(found).evaluate(IMAGES, LABELS)["loss_sum"] / case.BATCH
    assert float(loss) == pytest.approx(float(GOLDEN["loss_logits"]), rel=1e-5)


def test_published_loss_is_cross_entropy_of_the_softmax(published):
    run = program(published)
    answers = run.evaluate(IMAGES, LABELS)
    assert float(answers["loss_sum"]) / case.BATCH == pytest.approx(float(GOLDEN["loss_published"]), rel=1e-5)
    np.testing.assert_allclose(run.serve(IMAGES)["probabilities"], GOLDEN["probabilities"], atol=1e-5)
    assert np.array_equal(answers["predictions"], GOLDEN["probabilities"].argmax(axis=1))


def test_gradients_err_no_more_than_torchs(published):
    model = clone(published.model, "fused").model
    run = program(published)
    sources = {torch_name(path): (path, w) for path, w in named_weights(model).items() if w.trainable}
    keys = [str(key) for key in GOLDEN["gradient_keys"]]
    assert sorted(keys) == sorted(sources)

    @tf.function(autograph=False)
    def gradients(images: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            outputs = model(published.preprocess(images), training=True)
            loss = tf.reduce_mean(run._cross_entropy(LABELS, outputs))
        return loss, tape.gradient(loss, {key: weight.value for key, (_, weight) in sources.items()})

    answers = [gradients(tf.constant(case.images(number))) for number in range(case.BATCHES)]
    ours = np.array(
        [
            [case.sampled(key, to_torch(sources[key][0], found[key].numpy())) for key in keys]
            for _, found in answers
        ]
    )
    exact, torchs = GOLDEN["gradients_float64"], GOLDEN["gradients_float32"].astype(np.float64)
    size = np.sqrt(np.mean(exact**2))
    error, allowed = (np.sqrt(np.mean((each - exact) ** 2)) / size for each in (ours, torchs))
    assert 0 < allowed < 0.01
    assert error <= 1.5 * allowed
    assert float(answers[0][0]) == pytest.approx(float(GOLDEN["loss_train"]), rel=1e-5)


def test_running_statistics_after_three_passes(published):
    """At learning rate 0. The variance that torch averages is unbiased: 4/3 of Keras's at 2x2 values."""
    copy = clone(published.model, "fused")
    run = Program(copy, keras.optimizers.SGD(0.01), published.preprocess, published.loss)
    for _ in range(3):
        run.train(IMAGES, LABELS, tf.constant(0.0))
    moved = {path: w.numpy() for path, w in named_weights(copy.model).items() if "/moving_" in path}
    assert len(moved) == 2 * 53
    for path, value in moved.items():
        expected = GOLDEN[f"statistics/{torch_name(path)}"]
        assert largest(value - expected, expected) <= 1e-5, path


def test_first_weights_are_spread_as_torchs():
    keras.utils.set_random_seed(3)
    model = recipes.pytorch_system(10, 32, 1, logits=False).model
    found = {torch_name(path): weight.numpy() for path, weight in named_weights(model).items()}
    wide = found["resnet.layer4.0.conv2.weight"]  # kaiming_normal_, fan_out
    assert wide.std() == pytest.approx(np.sqrt(2 / (512 * 9)), rel=0.01)
    assert np.abs(wide).max() > 4 * wide.std()  # not truncated
    for layer, inputs in (("classifier.1", 2048), ("classifier.3", 1024), ("classifier.5", 512)):
        for part in ("weight", "bias"):
            values = found[f"{layer}.{part}"]
            assert 0.7 * inputs**-0.5 < np.abs(values).max() <= inputs**-0.5
            assert values.std() == pytest.approx((3 * inputs) ** -0.5, rel=0.4)
    assert not np.array_equal(found["resnet.layer3.1.conv2.weight"], found["resnet.layer3.2.conv2.weight"])
    assert set(np.unique(found["resnet.bn1.weight"])) == {1.0}
    assert set(np.unique(found["resnet.bn1.running_var"])) == {1.0}
    assert not found["resnet.bn1.bias"].any()
    assert not found["resnet.bn1.running_mean"].any()

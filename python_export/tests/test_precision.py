"""Models whose layers compute in bfloat16 or float16: `export(…, precision=…)`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from python_export import ExportError, export
from python_export.__main__ import main

from .helpers import Driver, blobs, names, small_cnn, values

HALVES = {"bfloat16": tf.bfloat16, "float16": tf.float16}
# Bits of a result: 8 and 11. Some roundings one after the other are a few times as much.
TOLERANCE = {"bfloat16": 3e-2, "float16": 4e-3}


def build(path, precision: str, **settings):
    keras.utils.set_random_seed(5)
    export(small_cnn(**settings), path, classes=names(3), precision=precision)
    return path


@pytest.fixture(scope="module", params=list(HALVES))
def half(request, tmp_path_factory):
    """A precision and a model of it."""
    path = tmp_path_factory.mktemp("half") / request.param
    return request.param, build(path, request.param)


def types(folder) -> dict[str, set[tf.DType]]:
    """Of each kind of operation, in functions too, the types that it computes in."""
    found: dict[str, set[tf.DType]] = {}
    with Driver(folder) as driver:
        graph = driver.meta.graph_def
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        if node.attr["T"].type:
            found.setdefault(node.op, set()).add(tf.as_dtype(node.attr["T"].type))
    return found


def test_convolutions_and_batch_norms_are_halves_and_the_last_layer_is_not(half):
    precision, folder = half
    found = types(folder)
    for kind in ("Conv2D", "Conv2DBackpropFilter", "FusedBatchNormV3", "FusedBatchNormGradV3", "Relu"):
        assert found[kind] == {HALVES[precision]}, kind
    assert found["Softmax"] == {tf.float32}
    assert found["MatMul"] == {tf.float32}  # the only dense layer is the last one


def test_variables_are_float32(half):
    _, folder = half
    for path, value in values(folder).items():
        assert value.dtype in (np.float32, np.int32, np.int64), path


def test_predictions_are_those_of_float32_but_for_rounding(half, tmp_path):
    precision, folder = half
    images, labels = blobs(32)
    with Driver(folder) as driver, Driver(build(tmp_path / "single", "float32")) as single:
        got = driver.call("serving_default", images=images)["probabilities"]
        want = single.call("serving_default", images=images)["probabilities"]
        tested = [
            each.call("evaluate", images=images, labels=labels)["loss_sum"] for each in (driver, single)
        ]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=TOLERANCE[precision])
    assert not np.array_equal(got, want)
    np.testing.assert_allclose(*tested, rtol=TOLERANCE[precision])


def test_training_follows_that_of_float32(half, tmp_path):
    precision, folder = half
    images, labels = blobs(32)
    losses = []
    for each in (folder, build(tmp_path / "single", "float32")):
        with Driver(each) as driver:
            losses.append(
                [
                    driver.call("train", images=images, labels=labels, learning_rate=0.1)["loss"]
                    for _ in range(40)
                ]
            )
    halves, singles = np.array(losses)
    np.testing.assert_allclose(halves[0], singles[0], rtol=TOLERANCE[precision])
    assert halves[-1] < 0.3 * halves[0]
    np.testing.assert_allclose(halves[-1], singles[-1], atol=0.05)


def test_a_step_of_micro_batches_is_the_whole_one_s_gradient(half, tmp_path):
    """Also under a scaled loss: without BatchNorm's statistics of a batch, which learning_rate 0 shows."""
    _, folder = half
    images, labels = blobs(16)
    with Driver(folder) as driver:
        whole = driver.call(
            "train_accumulate", images=images, labels=labels, learning_rate=0.0, micro_batch_size=16
        )
        step = driver.call("train", images=images, labels=labels, learning_rate=0.0)
    np.testing.assert_allclose(whole["loss"], step["loss"], rtol=1e-5)
    np.testing.assert_allclose(whole["grad_norm"], step["grad_norm"], rtol=1e-2)


def test_dropout_and_larger_images_are_halves_too(half, tmp_path):
    precision, _ = half
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.UpSampling2D(2), *small_cnn(dropout=0.5).layers[1:]],
        name="large",
    )
    export(model, tmp_path / "model", classes=names(3), precision=precision)
    images, labels = blobs(16)
    images = images[:, ::2, ::2]
    with Driver(tmp_path / "model") as driver:
        step = driver.call("train", images=images, labels=labels, learning_rate=0.1, seed=[1, 2])
        larger = driver.call(
            "train_accumulate",
            images=images,
            labels=labels,
            learning_rate=0.1,
            micro_batch_size=8,
            upsample=3,
            seed=[1, 2],
        )
    assert np.isfinite([step["loss"], larger["loss"]]).all()


def test_the_scale_of_the_loss_is_state(tmp_path):
    """It is saved, and halved by a step that overflows, which changes no weight."""
    folder = build(tmp_path / "model", "float16")
    before = values(folder)
    scale = next(key for key in before if "dynamic_scale" in key)
    assert before[scale] == 2**15
    images, labels = blobs(16)
    with Driver(folder) as driver:
        right = driver.call("train", images=images, labels=labels, learning_rate=0.0)
        assign = next(
            operation
            for operation in driver.operations("VarHandleOp")
            if operation.get_attr("shared_name").decode().endswith("dynamic_scale")
        )
        with driver._graph.as_default():
            tf.raw_ops.AssignVariableOp(
                resource=assign.outputs[0], value=tf.constant(2.0**60), name="overflow"
            )
        driver._session.run("overflow")
        step = driver.call("train", images=images, labels=labels, learning_rate=0.1)
        driver.save(tmp_path / "after" / "variables" / "variables")
    after = values(tmp_path / "after")
    assert right["grad_norm"] > 0
    assert step["grad_norm"] == 0
    assert np.isfinite(step["loss"])
    assert after[scale] == 2.0**59
    kernels = [key for key in before if key.endswith("kernel")]
    assert kernels
    for key in kernels:
        np.testing.assert_array_equal(after[key], before[key], err_msg=key)


def test_a_model_s_own_policies_are_kept_and_told(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small_cnn()
    finally:
        keras.config.set_dtype_policy("float32")
    exported = export(model, tmp_path / "model", classes=names(3))
    assert exported.description["precision"] == "float16"
    assert any("dynamic_scale" in key for key in values(tmp_path / "model"))


def test_gradients_do_not_depend_on_the_scale(tmp_path):
    images, labels = blobs(16)
    norms = []
    for precision in ("float16", "float32"):
        with Driver(build(tmp_path / precision, precision)) as driver:
            norms.append(driver.call("train", images=images, labels=labels, learning_rate=0.0)["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-2)


def test_what_cannot_be_is_refused(tmp_path, capsys):
    with pytest.raises(ExportError, match='precision is "half"'):
        export(small_cnn(), tmp_path / "x", classes=names(3), precision="half")

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = small_cnn()

        def call(self, inputs):
            return self.inner(inputs)

    own = Own()
    own(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ExportError, match=r"subclassed.*mixed_bfloat16"):
        export(own, tmp_path / "x", classes=names(3), image=(8, 8, 3), precision="bfloat16")
    with pytest.raises(SystemExit) as ended:
        main(["export", "--out", str(tmp_path / "x"), "--precision", "half"])
    assert ended.value.code == 2
    assert "float16" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()

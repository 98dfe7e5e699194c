"""The server, asked by the clients of TensorFlow Serving and Triton, held against the model in Python."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
import tritonclient.http as triton
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tritonclient.utils import InferenceServerException

from .conftest import ROOT
from .helpers import free_port

PROGRAM = ROOT / "bin" / "residual"
MODEL = ROOT / "build" / "test-models" / "small"
FOREIGN = ROOT / "build" / "test-models" / "foreign"


@dataclass(frozen=True)
class Server:
    """Where a server answers."""

    http: str
    grpc: str
    process: subprocess.Popen


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """`residual serve` with an image classifier and a model that is none."""
    http, rpc = free_port(), free_port()
    process = subprocess.Popen(
        [
            PROGRAM,
            "serve",
            "--model",
            MODEL,
            "--model",
            f"other={FOREIGN}",
            "--port",
            str(http),
            "--grpc-port",
            str(rpc),
            "--json",
            "--drain-delay",
            "0s",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = json.loads(process.stdout.readline())
    assert ready == {
        "http": f"http://127.0.0.1:{http}",
        "grpc": f"127.0.0.1:{rpc}",
        "models": ["small", "other"],
    }
    yield Server(f"127.0.0.1:{http}", f"127.0.0.1:{rpc}", process)
    process.terminate()
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Noise, uint8 [5,32,32,3]."""
    return np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def wanted(images: np.ndarray) -> np.ndarray:
    """What Python makes of them."""
    loaded = tf.saved_model.load(str(MODEL))
    return loaded.signatures["serving_default"](images=tf.constant(images))["probabilities"].numpy()


def near(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-5)


def ask(
    server: Server, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict | list | None]:
    """The code and the JSON of an answer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://{server.http}{path}", body, names)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            code, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        code, text = error.code, error.read()
    return code, json.loads(text) if text else None


# TensorFlow Serving, REST


@pytest.mark.parametrize("spec", ["", "/versions/1"])
@pytest.mark.parametrize("signature", [{}, {"signature_name": "serving_default"}])
def test_rest_predicts_rows_and_columns(
    server: Server, images: np.ndarray, wanted: np.ndarray, spec: str, signature: dict
) -> None:
    path = f"/v1/models/small{spec}:predict"
    rows = images.tolist()
    for body, key in [
        ({"instances": rows}, "predictions"),
        ({"instances": [{"images": row} for row in rows]}, "predictions"),
        ({"inputs": rows}, "outputs"),
        ({"inputs": {"images": rows}}, "outputs"),
    ]:
        code, answer = ask(server, path, json.dumps(body | signature).encode())
        assert code == 200
        assert list(answer) == [key]
        near(np.array(answer[key], np.float32), wanted)


def test_rest_serves_models_that_are_no_classifiers(server: Server) -> None:
    loaded = tf.saved_model.load(str(FOREIGN)).signatures["serving_default"]
    x = np.array([[1, 2, 3, 4], [-0.5, 1e-3, 7, 0]], np.float32)
    want = loaded(x=tf.constant(x))["y"].numpy()
    code, answer = ask(server, "/v1/models/other:predict", json.dumps({"instances": x.tolist()}).encode())
    assert code == 200
    near(np.array(answer["predictions"], np.float32), want)


def test_rest_status_and_metadata(server: Server) -> None:
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ["/v1/models/small", "/v1/models/small/versions/1", "/V1/MODELS/small"]:
        assert ask(server, path) == (200, {"model_version_status": [available]})
    code, metadata = ask(server, "/v1/models/small/versions/1/metadata")
    assert code == 200
    assert metadata["model_spec"] == {"name": "small", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert list(signatures) == ["serving_default"]
    images = signatures["serving_default"]["inputs"]["images"]
    assert images["dtype"] == "DT_UINT8"
    assert [dim["size"] for dim in images["tensor_shape"]["dim"]] == ["-1", "32", "32", "3"]
    assert images["name"] == saved_signature().inputs["images"].name


def saved_signature() -> meta_graph_pb2.SignatureDef:
    """What the model's file says of the function that is served."""
    saved = saved_model_pb2.SavedModel.FromString((MODEL / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0].signature_def["serving_default"]


ROW = [[[0, 0, 0]] * 32] * 32

# What the documentation of the API says of errors, and what its implementation answers
# (tensorflow_serving/util/json_tensor.cc, model_servers/http_rest_api_util.cc).
REST_ERRORS = [
    (
        "POST",
        "/v1/models/half:predict",
        {"instances": [ROW]},
        404,
        "Servable not found for request: Latest(half)",
    ),
    ("POST", "/v1/models/small/versions/7:predict", {"instances": [ROW]}, 404, "Specific(small, 7)"),
    (
        "POST",
        "/v1/models/small/labels/x:predict",
        {"instances": [ROW]},
        400,
        "Unrecognized servable version label: x",
    ),
    ("POST", "/v1/models/small/versions/99999999999999999999:predict", {}, 400, "Failed to convert version"),
    ("POST", "/v1/models/small", {"instances": [ROW]}, 400, "Malformed request: POST /v1/models/small"),
    ("POST", "/v1/models/small:guess", {"instances": [ROW]}, 400, "Malformed request"),
    ("GET", "/v1/models/small:predict", None, 400, "Malformed request: GET"),
    ("GET", "/v1/models", None, 400, "Malformed request"),
    ("GET", "/v1/models/half", None, 404, "Could not find any versions of model half"),
    ("GET", "/v1/models/small/versions/7", None, 404, "Could not find version 7 of model small"),
    ("GET", "/v1/models/half/metadata", None, 404, "Servable not found"),
    ("POST", "/v1/models/small:regress", {"examples": [{}]}, 501, "tf.Examples"),
    ("POST", "/v1/models/small:classify", {"examples": [{}]}, 501, "tf.Examples"),
    ("POST", "/v1/models/small:predict", b"", 400, "The document is empty"),
    ("POST", "/v1/models/small:predict", b"[1]", 400, "Is not object"),
    ("POST", "/v1/models/small:predict", b'{"instances": [', 400, "JSON Parse error"),
    ("POST", "/v1/models/small:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    ("POST", "/v1/models/small:predict", {"inputs": [ROW], "instances": [ROW]}, 400, "only one of"),
    (
        "POST",
        "/v1/models/small:predict",
        {"signature_name": 7, "inputs": [ROW]},
        400,
        "must be a string value",
    ),
    (
        "POST",
        "/v1/models/small:predict",
        {"signature_name": "train", "inputs": [ROW]},
        400,
        '"train" not found',
    ),
    ("POST", "/v1/models/small:predict", {"instances": 7}, 400, "to be an list/array"),
    ("POST", "/v1/models/small:predict", {"instances": []}, 400, "No values in 'instances' array"),
    ("POST", "/v1/models/small:predict", {"instances": [ROW, ROW[1:]]}, 400, "unexpected size"),
    ("POST", "/v1/models/small:predict", {"instances": [ROW, 7]}, 400, "incorrect level"),
    (
        "POST",
        "/v1/models/small:predict",
        {"instances": [{"pixels": ROW}]},
        400,
        "keys must be equal to: images",
    ),
    ("POST", "/v1/models/small:predict", {"instances": [{"images": ROW}, ROW]}, 400, "element: 1"),
    ("POST", "/v1/models/small:predict", {"inputs": {"pixels": [ROW]}}, 400, "Missing named input: images"),
    (
        "POST",
        "/v1/models/small:predict",
        {"instances": [[[[0.5, 0, 0]] * 32] * 32]},
        400,
        "not of expected type: uint8",
    ),
    (
        "POST",
        "/v1/models/small:predict",
        {"instances": [[[[256, 0, 0]] * 32] * 32]},
        400,
        "not of expected type: uint8",
    ),
    ("POST", "/v1/models/small:predict", {"instances": [{"b64": "aGk="}]}, 400, "keys must be equal"),
    ("POST", "/v1/models/small:predict", {"instances": [[1, 2]]}, 400, "must be uint8 [N,32,32,3]"),
    ("PUT", "/v1/models/small:predict", {"instances": [ROW]}, 400, "Malformed request: PUT"),
]


@pytest.mark.parametrize(("method", "path", "body", "code", "text"), REST_ERRORS)
def test_rest_errors(server: Server, method: str, path: str, body: object, code: int, text: str) -> None:
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(f"http://{server.http}{path}", body, method=method)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=60)
    assert error.value.code == code
    assert error.value.headers["Content-Type"] == "application/json"
    answer = json.loads(error.value.read())
    assert list(answer) == ["error"]
    assert text.lower() in answer["error"].lower()


# TensorFlow Serving, gRPC


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def predict_request(
    images: np.ndarray, name: str = "small", **inputs: np.ndarray
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for key, value in {"images": images, **inputs}.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_grpc_predict(channel: grpc.Channel, images: np.ndarray, wanted: np.ndarray) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_request(images)
    answer = stub.Predict(request, timeout=60)
    near(tf.make_ndarray(answer.outputs["probabilities"]), wanted)
    assert len(answer.outputs["probabilities"].float_val) == 50, "clients in other languages read float_val"
    assert answer.model_spec.name == "small"
    assert answer.model_spec.version.value == 1
    assert answer.model_spec.signature_name == "serving_default"
    request.model_spec.version.value = 1
    request.output_filter.append("probabilities")
    near(tf.make_ndarray(stub.Predict(request, timeout=60).outputs["probabilities"]), wanted)


def test_grpc_takes_lists_of_elements(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    full = predict_request(np.full((2, 32, 32, 3), 7, np.uint8))
    want = tf.make_ndarray(stub.Predict(full, timeout=60).outputs["probabilities"])
    short = predict_request(np.zeros((2, 32, 32, 3), np.uint8))
    short.inputs["images"].tensor_content = b""
    short.inputs["images"].int_val.append(7)  # stands for all
    near(tf.make_ndarray(stub.Predict(short, timeout=60).outputs["probabilities"]), want)


def test_grpc_metadata_and_status(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "small"
    answer = stub.GetModelMetadata(request, timeout=60)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"] == saved_signature()
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "other"
    (version,) = (
        model_service_pb2_grpc.ModelServiceStub(channel)
        .GetModelStatus(status, timeout=60)
        .model_version_status
    )
    assert version.version == 1
    assert version.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE


def test_grpc_errors(channel: grpc.Channel, images: np.ndarray) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    version = predict_request(images)
    version.model_spec.version.value = 7
    label = predict_request(images)
    label.model_spec.version_label = "canary"
    signature = predict_request(images)
    signature.model_spec.signature_name = "train"
    output = predict_request(images)
    output.output_filter.append("logits")
    huge = predict_request(images)
    huge.inputs["images"].tensor_content = b""
    huge.inputs["images"].tensor_shape.dim[0].size = 1 << 40
    text = predict_request(images)
    text.inputs["images"].CopyFrom(tf.make_tensor_proto(["a"]))
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = "small"
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "half"
    code = grpc.StatusCode
    for call, request, want, message in [
        (stub.Predict, predict_pb2.PredictRequest(), code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (stub.Predict, predict_request(images, "half"), code.NOT_FOUND, "Latest(half)"),
        (stub.Predict, version, code.NOT_FOUND, "Specific(small, 7)"),
        (stub.Predict, label, code.INVALID_ARGUMENT, "Unrecognized servable version label: canary"),
        (stub.Predict, signature, code.INVALID_ARGUMENT, '"train" not found'),
        (stub.Predict, output, code.INVALID_ARGUMENT, "logits"),
        (
            stub.Predict,
            predict_request(images[0]),
            code.INVALID_ARGUMENT,
            "must be uint8 [N,32,32,3], not uint8 [32,32,3]",
        ),
        (stub.Predict, predict_request(images.astype(np.float32)), code.INVALID_ARGUMENT, "not float32"),
        (stub.Predict, predict_request(images, more=images), code.INVALID_ARGUMENT, "only the inputs images"),
        (stub.Predict, huge, code.INVALID_ARGUMENT, "dimension of 1099511627776"),
        (stub.Predict, text, code.INVALID_ARGUMENT, "DT_STRING"),
        (stub.Classify, classification_pb2.ClassificationRequest(), code.UNIMPLEMENTED, ""),
        (stub.Regress, regression_pb2.RegressionRequest(), code.UNIMPLEMENTED, ""),
        (stub.GetModelMetadata, metadata, code.INVALID_ARGUMENT, "at least one metadata_field"),
        (models.GetModelStatus, status, code.NOT_FOUND, "Could not find any versions of model half"),
    ]:
        with pytest.raises(grpc.RpcError) as error:
            call(request, timeout=60)
        assert error.value.code() == want, error.value.details()
        assert message in error.value.details()


def test_grpc_large_messages(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    images = np.zeros((1024, 32, 32, 3), np.uint8)  # 3 MiB
    assert tf.make_ndarray(
        stub.Predict(predict_request(images), timeout=60).outputs["probabilities"]
    ).shape == (1024, 10)
    for n in [1025, 6000]:  # more than a request may have, larger than a message may be
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(predict_request(np.zeros((n, 32, 32, 3), np.uint8)), timeout=60)
        assert error.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)


# The Open Inference Protocol, asked by Triton's client


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.http) as client:
        yield client


def triton_input(images: np.ndarray, binary: bool) -> triton.InferInput:
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return tensor


def test_triton_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.is_model_ready("small", "1")
    assert not client.is_model_ready("small", "2")
    assert not client.is_model_ready("half")
    server = client.get_server_metadata()
    assert server["name"] == "residual"
    assert "binary_tensor_data" in server["extensions"]
    assert client.get_model_metadata("small") == {
        "name": "small",
        "versions": ["1"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    }
    index = {
        (model["name"], model["version"]): model["state"] for model in client.get_model_repository_index()
    }
    assert index == {("small", "1"): "READY", ("other", "1"): "READY"}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_triton_infer(
    client: triton.InferenceServerClient,
    images: np.ndarray,
    wanted: np.ndarray,
    binary_in: bool,
    binary_out: bool | None,
    compression: str | None,
) -> None:
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = client.infer(
        "small",
        [triton_input(images, binary_in)],
        outputs=outputs,
        request_id="42",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
        timeout=60_000_000,
    )
    near(result.as_numpy("probabilities"), wanted)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("42", "small", "1")


@pytest.mark.parametrize("binary", [True, False])
def test_triton_classification(
    client: triton.InferenceServerClient, images: np.ndarray, wanted: np.ndarray, binary: bool
) -> None:
    output = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)
    got = client.infer("small", [triton_input(images, True)], outputs=[output]).as_numpy("probabilities")
    assert got.shape == (5, 3)
    classes = json.loads((MODEL / "assets.extra" / "residual.json").read_text())["classes"]
    for row, probabilities in zip(got, wanted, strict=True):
        best = np.argsort(-probabilities)[:3]
        for item, label in zip(row, best, strict=True):
            value, index, name = (item.decode() if isinstance(item, bytes) else item).split(":")
            assert int(index) == label
            assert name == classes[label]
            assert float(value) == pytest.approx(probabilities[label], abs=1e-5)


def test_triton_async(client: triton.InferenceServerClient, images: np.ndarray, wanted: np.ndarray) -> None:
    pending = [client.async_infer("small", [triton_input(images[i : i + 1], True)]) for i in range(5)]
    near(np.concatenate([one.get_result().as_numpy("probabilities") for one in pending]), wanted)


def test_triton_float_inputs(client: triton.InferenceServerClient) -> None:
    x = np.array([[1, 2, 3, 4]], np.float32)
    want = tf.saved_model.load(str(FOREIGN)).signatures["serving_default"](x=tf.constant(x))["y"].numpy()
    for binary in [True, False]:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(x, binary_data=binary)
        near(client.infer("other", [tensor]).as_numpy("y"), want)


def test_triton_errors(client: triton.InferenceServerClient, images: np.ndarray) -> None:
    good = triton_input(images, True)
    small = triton.InferInput("images", [1, 2, 2, 3], "UINT8")
    small.set_data_from_numpy(np.zeros((1, 2, 2, 3), np.uint8))
    floats = triton.InferInput("images", [1, 32, 32, 3], "FP32")
    floats.set_data_from_numpy(np.zeros((1, 32, 32, 3), np.float32))
    texts = triton.InferInput("images", [1], "BYTES")
    texts.set_data_from_numpy(np.array([b"a"], np.object_))
    shared = triton.InferInput("images", [1, 32, 32, 3], "UINT8")
    shared.set_shared_memory("region", 3072)
    for name, inputs, outputs, code, text in [
        ("half", [good], None, "404", "half"),
        ("small", [], None, "400", "images"),
        ("small", [small], None, "400", "not uint8 [1,2,2,3]"),
        ("small", [floats], None, "400", "not float32"),
        ("small", [texts], None, "400", "BYTES"),
        ("small", [shared], None, "400", "shared memory"),
        ("small", [good, good], None, "400", "twice"),
        ("small", [good], [triton.InferRequestedOutput("logits")], "400", "logits"),
    ]:
        with pytest.raises(InferenceServerException) as error:
            client.infer(name, inputs, outputs=outputs)
        assert error.value.status() == code
        assert text in error.value.message()


# Where the protocol says more than Triton's client can be made to do wrong.
OIP_ERRORS = [
    ("/v2/models/small/infer", b"", {}, 400, "empty"),
    ("/v2/models/small/infer", b"{", {}, 400, "Parse error"),
    ("/v2/models/small/infer", b"{}", {}, 400, "images"),
    ("/v2/models/small/infer", b"{}", {"Inference_Header_Content_Length": "3"}, 400, "3"),
    ("/v2/models/small/infer", b"{}", {"Inference_Header_Content_Length": "-1"}, 400, "-1"),
    ("/v2/models/small/infer", b"{}xx", {"Inference_Header_Content_Length": "2"}, 400, "2 bytes are left"),
    ("/v2/models/small/infer", b'{"inputs": 7}', {}, 400, "inputs"),
    (
        "/v2/models/small/infer",
        b'{"inputs": [{"name": "images", "shape": [1], "datatype": "UINT8"}]}',
        {},
        400,
        "neither",
    ),
    (
        "/v2/models/small/infer",
        b'{"inputs": [{"name": "images", "shape": [3], "datatype": "UINT8", "data": [1, 2]}]}',
        {},
        400,
        "does not fit",
    ),
    (
        "/v2/models/small/infer",
        b'{"inputs": [{"name": "images", "shape": [-1], "datatype": "UINT8", "data": [1]}]}',
        {},
        400,
        "negative",
    ),
    ("/v2/models/small/versions/2/infer", b"{}", {}, 404, "Specific(small, 2)"),
    ("/v2/models/small", b"{}", {}, 405, "method"),
    ("/v2/health/live", b"{}", {}, 405, "method"),
    ("/v2/models/small/generate", b"{}", {}, 404, "nothing at"),
    ("/v3", b"{}", {}, 404, "nothing at"),
]


@pytest.mark.parametrize(("path", "body", "headers", "code", "text"), OIP_ERRORS)
def test_oip_errors(server: Server, path: str, body: bytes, headers: dict, code: int, text: str) -> None:
    got, answer = ask(server, path, body, **headers)
    assert got == code
    assert text in answer["error"]


def test_oip_data_may_be_nested(server: Server, images: np.ndarray, wanted: np.ndarray) -> None:
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(images.shape)}
    for data in [images.tolist(), images.ravel().tolist()]:
        code, answer = ask(
            server, "/v2/models/small/infer", json.dumps({"inputs": [tensor | {"data": data}]}).encode()
        )
        assert code == 200
        (output,) = answer["outputs"]
        assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [5, 10])
        near(np.array(output["data"], np.float32).reshape(5, 10), wanted)


# Images


def test_classify_is_predict(server: Server, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(2).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    body = (tmp_path / "a.png").read_bytes()
    code, answer = ask(server, "/v1/models/small:classify?top=10", body)
    assert code == 200
    assert (answer["model"], answer["version"]) == ("small", "1")
    printed = subprocess.run(
        [PROGRAM, "predict", "--model", MODEL, "--top", "10", "--json", tmp_path / "a.png"],
        capture_output=True,
        text=True,
        check=True,
    )
    want = json.loads(printed.stdout.splitlines()[-1])["images"][0]["top"]
    got = answer["images"][0]["top"]
    assert [guess["class"] for guess in got] == [guess["class"] for guess in want]
    for one, other in zip(got, want, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)

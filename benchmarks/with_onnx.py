"""A worker of bench.py: ONNX Runtime or OpenVINO with the PyTorch recipe's network.

python benchmarks/with_onnx.py onnxruntime|openvino FOLDER BATCH_SIZE float32|bfloat16
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from orders import obey


def onnxruntime(folder: Path, images: np.ndarray, precision: str) -> None:
    """ONNX Runtime's CPU provider, float32, all optimizations."""
    import onnxruntime as ort

    if precision != "float32":
        raise SystemExit("ONNX Runtime's CPU provider has no bfloat16")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(str(folder / "torch.onnx"), options, providers=["CPUExecutionProvider"])

    def ask() -> np.ndarray:
        return session.run(None, {"images": images})[0]

    obey(ask, ask)


def openvino(folder: Path, images: np.ndarray, precision: str) -> None:
    """OpenVINO's CPU plug-in with a fixed shape, one request at a time."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(folder / "torch.onnx")
    model.reshape(list(images.shape))
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    compiled = core.compile_model(
        model, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    )
    request = compiled.create_infer_request()

    def ask() -> np.ndarray:
        return request.infer({0: images})[compiled.output(0)]

    obey(ask, ask)


if __name__ == "__main__":
    runtime, folder, batch, precision = sys.argv[1:]
    pixels = np.ascontiguousarray(np.load(Path(folder) / "images-224.npy")[: int(batch)])
    {"onnxruntime": onnxruntime, "openvino": openvino}[runtime](Path(folder), pixels, precision)

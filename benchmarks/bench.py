"""Times this project and others at the same work, in turns, one process computing at a time.

    .venv/bin/python benchmarks/bench.py [--case NAME …] [--rounds N]

scripts/bench.sh and scripts/bench_peers.sh prepare what it needs. Every contestant of a case is a process
that waits while another computes. The turns go round and round, so that a machine that slows down slows all
alike, and ratios are taken within a round. Contestants that predict must agree on the probabilities first.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from orders import Worker, spread

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench"
PEER_VERSIONS = ROOT / "benchmarks" / "requirements.txt"
PEERS = os.environ.get("PEERS", str(ROOT / "build" / "peers" / "bin" / "python"))


def go(task: str, model: str, batch: int, precision: str = "float32", *options: str) -> list[str]:
    """The command line of this project's worker."""
    return [
        str(ROOT / "build" / "bench-worker"),
        *("-task", task, "-model", str(FOLDER / model), "-batch-size", str(batch)),
        *("-precision", precision, "-images", str(FOLDER / "images.u8"), *options),
    ]


def with_keras(task: str, model: str, batch: int) -> list[str]:
    """Keras, or a session of Python's TensorFlow."""
    return [sys.executable, str(ROOT / "benchmarks" / "with_keras.py"), task, str(FOLDER / model), str(batch)]


def keras_rivals(name: str, task: str, model: str, batch: int) -> dict[str, list[str]]:
    """Keras as it is, and with oneDNN's kernels where TensorFlow does not choose them by itself."""
    rivals = {name: with_keras(task, model, batch)}
    chosen = {"avx512_vnni", "avx_vnni", "amx_int8"} & cpu_flags()
    large = task == "fit" and model == "keras-7.keras" and batch > 16  # three of them do not fit into 24 GB
    if "avx2" in cpu_flags() and not chosen and not large:
        rivals[f"{name}, oneDNN"] = ["env", "TF_ENABLE_ONEDNN_OPTS=1", *rivals[name]]
    return rivals


@functools.cache
def cpu() -> dict[str, str]:
    """What the system says of this processor's cores, such as their flags."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in fields}


def cpu_flags() -> set[str]:
    """The instructions that this processor has."""
    return set(cpu().get("flags", "").split())


def peer(script: str, task: str, batch: int, precision: str = "float32") -> list[str]:
    """Others that need an environment of their own."""
    return [PEERS, str(ROOT / "benchmarks" / script), task, str(FOLDER), str(batch), precision]


@dataclass(frozen=True)
class Case:
    """Contestants at the same work. The first is this project's, the others are its rivals."""

    name: str
    batch: int
    contestants: dict[str, list[str]]
    wanted: dict[str, float] = field(default_factory=dict)
    """How many times as fast as a rival the first is to be."""
    steps: int = 1
    """In a turn."""
    apart: float = 0.0
    """The most that probabilities may differ; 0: there are none."""


BFLOAT16_APART = 0.05
"""Rounding to eight bits through fifty layers; float32 agrees to 1e-4."""


def cases() -> list[Case]:
    """All that can be measured on this machine."""
    fast = {"avx512_bf16", "amx_bf16"} & cpu_flags()
    found = [case for batch in (16, 64) for case in training(batch)]
    found += [case for batch in (1, 16, 64) for case in predicting(batch)]
    found += small_images(64)
    return [case for case in found if fast or "bfloat16" not in case.name]


def training(batch: int) -> list[Case]:
    """Training on images of 224x224."""
    session = ["env", "TF_ENABLE_ONEDNN_OPTS=1", *with_keras("session", "keras-7", batch)]
    return [
        Case(
            f"driver-{batch}",
            batch,
            {"Go": go("train", "keras-7", batch), "Python session": session},
            {"Python session": 0.98},
        ),
        Case(
            f"train-keras-{batch}",
            batch,
            {"Go": go("train", "keras-7", batch)} | keras_rivals("Keras fit", "fit", "keras-7.keras", batch),
            {"Keras fit": 1.4},
        ),
        Case(
            f"train-keras-bfloat16-{batch}",
            batch,
            {
                "Go, bfloat16": go("train", "keras-7", batch, "bfloat16"),
                "Keras fit, float32": with_keras("fit", "keras-7.keras", batch),
            },
            {"Keras fit, float32": 2.7},
        ),
        Case(
            f"train-torch-{batch}",
            batch,
            {"Go": go("train", "torch-7", batch), "PyTorch": peer("with_torch.py", "train", batch)},
            {"PyTorch": 1.4},
        ),
        Case(
            f"train-torch-bfloat16-{batch}",
            batch,
            {
                "Go, bfloat16": go("train", "torch-7", batch, "bfloat16"),
                "PyTorch, bfloat16": peer("with_torch.py", "train", batch, "bfloat16"),
            },
            {"PyTorch, bfloat16": 1.15},
        ),
    ]


def predicting(batch: int) -> list[Case]:
    """Predictions for images of 224x224."""
    steps = max(1, 16 // batch)
    return [
        Case(
            f"predict-keras-{batch}",
            batch,
            {"Go": go("predict", "keras-7", batch)}
            | keras_rivals("Keras predict", "predict", "keras-7.keras", batch)
            | keras_rivals("tf.function", "function", "keras-7.keras", batch),
            {"Keras predict": 1.2},
            steps,
            1e-4,
        ),
        Case(
            f"predict-torch-{batch}",
            batch,
            {
                "Go": go("predict", "torch-7", batch),
                "OpenVINO": peer("with_onnx.py", "openvino", batch),
                "ONNX Runtime": peer("with_onnx.py", "onnxruntime", batch),
                "PyTorch": peer("with_torch.py", "predict", batch),
            },
            {"OpenVINO": 1.0 if batch == 1 else 1.05, "ONNX Runtime": 1.05},
            steps,
            1e-4,
        ),
        Case(
            f"predict-torch-bfloat16-{batch}",
            batch,
            {
                "Go": go("predict", "torch-7", batch, "bfloat16"),
                "OpenVINO": peer("with_onnx.py", "openvino", batch, "bfloat16"),
                "PyTorch": peer("with_torch.py", "predict", batch, "bfloat16"),
            },
            {"OpenVINO": 1.0},
            steps,
            BFLOAT16_APART,
        ),
    ]


def small_images(batch: int) -> list[Case]:
    """Images of 32x32 as they are: upsampling 1."""
    return [
        Case(
            f"train-keras-small-{batch}",
            batch,
            {"Go": go("train", "keras-1", batch)} | keras_rivals("Keras fit", "fit", "keras-1.keras", batch),
            {"Keras fit": 2.0},
            4,
        ),
        Case(
            f"predict-keras-small-{batch}",
            batch,
            {"Go": go("predict", "keras-1", batch)}
            | keras_rivals("Keras predict", "predict", "keras-1.keras", batch)
            | keras_rivals("tf.function", "function", "keras-1.keras", batch),
            {"Keras predict": 2.0},
            8,
            1e-4,
        ),
    ]


def measure(case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each contestant, a number a round."""
    env = {**os.environ, "RESIDUAL_TENSORFLOW": str(ROOT / ".venv")}
    workers = {name: Worker(*command, env=env) for name, command in case.contestants.items()}
    try:
        if case.apart:
            agree({name: worker.check() for name, worker in workers.items()}, case.apart)
        for worker in workers.values():
            worker.steps(3)  # plan the graph, fill the caches
        times: dict[str, list[float]] = {name: [] for name in workers}
        for number in range(rounds):
            for name, worker in workers.items():
                times[name].append(worker.steps(case.steps))
            said = ", ".join(f"{name} {found[-1]:.3f} s" for name, found in times.items())
            print(f"{case.name} {number + 1}/{rounds}: {said}", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.stop()
    return times


def agree(answers: dict[str, list[list[float]]], apart: float) -> None:
    """Ends the program if the first contestant's probabilities are not the others'."""
    first, *others = answers.items()
    for name, rows in others:
        most = max(abs(a - b) for x, y in zip(first[1], rows, strict=True) for a, b in zip(x, y, strict=True))
        print(f"{first[0]} and {name}: probabilities {most:.1e} apart", file=sys.stderr)
        if not most <= apart:
            raise SystemExit(f"{first[0]} and {name} do not compute the same: {most} apart")


def report(case: Case, times: dict[str, list[float]]) -> str:
    """A line for each contestant."""
    first, *_ = times
    lines = []
    for name, found in times.items():
        line = f"{case.name:26} {name:20} {spread([case.batch / seconds for seconds in found]):28} images/s"
        if name != first:
            line += (
                f"   Go is {spread([b / a for a, b in zip(times[first], found, strict=True)])} times as fast"
            )
        if name in case.wanted:
            line += f", {case.wanted[name]} wanted"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measures, and prints a table."""
    everything = {case.name: case for case in cases()}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--case", action="append", choices=everything, metavar="NAME", help=", ".join(everything)
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write all times to this file")
    options = parser.parse_args()
    result = {"setting": setting(), "cases": {}}
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
        if before["setting"] == result["setting"]:
            result["cases"] = before["cases"]
    for name in options.case or everything:
        case = everything[name]
        times = measure(case, options.rounds)
        print(report(case, times), flush=True)
        result["cases"][name] = {"batch": case.batch, "wanted": case.wanted, "seconds": times}
        if options.json:
            options.json.write_text(json.dumps(result))
    print(f"{result['setting']}, {options.rounds} rounds in turns; median (quartiles)")


def setting() -> str:
    """The machine and the versions."""
    name = cpu().get("model name", "CPU")
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    newest = [flag for flag in known if flag in cpu_flags()][-1:]
    version = importlib.metadata.version
    peers = [line.replace("==", " ") for line in PEER_VERSIONS.read_text().splitlines() if "==" in line]
    return (
        f"{os.cpu_count()} cores, {' with '.join([name, *newest])}; TensorFlow {version('tensorflow_cpu')}, "
        f"Keras {version('keras')}, {', '.join(peers)}"
    )


if __name__ == "__main__":
    main()

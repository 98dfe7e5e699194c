"""The servers that serve.py compares: how they start, what they are asked, what their model takes alone."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import FOLDER, ROOT, go
from orders import Worker

RESIDUAL = str(ROOT / "bin" / "residual")
PEERS = str(ROOT / "build" / "peers-serve" / "bin" / "python")
LITSERVE = [PEERS, str(ROOT / "benchmarks" / "with_litserve.py")]
ENVIRONMENT = {**os.environ, "RESIDUAL_TENSORFLOW": str(ROOT / ".venv")}
CLASSES = 10


@dataclass(frozen=True)
class Work:
    """A model, and how it is measured."""

    model: str
    max_batch: int
    """What residual serve finds by itself on a quiet machine, given to both."""
    onednn: bool
    """Whether TensorFlow for Python is faster with oneDNN, which residual turns on by itself."""
    seconds: float
    """Of a measurement."""
    settle: float
    """Seconds for each connection before it: all have been answered a few times."""
    steps: int
    """Of the model alone."""
    profiled: bool
    """Whether Go's own time shows beside the model's."""

    @property
    def folder(self) -> str:
        """The SavedModel."""
        return str(FOLDER / self.model)


@dataclass(frozen=True)
class Question:
    """A request about one image."""

    path: str
    body: bytes
    headers: dict[str, str]


def pixels() -> bytes:
    """One image, uint8 [32,32,3]."""
    return (FOLDER / "images.u8").read_bytes()[: 32 * 32 * 3]


def binary() -> Question:
    """The Open Inference Protocol with tensors as bytes."""
    image = pixels()
    tensor = {"name": "images", "shape": [1, 32, 32, 3], "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": len(image)}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return Question("/v2/models/m/infer", header + image, headers)


def jpeg() -> Question:
    """A file that the server decodes."""
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("RGB", (32, 32), pixels()).save(file, "JPEG", quality=90)
    return Question("/v1/models/m:classify", file.getvalue(), {"Content-Type": "image/jpeg"})


def raw() -> Question:
    """What with_litserve.py takes."""
    return Question("/predict", pixels(), {"Content-Type": "application/octet-stream"})


@dataclass(frozen=True)
class Contestant:
    """A server, and a worker that calls the same function in the same way without one."""

    name: str
    serve: Callable[[Work, int], list[str]]
    """The command line that serves a model on a port."""
    alone: Callable[[Work, int], list[str]]
    """The command line of the worker for a batch size."""
    environment: Callable[[Work], dict[str, str]]
    ready: str
    question: Callable[[], Question]
    others: dict[str, Callable[[], Question]] = field(default_factory=dict)
    """What it can be asked besides."""
    own: bool = False
    """Whether it is this project's, with metrics and profiles."""


CONTESTANTS = (
    Contestant(
        "residual serve",
        lambda work, port: [
            *(RESIDUAL, "serve", "--model", f"m={work.folder}", "--max-batch", str(work.max_batch)),
            *("--port", str(port), "--grpc-port", "0", "--drain-delay", "0s"),
        ],
        lambda work, batch: go("predict", work.model, batch),
        lambda work: ENVIRONMENT,
        "/readyz",
        binary,
        {"JPEG": jpeg},
        own=True,
    ),
    Contestant(
        "LitServe",
        lambda work, port: [*LITSERVE, "serve", work.folder, str(port), str(work.max_batch)],
        lambda work, batch: [*LITSERVE, "predict", work.folder, str(batch)],
        lambda work: {**ENVIRONMENT, "TF_ENABLE_ONEDNN_OPTS": str(int(work.onednn))},
        "/health",
        raw,
    ),
)


class Server:
    """A server that runs."""

    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self.url = url

    def get(self, path: str) -> bytes:
        """What is at a path."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def ask(self, question: Question) -> bytes:
        """The answer to a question."""
        request = urllib.request.Request(self.url + question.path, question.body, question.headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def metrics(self) -> dict[str, float]:
        """What residual serve has counted; labels are left out."""
        lines = (line.split() for line in self.get("/metrics").decode().splitlines() if line[0] != "#")
        return {name.partition("{")[0]: float(value) for name, value in lines}


@contextmanager
def running(contestant: Contestant, work: Work, *options: str) -> Iterator[Server]:
    """Starts a server, waits until it is ready, and ends it with all its processes."""
    port = free_port()
    log = ROOT / "build" / "bench" / f"serve-{contestant.name.split()[0]}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*contestant.serve(work, port), *options],
            env=contestant.environment(work),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        server = Server(process.pid, f"http://127.0.0.1:{port}")
        await_ready(server, contestant.ready, process, log)
        yield server
    finally:
        end(process)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def await_ready(server: Server, path: str, process: subprocess.Popen, log: Path) -> None:
    """Asks until the answer is good."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.get(path)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(
        f"{' '.join(process.args)} did not become ready; its last words:\n{log.read_text()[-2000:]}"
    )


def end(process: subprocess.Popen) -> None:
    """Ends a process and those of its group, which LitServe does not end by itself."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 30
        try:
            os.killpg(process.pid, how)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            break
    process.wait()


class Alone(Worker):
    """A worker whose CPU time can be asked for."""

    def cpu(self) -> float:
        """Seconds since it began."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alone(contestant: Contestant, work: Work) -> dict[str, float]:
    """What full batches take without a server."""
    worker = Alone(*contestant.alone(work, work.max_batch), env=contestant.environment(work))
    try:
        worker.steps(3)  # plan the graph, fill the caches
        before = worker.cpu()
        seconds = worker.steps(work.steps)
        cpu = (worker.cpu() - before) / work.steps
    finally:
        worker.stop()
    return {
        "batch_ms": seconds * 1e3,
        "images_per_second": work.max_batch / seconds,
        "cpu_us_per_image": cpu / work.max_batch * 1e6,
    }

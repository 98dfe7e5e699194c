"""Times a training step driven by Go, by a Python session, and by Keras's fit or PyTorch, in turns.

    python benchmarks/train_step.py --model DIR --worker PROGRAM --keras FILE
    python benchmarks/train_step.py --model DIR --worker PROGRAM --torch PYTHON

All train the same network on images of the same size: Go and the session call the SavedModel's own train
signature, fit trains the stock Keras model, PyTorch the article's module. Each is a process of its own that
waits while another computes. The turns go round and round, so that a machine that slows down slows all alike,
and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def images(batch: int, classes: int = 10):
    """A batch of noise with labels: uint8 [batch,32,32,3] and int64 [batch]."""
    import numpy as np

    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (batch, 32, 32, 3), np.uint8), rng.integers(0, classes, batch)


def session_worker(model: str, batch: int) -> None:
    """Calls the train signature through a session, as Go does."""
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    x, y = images(batch)
    with v1.Session() as session:
        meta = v1.saved_model.load(session, ["serve"], model)
        signature = meta.signature_def["train"]
        fetches = [info.name for info in signature.outputs.values()]
        feeds = {
            signature.inputs["images"].name: x,
            signature.inputs["labels"].name: y,
            signature.inputs["learning_rate"].name: 0.01,
        }

        def steps(count: int) -> float:
            begun = time.perf_counter()
            for _ in range(count):
                session.run(fetches, feeds)
            return time.perf_counter() - begun

        obey(steps)


def fit_worker(file: str, batch: int) -> None:
    """Runs Keras's fit; its time before the first step and after the last does not count."""
    import keras
    import numpy as np

    model = keras.models.load_model(file)
    model.compile(
        optimizer=keras.optimizers.SGD(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x, y = images(batch)
    x = x.astype(np.float32) / 255

    class Clock(keras.callbacks.Callback):
        begun = ended = None

        def on_train_batch_begin(self, step: int, logs: dict | None = None) -> None:
            self.begun = self.begun or time.perf_counter()

        def on_train_batch_end(self, step: int, logs: dict | None = None) -> None:
            self.ended = time.perf_counter()

    def steps(count: int) -> float:
        clock = Clock()
        several = np.concatenate([x] * count), np.concatenate([y] * count)
        model.fit(*several, batch_size=batch, epochs=1, verbose=0, callbacks=[clock])
        return clock.ended - clock.begun

    obey(steps)


def obey(steps) -> None:
    """Answers each line with a number of steps by the seconds they took."""
    for line in sys.stdin:
        print(steps(int(line)), flush=True)


class Worker:
    """One of the processes."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def steps(self, count: int) -> float:
        """Seconds for one of count steps."""
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._process.args} ended: {self._process.wait()}")
        return float(answer) / count

    def stop(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def spread(values: list[float], unit: float = 1) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles([value * unit for value in values], n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="the exported model")
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--keras", help="the stock Keras model with the same weights")
    other.add_argument("--torch", metavar="PYTHON", help="a Python that has torch and torchvision")
    parser.add_argument("--worker", required=True, help="benchmarks/worker, built")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=2, help="steps in a turn")
    parser.add_argument("--json", type=Path, help="also write all times to this file")
    a = parser.parse_args()

    batch = str(a.batch_size)
    this = [sys.executable, str(Path(__file__).resolve())]
    workers = {
        "go": Worker(a.worker, a.model, batch),
        "session": Worker(*this, "session", a.model, batch),
    }
    if a.keras:
        peer, title, wanted = "fit", "Keras fit, stock model", 1.2
        workers[peer] = Worker(*this, "fit", a.keras, batch)
    else:
        peer, title, wanted = "torch", "PyTorch, channels_last", 1.0
        workers[peer] = Worker(a.torch, str(Path(__file__).with_name("torch_loop.py")), batch)
    times: dict[str, list[float]] = {name: [] for name in workers}
    for worker in workers.values():
        worker.steps(3)  # plan the graph, fill the caches
    for number in range(a.rounds):
        for name, worker in workers.items():
            times[name].append(worker.steps(a.steps))
        print(
            f"round {number + 1}/{a.rounds}: " + ", ".join(f"{n} {t[-1]:.3f} s" for n, t in times.items()),
            file=sys.stderr,
        )
    for worker in workers.values():
        worker.stop()

    import importlib.metadata

    version = importlib.metadata.version
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"TensorFlow {version('tensorflow_cpu')}, Keras {version('keras')}, "
        f"batch {batch}, {a.rounds} rounds of {a.steps} steps; median (quartiles)"
    )
    for name, label in (("go", "Go"), ("session", "Python session"), (peer, title)):
        rate = [a.batch_size / seconds for seconds in times[name]]
        print(f"{label:24}  {spread(times[name])} s a step   {spread(rate)} images/s")
    go = times["go"]
    print(
        f"time, Go : session        {spread([g / s for g, s in zip(go, times['session'], strict=True)])}"
        "   at most 1.02 wanted"
    )
    print(
        f"images/s, Go : {peer:10} {spread([p / g for g, p in zip(go, times[peer], strict=True)])}"
        f"   at least {wanted} wanted"
    )
    if a.json:
        a.json.write_text(json.dumps(times))


if __name__ == "__main__":
    if sys.argv[1:2] == ["session"]:
        session_worker(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["fit"]:
        fit_worker(sys.argv[2], int(sys.argv[3]))
    else:
        main()

"""Fails if what makes this project fast no longer does.

    .venv/bin/python benchmarks/check.py [--check NAME …] [--rounds N]

scripts/bench_check.sh prepares what it needs. Each check runs the fast path and the plain one in turns on
the same machine, one computing at a time, and looks at nothing but the ratio within each round: how fast the
machine is does not matter. A ratio that is too small is measured for as long again before it counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import ROOT, agree, go
from orders import Worker, spread


@dataclass(frozen=True)
class Check:
    """The fast path, the plain one, and how many times as fast the first must be."""

    name: str
    what: str
    floor: float
    """The least median of the ratios, which holds on Zen 3 and Zen 4 (docs/performance.md)."""
    fast: list[str]
    plain: list[str]
    steps: int
    """In a turn."""
    apart: float = 0.0
    """The most that probabilities may differ; 0: there are none."""


CHECKS = (
    Check(
        "predict-16",
        "predicting 16 images of 224x224 from the frozen graph, against the graph in the file",
        1.07,
        go("predict", "keras-7", 16),
        go("predict", "keras-7", 16, "float32", "-plain"),
        1,
        1e-4,
    ),
    Check(
        "predict-1",
        "predicting one image of 224x224 from the frozen graph, against the graph in the file",
        1.05,
        go("predict", "keras-7", 1),
        go("predict", "keras-7", 1, "float32", "-plain"),
        8,
        1e-4,
    ),
    Check(
        "train-16",
        "training on 16 images of 128x128 with the exporter's layers, against Keras's own",
        1.03,
        go("train", "keras-4", 16),
        go("train", "stock-4", 16),
        1,
    ),
)

ROUNDS = 12


def measure(check: Check, rounds: int, start: Callable[..., Worker] = Worker) -> list[float]:
    """The ratios of rounds: how many times as fast the fast path was."""
    env = {**os.environ, "RESIDUAL_TENSORFLOW": str(ROOT / ".venv")}
    fast = start(*check.fast, env=env)
    try:
        plain = start(*check.plain, env=env)
    except BaseException:
        fast.stop()
        raise
    try:
        if check.apart:
            agree({"the fast path": fast.check(), "the plain one": plain.check()}, check.apart)
        for worker in (fast, plain):
            worker.steps(3)  # plan the graph, fill the caches
        ratios: list[float] = []
        while len(ratios) < rounds or (len(ratios) == rounds and statistics.median(ratios) < check.floor):
            for _ in range(rounds):
                # Now one is first and now the other, so that a machine that slows down slows both.
                order = (fast, plain) if len(ratios) % 2 else (plain, fast)
                took = {worker: worker.steps(check.steps) for worker in order}
                ratios.append(took[plain] / took[fast])
                print(f"{check.name} round {len(ratios)}: {ratios[-1]:.3f}", file=sys.stderr)
    finally:
        fast.stop()
        plain.stop()
    return ratios


def judge(check: Check, ratios: Sequence[float]) -> str | None:
    """A sentence if the fast path is not as fast as it must be."""
    middle = statistics.median(ratios)
    if middle >= check.floor:
        return None
    return (
        f"{check.name} has become slower: {check.what}, is {middle:.3f} times as fast "
        f"({len(ratios)} rounds), and must be {check.floor:.2f} times"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the checks and returns the exit code: 1 if one has failed."""
    everything = {check.name: check for check in CHECKS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="append", choices=everything, metavar="NAME", help=", ".join(everything)
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"in turns, at least 2 ({ROUNDS})")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {options.rounds}")
    failures = []
    for name in options.check or everything:
        check = everything[name]
        ratios = measure(check, options.rounds)
        print(f"{name:12} {spread(ratios)} times as fast, at least {check.floor:.2f} wanted", flush=True)
        failures += filter(None, [judge(check, ratios)])
    for sentence in failures:
        print(f"bench-check: {sentence}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

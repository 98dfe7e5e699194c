"""What a worker of bench.py and bench.py say to each other: a line an order, a line an answer."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def obey(step: Callable[[], object], check: Callable[[], Sequence[Sequence[float]]] | None = None) -> None:
    """Answers a number of steps by the seconds they took, and "check" by probabilities."""

    def several(count: int) -> None:
        for _ in range(count):
            step()

    obey_all(several, check)


def obey_all(
    steps: Callable[[int], object], check: Callable[[], Sequence[Sequence[float]]] | None = None
) -> None:
    """Is obey for what takes several steps at once."""
    for line in sys.stdin:
        if line.strip() == "check":
            print(json.dumps([[float(p) for p in row] for row in check()]), flush=True)
            continue
        begun = time.perf_counter()
        steps(int(line))
        print(time.perf_counter() - begun, flush=True)


class Worker:
    """A process that computes when it is told to, and waits while others do."""

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def steps(self, count: int) -> float:
        """Seconds for one of count steps."""
        return float(self._ask(str(count))) / count

    def check(self) -> list[list[float]]:
        """The probabilities that it has for the images."""
        return json.loads(self._ask("check"))

    def _ask(self, order: str) -> str:
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(self._process.args)} ended: {self._process.wait()}")
        return answer

    def stop(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


def spread(values: Sequence[float]) -> str:
    """Median and quartiles as text."""
    low, middle, high = quartiles(values)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"

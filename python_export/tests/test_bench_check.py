"""The speed check's arithmetic, with workers that only say how long they took."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch):
    """benchmarks/check.py, which is a program beside its modules."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return importlib.import_module("check")


class Worker:
    """Takes the seconds that its command lists, again and again."""

    def __init__(self, *command: float, env: dict[str, str]) -> None:
        self._times = itertools.cycle(command)
        self.stopped = False

    def steps(self, count: int) -> float:
        return next(self._times)

    def check(self) -> list[list[float]]:
        return [[0.25, 0.75]]

    def stop(self) -> None:
        self.stopped = True


def made(check, fast: list[float], plain: list[float], floor: float):
    """A check of workers that take so long; their first turn is the warm-up."""
    return check.Check("name", "one thing, against another", floor, fast, plain, 1, 1e-4)


def test_ratios_are_taken_within_rounds(check):
    # A machine that slows down after each round: the ratio does not.
    ratios = check.measure(made(check, [9.0, 1.0, 2.0, 4.0], [9.0, 2.0, 4.0, 8.0], 1.5), 3, Worker)
    assert ratios == [2.0, 2.0, 2.0]


def test_small_ratios_are_measured_again(check):
    slow = made(check, [1.0], [1.2], 1.5)
    ratios = check.measure(slow, 4, Worker)
    assert len(ratios) == 8
    assert "name has become slower" in check.judge(slow, ratios)


def test_the_median_decides(check):
    good = made(check, [1.0], [1.0], 1.5)
    assert check.judge(good, [1.5, 9.0, 0.1]) is None
    sentence = check.judge(good, [1.0, 1.4, 9.0])
    assert re.search(r"one thing, against another, is 1\.400 times .* must be 1\.50 times", sentence)


def test_wrong_answers_end_the_check(check):
    class Wrong(Worker):
        number = 0

        def check(self) -> list[list[float]]:
            Wrong.number += 1
            return [[float(Wrong.number)]]

    with pytest.raises(SystemExit, match="do not compute the same"):
        check.measure(made(check, [1.0], [1.0], 1.0), 2, Wrong)


@pytest.mark.parametrize(("ratio", "code"), [(2.0, 0), (1.0, 1)])
def test_the_exit_code_says_whether_one_failed(check, monkeypatch, capsys, ratio, code):
    monkeypatch.setattr(check, "measure", lambda check, rounds: [ratio] * rounds)
    assert check.main(["--rounds", "3"]) == code
    out, err = capsys.readouterr()
    assert out.count("times as fast, at least") == len(check.CHECKS)
    assert err.count("bench-check: ") == (0 if code == 0 else len(check.CHECKS))


def test_every_check_wants_more_than_nothing(check):
    for one in check.CHECKS:
        assert 1.0 < one.floor < 1.5
        assert one.fast != one.plain

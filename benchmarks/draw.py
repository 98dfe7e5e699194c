"""Draws what bench.py has measured, and prints it as a table for docs/performance.md.

    build/peers/bin/python benchmarks/draw.py build/bench/times.json docs/performance.svg

A point is how many times as fast as a rival this project is, the line through it the quartiles of all rounds,
the mark what it is to reach.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl
from orders import quartiles, spread

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "residual"  # the same picture for the same figures
from matplotlib import pyplot as plt  # noqa: E402


def compare(case: dict) -> list[tuple[str, list[float], float | None]]:
    """(rival, ratios of all rounds, wanted) of a case."""
    (_, first), *others = case["seconds"].items()
    return [
        (rival, [b / a for a, b in zip(first, seconds, strict=True)], case["wanted"].get(rival))
        for rival, seconds in others
    ]


def table(result: dict) -> str:
    """Markdown."""
    rows = [
        "| | images/s | rival | images/s | times as fast (quartiles) | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in result["cases"].items():
        speeds = {
            who: statistics.median(case["batch"] / s for s in seconds)
            for who, seconds in case["seconds"].items()
        }
        ours = f"{next(iter(speeds.values())):.1f}"
        label = name
        for rival, ratios, wanted in compare(case):
            goal = f"{wanted:g}" if wanted else ""
            rows.append(f"| {label} | {ours} | {rival} | {speeds[rival]:.1f} | {spread(ratios)} | {goal} |")
            label = ours = ""
    return "\n".join(rows)


def picture(result: dict, path: Path) -> None:
    """A row for each case and rival."""
    rows = [
        (f"{name}  ·  {rival}", ratios, wanted)
        for name, case in result["cases"].items()
        for rival, ratios, wanted in compare(case)
    ]
    figure, axes = plt.subplots(figsize=(9, 0.6 + 0.27 * len(rows)), layout="constrained")
    for place, (_, ratios, wanted) in enumerate(reversed(rows)):
        low, middle, high = quartiles(ratios)
        axes.plot([low, high], [place, place], color="#1f77b4", linewidth=3, alpha=0.5, solid_capstyle="butt")
        axes.plot(middle, place, "o", color="#1f77b4")
        if wanted:
            axes.plot(wanted, place, "|", color="#d62728", markersize=12, markeredgewidth=2)
    axes.set_xscale("log")
    ticks = [0.7, 0.85, 1, 1.2, 1.5, 2, 3, 5, 10]
    largest = max(max(ratios) for _, ratios, _ in rows)
    ticks = [tick for tick in ticks if tick < largest * 1.2]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_yticks(range(len(rows)), [label for label, *_ in reversed(rows)], fontsize=8)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(
        "residual is so many times as fast as … (point: median, line: quartiles, red: wanted)", fontsize=9
    )
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[1]).read_text())
    picture(measured, Path(sys.argv[2]))
    rounds = {len(seconds) for case in measured["cases"].values() for seconds in case["seconds"].values()}
    print(f"{measured['setting']}; {min(rounds)} to {max(rounds)} rounds in turns.\n\n{table(measured)}")

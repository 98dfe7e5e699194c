"""What serve.py has measured, as figures and as a table for docs/performance.md."""

from __future__ import annotations

from orders import quartiles


def figures(turn: dict) -> dict[str, float]:
    """The numbers of a turn that are compared, by what they are."""
    alone, closed = turn["alone"], turn["closed"]
    loops = {"even": turn["even"], "Poisson": turn["open"]}
    *_, saturated = closed.values()
    found = {}
    if "offline" in turn:
        found["residual bench: images/s"] = turn["offline"]
        found["of residual bench"] = saturated["requests_per_second"] / turn["offline"]
    found["model alone, full batches: images/s"] = alone["images_per_second"]
    found |= {f"{n} at once: images/s": one["requests_per_second"] for n, one in closed.items()}
    found["of the model alone"] = saturated["requests_per_second"] / alone["images_per_second"]
    found |= {f"{n} at once: p50 ms": one["latency_ms"]["p50"] for n, one in closed.items()}
    found |= {f"{n} at once: p99 ms": one["latency_ms"]["p99"] for n, one in closed.items()}
    for name, one in turn["others"].items():
        found[f"{name}, 64 at once: images/s"] = one["requests_per_second"]
    found["open loop: requests/s"] = loops["even"]["rate"]
    for name, one in loops.items():
        found[f"open loop, {name}: p50 ms"] = one["latency_ms"]["p50"]
        found[f"open loop, {name}: p99 ms"] = one["latency_ms"]["p99"]
        found[f"open loop, {name}: p99 in full batches"] = one["latency_ms"]["p99"] / alone["batch_ms"]
    found["a full batch alone: ms"] = alone["batch_ms"]
    if "batches" in turn:
        found["a batch in the server, saturated: ms"] = turn["batches"]["ms"]
        found["a batch in the server, saturated: images"] = turn["batches"]["images"]
    found["CPU of a request, saturated: µs"] = saturated["cpu_us_per_request"]
    found["CPU of an image, model alone: µs"] = alone["cpu_us_per_image"]
    found["CPU that the server adds: µs"] = saturated["cpu_us_per_request"] - alone["cpu_us_per_image"]
    if "profile" in turn:
        found["CPU of Go by its profiler: µs"] = turn["profile"]
    found["peak memory: MB"] = turn["open"]["rss_mb"]
    found["time stolen by other machines: %"] = 100 * turn["stolen"]
    found["requests that came to nothing"] = sum(
        lost(one) for one in [*closed.values(), *turn["others"].values(), *loops.values()]
    )
    return found


def summary(turns: list[dict]) -> dict[str, tuple[float, float, float]]:
    """Lower quartile, median and upper quartile of each figure."""
    rounds = [figures(turn) for turn in turns]
    return {figure: middle_half([found[figure] for found in rounds]) for figure in rounds[0]}


def lost(found: dict) -> int:
    """Requests without a good answer."""
    return found["errors"] + found["dropped"] + found["requests"] - found["codes"].get("200", 0)


def table(result: dict) -> str:
    """Markdown: medians and quartiles of all rounds; ratios are taken within a round."""
    lines = []
    for model, work in result["works"].items():
        (first, ours), *others = ((name, list(map(figures, turns))) for name, turns in work["turns"].items())
        lines += [
            f"### {model}: {len(ours)} rounds, batches of {work['max_batch']} at most",
            "",
            f"| | {first} | " + " | ".join(f"{name} | {first} : {name}" for name, _ in others) + " |",
            "|---" * (2 + 2 * len(others)) + "|",
        ]
        for figure in ours[0]:
            cells = [figure, spread([turn[figure] for turn in ours])]
            for _, theirs in others:
                pairs = [(a[figure], b[figure]) for a, b in zip(ours, theirs, strict=True) if figure in b]
                cells.append(spread([b for _, b in pairs]))
                cells.append(spread([a / b for a, b in pairs]) if all(b for _, b in pairs) else "")
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Median and quartiles as text; nothing of nothing."""
    if not values:
        return ""
    low, middle, high = map(digits, middle_half(values))
    return f"{middle} ({low} to {high})"


def middle_half(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of one value, it."""
    return quartiles(values) if len(values) > 1 else (values[0],) * 3


def digits(value: float) -> str:
    """Three digits that count, and all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

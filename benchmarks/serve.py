"""Measures residual serve and LitServe in turns, one process computing at a time.

    .venv/bin/python benchmarks/serve.py --json build/bench/serve.json [--rounds N] [--model NAME …] [--quick]
    .venv/bin/python benchmarks/serve.py --table build/bench/serve.json

scripts/bench_serve.sh prepares what it needs. In a turn one server is asked for one image a request: by 1, 8,
64 and 256 connections that ask again when they have their answer, and then at moments that do not depend on
answers, first at equal distances and then as chance has it (a Poisson process), 90 % as often as it has just
answered the 256. The same model computes full batches without a server,
too: the server's own cost is the difference. The servers must agree on the probabilities. The program that
asks, benchmarks/load, has the same cores.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench import ROOT, cpu, cpu_flags
from serve_table import middle_half, summary, table
from servers import (
    CLASSES,
    CONTESTANTS,
    ENVIRONMENT,
    RESIDUAL,
    Alone,
    Contestant,
    Question,
    Server,
    Work,
    alone,
    running,
)

LOAD = str(ROOT / "build" / "bench-load")

WORKS = (
    Work("keras-7", max_batch=16, onednn=True, seconds=20, settle=0.1, steps=8, profiled=False),
    Work("keras-1", max_batch=64, onednn=False, seconds=10, settle=0.01, steps=100, profiled=True),
)

CONNECTIONS = (1, 8, 64, 256)
"""Of the closed loops, and the last of the open one: as many as residual serve lets wait."""
BUSY = 0.9
"""The open loop's rate, of what the last closed one has just reached."""
SETTLING_BATCHES = 4
"""The time of so many batches, and the open loop has found its pace."""
OFFLINE_BATCH = 64
"""Of residual bench."""
APART = 1e-4
"""The most that probabilities may differ."""


def load(
    server: Server, question: Question, connections: int, seconds: float, settle: float, *open_loop: str
) -> dict:
    """What benchmarks/load finds, in a closed loop unless there are options of an open one."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(question.body)
        body.flush()
        command = [
            *(LOAD, "-url", server.url + question.path, "-body", body.name, "-pid", str(server.pid)),
            *(f"-header={name}: {value}" for name, value in question.headers.items()),
            *(f"-connections={connections}", f"-duration={seconds}s", f"-warmup={settle}s", *open_loop),
        ]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(contestant: Contestant, work: Work) -> tuple[dict, list[float]]:
    """One turn: what was measured, and the probabilities for one image."""
    question = contestant.question()
    begun = processor()
    turn: dict = {"closed": {}, "others": {}}

    def closed(question: Question, connections: int) -> dict:
        return load(server, question, connections, work.seconds, 1 + connections * work.settle)

    with running(contestant, work) as server:
        probabilities = struct.unpack(f"<{CLASSES}f", server.ask(question)[-4 * CLASSES :])
        for name, other in contestant.others.items():
            turn["others"][name] = closed(other(), 64)
        for connections in CONNECTIONS:
            if contestant.own and connections == CONNECTIONS[-1]:
                turn["offline"] = offline(work)  # the server rests, and is asked right after
            before = server.metrics() if contestant.own else {}
            turn["closed"][str(connections)] = closed(question, connections)
            if contestant.own:
                turn["batches"] = batches(before, server.metrics())  # of the last, which are full
        most = CONNECTIONS[-1]
        rate = BUSY * turn["closed"][str(most)]["requests_per_second"]
        for kind, options in (("even", ["-even"]), ("open", [])):
            wait = 1 + SETTLING_BATCHES * work.max_batch / rate
            turn[kind] = load(server, question, most, 3 * work.seconds, wait, f"-rate={rate}", *options)
    turn["alone"] = alone(contestant, work)
    if contestant.own and work.profiled:
        turn["profile"] = profile(contestant, work)
    spent = [after - before for before, after in zip(begun, processor(), strict=True)]
    turn["stolen"] = spent[7] / sum(spent)
    return turn, list(probabilities)


def processor() -> list[int]:
    """Ticks of all cores by what they were spent on; the eighth is what other machines had, see proc(5)."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def batches(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What residual serve counted between: images of a batch, and milliseconds."""
    count, images, seconds = (
        after[name] - before[name]
        for name in ("residual_batch_images_count", "residual_batch_images_sum", "residual_batch_seconds_sum")
    )
    return {"images": images / count, "ms": seconds / count * 1e3}


def profile(contestant: Contestant, work: Work) -> float:
    """CPU microseconds a request that Go's profiler finds in all but TensorFlow's threads.

    Requests are logged meanwhile, as they are not otherwise.
    """
    settle = 1 + CONNECTIONS[-1] * work.settle
    with running(contestant, work, "--debug") as server, ThreadPoolExecutor() as pool:
        asking = pool.submit(load, server, contestant.question(), CONNECTIONS[-1], work.seconds, settle)
        time.sleep(settle)
        found = server.get(f"/debug/pprof/profile?seconds={math.ceil(work.seconds)}")
        requests = asking.result()["requests_per_second"] * math.ceil(work.seconds)
    with tempfile.NamedTemporaryFile() as file:
        file.write(found)
        file.flush()
        command = ["go", "tool", "pprof", "-raw", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    nanoseconds = sum(int(sample) for sample in re.findall(r"^ *\d+ +(\d+): ", text, re.MULTILINE))
    return nanoseconds / 1e3 / requests


def offline(work: Work) -> float:
    """Images a second that residual bench finds."""
    command = [RESIDUAL, "bench", "--model", work.folder, "--predict", "--json", "--quiet"]
    command += ["--batch-size", str(OFFLINE_BATCH), "--steps", str(work.steps)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT).stdout
    return json.loads(found)["predict"]["images_per_second"]


def saturated(work: Work, turns: int) -> None:
    """Prints what the server, kept busy by 64 connections, has of the model's speed alone, in short turns.

    A machine whose speed changes from minute to minute changes both.
    """
    contestant, seconds, settle = CONTESTANTS[0], 12.0, 4.0
    served: list[float] = []
    with running(contestant, work) as server:
        worker = Alone(*contestant.alone(work, work.max_batch), env=contestant.environment(work))
        try:
            worker.steps(3)
            steps = max(1, round(seconds / worker.steps(3)))
            alone = [work.max_batch / worker.steps(steps)]
            for _ in range(turns):
                found = load(server, contestant.question(), 64, seconds, settle)
                served.append(found["requests_per_second"])
                alone.append(work.max_batch / worker.steps(steps))
                print(f"{served[-1]:.2f} : {alone[-1]:.2f}", file=sys.stderr, flush=True)
        finally:
            worker.stop()
    # The model was measured before and after each time.
    ratios = [2 * each / (a + b) for each, a, b in zip(served, alone, alone[1:], strict=False)]
    low, middle, high = middle_half(ratios)
    print(f"{work.model}, {turns} turns: {middle:.3f} ({low:.3f} to {high:.3f}) of the model alone")


def agree(answers: dict[str, list[float]]) -> None:
    """Ends the program if two servers have other probabilities for the same image."""
    (first, ours), *others = answers.items()
    for name, theirs in others:
        apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        print(f"{first} and {name}: probabilities {apart:.1e} apart", file=sys.stderr)
        if not apart <= APART:
            raise SystemExit(f"{first} and {name} do not compute the same: {apart} apart")


def setting() -> str:
    """The machine and the versions."""
    name = cpu().get("model name", "CPU")
    newest = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in cpu_flags()][-1:]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    peers = (ROOT / "benchmarks" / "requirements-serve.txt").read_text().splitlines()[1:]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{os.cpu_count()} cores, {' with '.join([name, *newest])}, {memory:.0f} GiB; "
        f"residual {commit.strip()}, TensorFlow {importlib.metadata.version('tensorflow_cpu')}, "
        f"{', '.join(peers).replace('==', ' ')}, Python {python}"
    )


def run(works: list[Work], rounds: int, path: Path | None) -> dict:
    """Measures all, and writes what there is after each round."""
    result = {"setting": setting(), "works": {}}
    for work in works:
        turns: dict[str, list[dict]] = {contestant.name: [] for contestant in CONTESTANTS}
        found = {"max_batch": work.max_batch, "seconds": work.seconds, "turns": turns}
        result["works"][work.model] = found
        for number in range(rounds):
            answers = {}
            # Now one is first and now the other, so that a machine that slows down slows both.
            for contestant in CONTESTANTS if number % 2 == 0 else CONTESTANTS[::-1]:
                print(f"{work.model} {number + 1}/{rounds}: {contestant.name}", file=sys.stderr, flush=True)
                turn, answers[contestant.name] = measure(contestant, work)
                turns[contestant.name].append(turn)
            agree(answers)
            found["quartiles"] = {name: summary(several) for name, several in turns.items()}
            if path:
                path.write_text(json.dumps(result, indent=1))
    return result


def main() -> None:
    """Measures, or prints a table."""
    names = [work.model for work in WORKS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="in turns (5, or 1 with --quick)")
    parser.add_argument("--model", action="append", choices=names)
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument(
        "--quick", action="store_true", help="show that it works: measure a fifth of the time"
    )
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="measure nothing; print this file as a table"
    )
    parser.add_argument("--saturated", type=int, metavar="TURNS", help="only full load, in short turns")
    options = parser.parse_args()
    if options.table:
        result = json.loads(options.table.read_text())
        print(f"{result['setting']}.\n\n{table(result)}", end="")
        return
    works = [work for work in WORKS if work.model in (options.model or names)]
    if options.saturated:
        for work in works:
            saturated(work, options.saturated)
        return
    if options.quick:
        works = [replace(w, seconds=w.seconds / 5, settle=w.settle / 20, steps=1) for w in works]
    run(works, options.rounds or (1 if options.quick else 5), options.json)


if __name__ == "__main__":
    main()

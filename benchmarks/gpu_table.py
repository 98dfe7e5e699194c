"""Writes what scripts/bench_gpu.sh has measured as a table: gpu_table.py RESULTS DOCTOR."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Prints Markdown."""
    results, doctor = map(Path, sys.argv[1:])
    for finding in json.loads(doctor.read_text().splitlines()[-1])["findings"]:
        if finding["name"] in ("C library", "driver", "CPU") or finding["name"].startswith("GPU"):
            print(f"{finding['name']}: {finding.get('value') or finding.get('problem')}.")
    print("\n| | batch | train, images/s | predict, images/s | one image, ms | share of peak | memory, MB |")
    print("|---" * 7 + "|")
    for line in results.read_text().splitlines():
        one = json.loads(line)
        result = one["result"]
        train, predict = result["train"], result["predict"]
        share = train.get("share_of_peak")
        cells = [
            one["name"] + (", XLA" if one["xla"] else ""),
            str(result["batch_size"]),
            *(
                f"{each['images_per_second']:.1f} ({each['quartiles'][0]:.1f} to {each['quartiles'][1]:.1f})"
                for each in (train, predict)
            ),
            f"{predict['latency_ms']['p50']:.2f}",
            "" if share is None else f"{share:.2f}",
            f"{train['peak_memory_mb'] or 0:.0f}",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

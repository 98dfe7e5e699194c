"""Trains in a process of its own, which therefore has one thread: `replay.py MODEL IMAGES.npz OUT`.

The first session of a process decides its threads, and other tests have sessions too. Writes the trained
variables to OUT/variables/variables and the steps to OUT/steps.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from .helpers import Driver


def main(model: Path, file: Path, out: Path) -> None:
    """A step for each row of images uint8 [steps,N,H,W,C] and labels int64 [steps,N] at rate 0.01."""
    data = np.load(file)
    with Driver(model, threads=1) as session:
        steps = [
            session.call("train", images=images, labels=labels, learning_rate=0.01)
            for images, labels in zip(data["images"], data["labels"], strict=True)
        ]
        (out / "variables").mkdir(parents=True)
        session.save(out / "variables" / "variables")
    np.savez(out / "steps.npz", **{name: [step[name] for step in steps] for name in ("loss", "correct")})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""Writes what the contestants of bench.py load: models with the same weights, and images.

    .venv/bin/python benchmarks/prepare.py build/bench

Keras models are exported with upsampling 7 and 1, and stand there as stock .keras files; the PyTorch recipe's
weights are a state dict besides, and its images are resized and normalized.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from inputs import IMAGES, images, weight

from python_export import recipes, state_dict
from python_export.exporter import export
from python_export.names import named_weights
from python_export.weights import as_state_dict


def main(out: Path) -> None:
    """Writes everything; what is there is left."""
    out.mkdir(parents=True, exist_ok=True)
    pixels = images(IMAGES)
    (out / "images.u8").write_bytes(pixels.tobytes())
    for name, recipe, upsample in (
        ("keras-7", "keras", 7),
        ("keras-1", "keras", 1),
        ("torch-7", "pytorch", 7),
    ):
        if (out / name).exists():
            continue
        print(f"preparing {name}", file=sys.stderr)
        keras.backend.clear_session()
        system = recipes.RECIPES[recipe](10, 32, upsample, logits=False)
        for path, variable in named_weights(system.model).items():
            variable.assign(weight(path, variable.shape))
        if recipe == "pytorch":
            state_dict.write(out / "torch.safetensors", as_state_dict(system.model, 0))
            np.save(out / "images-224.npy", np.asarray(system.preprocess(pixels)).transpose(0, 3, 1, 2))
        else:
            system.model.save(out / f"{name}.keras")
        export(
            system.model,
            out / name,
            classes=recipes.CIFAR10,
            preprocess=system.preprocess,
            loss=system.loss,
            image=(32, 32, 3),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

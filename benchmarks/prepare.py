"""Writes what the contestants of bench.py load: models with the same weights, and images.

    .venv/bin/python benchmarks/prepare.py build/bench [MODEL …]

Keras models are exported with upsampling 7 and 1, and stand there as stock .keras files; the PyTorch recipe's
weights are a state dict besides, and its images are resized and normalized. Models whose name begins with
"stock" keep Keras's own BatchNorm.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from inputs import IMAGES, images, weight

DEFAULT = ("keras-7", "keras-1", "torch-7")
"""What bench.py measures. A name says the recipe and the upsampling."""

RECIPES = {"keras": "keras", "stock": "keras", "torch": "pytorch"}


def main(out: Path, names: Sequence[str]) -> None:
    """Writes the models; what is there is left."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "images.u8").write_bytes(images(IMAGES).tobytes())
    for name in names:
        if not (out / name).exists():
            print(f"preparing {name}", file=sys.stderr)
            prepare(out, name)


def prepare(out: Path, name: str) -> None:
    """Writes one model, and what others load in its place."""
    import keras
    import numpy as np

    from python_export import recipes, state_dict
    from python_export.exporter import export
    from python_export.names import named_weights
    from python_export.weights import as_state_dict

    kind, upsample = name.split("-")
    keras.backend.clear_session()
    system = recipes.RECIPES[RECIPES[kind]](10, 32, int(upsample), logits=False)
    for path, variable in named_weights(system.model).items():
        variable.assign(weight(path, variable.shape))
    if kind == "torch":
        state_dict.write(out / "torch.safetensors", as_state_dict(system.model, 0))
        np.save(out / "images-224.npy", np.asarray(system.preprocess(images(IMAGES))).transpose(0, 3, 1, 2))
    elif name in DEFAULT:
        system.model.save(out / f"{name}.keras")
    export(
        system.model,
        out / name,
        classes=recipes.CIFAR10,
        preprocess=system.preprocess,
        loss=system.loss,
        image=(32, 32, 3),
        batch_norm="keras" if kind == "stock" else "fused",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or DEFAULT)

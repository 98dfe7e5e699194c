"""Exports Keras image classifiers as SavedModels that carry their own training step.

    from python_export import Preprocess, export
    export(model, "models/mine", classes=["cat", "dog"], preprocess=Preprocess(divide=127.5, mean=[1.0]))

The signatures are listed in contract.json, what stands beside them in metadata.py.

TensorFlow is imported at the first use of `export`, so that `--help` and refusals answer at once.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # Keras reads it once, at import

from .errors import ExportError
from .preprocess import Preprocess

__all__ = ["ExportError", "Preprocess", "export"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "export":
        from .exporter import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

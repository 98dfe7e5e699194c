"""The table of signatures that Python writes and Go reads: names, dtypes and shapes, from contract.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from .errors import ExportError

SIGNATURES: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(
    Path(__file__).with_name("contract.json").read_text(encoding="utf-8")
)["signatures"]

Sizes = Mapping[str, int | None]
"""What the words in the table stand for: N (None: any batch), H, W, C, classes and features."""


def input_specs(
    signature: str, sizes: Sizes, *, optional: frozenset[str] = frozenset()
) -> list[tf.TensorSpec]:
    """TensorSpecs of a signature's inputs in the table's order: the required ones and those in `optional`."""
    return [
        tf.TensorSpec(_shape(entry, sizes), entry["dtype"], name=entry["name"])
        for entry in SIGNATURES[signature]["inputs"]
        if entry["required"] or entry["name"] in optional
    ]


def check_outputs(signature: str, outputs: Mapping[str, tf.Tensor], sizes: Sizes) -> None:
    """Raises ExportError unless a traced function's outputs are exactly the table's."""
    table = {entry["name"]: entry for entry in SIGNATURES[signature]["outputs"]}
    if set(outputs) != set(table):
        raise ExportError(f"signature {signature} returns {sorted(outputs)}, expected {sorted(table)}")
    for name, entry in table.items():
        found, shape = outputs[name], _shape(entry, sizes)
        if found.dtype.name != entry["dtype"] or not found.shape.is_compatible_with(shape):
            raise ExportError(
                f"signature {signature} returns {name} as {found.dtype.name} {found.shape}, "
                f"expected {entry['dtype']} {tf.TensorShape(shape)}"
            )


def _shape(entry: dict[str, Any], sizes: Sizes) -> list[int | None]:
    return [sizes[size] if isinstance(size, str) else size for size in entry["shape"]]

"""Readable names of a model's weights: `resnet50/conv1_conv/kernel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from .errors import ExportError


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """All weights of a model by path: the names of nested models and layers, then the weight's own.

    Keras's own `Variable.path` leaves out the models in which a layer is nested.
    """
    named: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for path, weight in [*_walk(model, ""), *((weight.path, weight) for weight in model.weights)]:
        if id(weight) not in seen:
            seen.add(id(weight))
            named[_unused(path, named)] = weight
    return named


def named_state(optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """An optimizer's variables: iteration, learning_rate and slots such as conv1_conv_kernel_momentum."""
    named: dict[str, keras.Variable] = {}
    for variable in optimizer.variables:
        named[_unused(variable.path.removeprefix(f"{optimizer.name}/"), named)] = variable
    return named


def tree(named: Mapping[str, Any]) -> dict[str, Any]:
    """Turns {"a/b": x} into {"a": {"b": x}}, which TensorFlow saves under the checkpoint key a/b."""
    root: dict[str, Any] = {}
    for path, value in named.items():
        *groups, name = path.split("/")
        node = root
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise ExportError(f'weight "{path}" lies inside another weight: rename one of the two layers')
        if name in node:
            raise ExportError(
                f'weight "{path}" has the name of a group of weights: rename one of the two layers'
            )
        node[name] = value
    return root


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, keras.Variable]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/")
            continue
        for weight in layer.weights:
            inside = weight.path.partition(f"{layer.name}/")[2] or weight.name
            yield f"{prefix}{layer.name}/{inside}", weight


def _unused(path: str, taken: Mapping[str, object]) -> str:
    candidate, number = path, 0
    while candidate in taken:
        number += 1
        candidate = f"{path}_{number}"
    return candidate

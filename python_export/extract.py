"""The way back: weights that were trained by Go, as a stock Keras model or a torch state dict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import disk, metadata, recipes, state_dict, weights
from .errors import ExportError
from .names import named_weights


def extract(model: Path, out: Path, stock: Path | None = None) -> keras.Model:
    """Writes the weights of a SavedModel that `export` made, trained or not, to `out`, which must not exist.

    out      .keras: the stock Keras model; .safetensors: the article's module, for the PyTorch recipe
    stock    a .keras file of the model that was exported, needed where it was none of the recipes

    Returns the stock model with the weights. Raises ExportError or OSError.
    """
    disk.check_free(out)
    description = _description(model)
    filled = _rebuild(description) if stock is None else _load(stock)
    if out.suffix == ".safetensors" and not weights.is_torch(filled):
        raise ExportError(
            f'"{model}" is not of the PyTorch recipe: only that has a state dict, write a .keras file'
        )
    variables = _variables(model)
    _fill(filled, variables, model)
    with disk.whole(out) as (path,):
        if out.suffix == ".keras":
            filled.save(path)
        else:
            batches = int(variables.get("optimizer/iteration", 0))
            state_dict.write(path, weights.as_state_dict(filled, batches))
    return filled


def _description(model: Path) -> dict[str, Any]:
    try:
        return json.loads((model / metadata.PLACE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(
            f'"{model}" is no model that python_export made, such as RUN/model/1: its {metadata.PLACE} '
            f"cannot be read ({error})"
        ) from error


def _rebuild(description: dict[str, Any]) -> keras.Model:
    """The stock model of a recipe."""
    try:
        build = recipes.RECIPES[description["recipe"]]
    except KeyError:
        raise ExportError(
            "the model is of no recipe, so that its layers are not known: give the .keras file that it was "
            "exported from as --keras FILE"
        ) from None
    try:
        image = description["image"]["height"]
        logits = description["from_logits"]
        return build(len(description["classes"]), image, description["upsample"], logits=logits).model
    except (LookupError, TypeError, ValueError) as error:
        raise ExportError(
            f"the model's {metadata.PLACE} does not describe a model of its recipe "
            f"({type(error).__name__}: {error})"
        ) from error


def _load(stock: Path) -> keras.Model:
    try:
        return keras.models.load_model(stock, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise ExportError(f'"{stock}" cannot be read as a .keras file: {error}'.splitlines()[0]) from error


def _variables(model: Path) -> dict[str, np.ndarray]:
    """The variables by checkpoint key, in which TensorFlow doubles the dots of names."""
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    try:
        reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
        return {
            key.removesuffix(suffix).replace("..", "."): reader.get_tensor(key)
            for key in reader.get_variable_to_shape_map()
            if key.endswith(suffix)
        }
    except (ValueError, IndexError, tf.errors.OpError) as error:
        raise ExportError(f'the variables of "{model}" cannot be read: {error}'.splitlines()[0]) from error


def _fill(filled: keras.Model, variables: dict[str, np.ndarray], model: Path) -> None:
    for name, weight in named_weights(filled).items():
        found = variables.get(f"weights/{name}")
        if found is None or found.shape != tuple(weight.shape):
            shape = "nothing" if found is None else f"shape {found.shape}"
            raise ExportError(
                f'"{model}" has {shape} for {name}, expected {tuple(weight.shape)}: it is another model'
            )
        weight.assign(found)

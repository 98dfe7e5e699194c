"""residual.json: what an exported model says of itself that no signature can.

It lies in the SavedModel's assets.extra/ and is written once, at export. Keys, in the file's order:

    format          1; counted up when a reader of the old format would misread the new one
    recipe          name of the recipe, null for a model of the user's own
    name            the Keras model's name
    classes         names in label order
    image           {height, width, channels} of the images that the signatures take
    upsample        factor by which the recipe enlarges images in the graph, null without a recipe
    precision       what layers compute in: "float32", "bfloat16" or "float16" (with a scaled loss)
    batch_norm      "fused" or "keras": how BatchNorms are computed in the graph
    preprocess      {divide, mean, std, channels, size}: the graph's own scaling, (x / divide - mean) / std,
                    after resizing to size [height, width] if that is not null
    from_logits     whether the last layer gives logits (serving_default always gives probabilities)
    softmax_twice   whether the loss takes the model's probabilities for logits (signatures.LOSSES)
    resize          {rule, interpolation}: how a picture of another size becomes an image
    loss            Keras's name of the loss
    optimizer       {name, config}: Keras's class name, and its get_config() less the object's own name
    random_layers   names of the layers that draw from the `seed` input
    defaults        {epochs, batch_size, learning_rate, shuffle} for training
    parameters      {total, trainable, non_trainable} of the stock Keras model
    head            names of the layers that the train_head signature trains, null where there is none
    layers          [{name, class, output_shape, parameters}]: model.summary() of the stock Keras model, top
                    level; null stands for a free dimension, output_shape is null where Keras knows none
    weights         where they came from: "random", "imagenet" or a file's name, null for the user's own model
    seed            what random weights follow from, null for a model of the user's own
    versions        {residual, tensorflow, keras, python} of the exporter
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import __version__
from .clone import Clone
from .preprocess import Preprocess

FORMAT = 1
PLACE = Path("assets.extra", "residual.json")
RESIZE = {"rule": "shorter-side-centre-crop", "interpolation": "linear"}
LOSS = "sparse_categorical_crossentropy"
DEFAULTS = {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, "shuffle": True}


@dataclass(frozen=True)
class Origin:
    """Where a model came from; all None for a model of the user's own."""

    recipe: str | None = None
    upsample: int | None = None
    weights: str | None = None
    seed: int | None = None


def describe(
    model: keras.Model,
    clone: Clone,
    *,
    image: tuple[int, int, int],
    classes: Sequence[str],
    preprocess: Preprocess,
    loss: str,
    optimizer: keras.optimizers.Optimizer,
    precision: str,
    head: Sequence[str] | None,
    defaults: Mapping[str, Any],
    origin: Origin,
) -> dict[str, Any]:
    """The content of residual.json for a stock model and the clone of it that is exported."""
    learning_rate = _short(optimizer.learning_rate)
    config = {**optimizer.get_config(), "learning_rate": learning_rate}
    config.pop("name", None)
    return {
        "format": FORMAT,
        "recipe": origin.recipe,
        "name": model.name,
        "classes": list(classes),
        "image": dict(zip(("height", "width", "channels"), image, strict=True)),
        "upsample": origin.upsample,
        "precision": precision,
        "batch_norm": clone.batch_norm,
        "preprocess": preprocess.as_json(),
        "from_logits": loss == "logits",
        "softmax_twice": loss == "softmax-twice",
        "resize": RESIZE,
        "loss": LOSS,
        "optimizer": {"name": type(optimizer).__name__, "config": config},
        "random_layers": clone.seed.layers,
        "defaults": {**DEFAULTS, "learning_rate": learning_rate, **defaults},
        "parameters": _count(model),
        "head": None if head is None else list(head),
        "layers": [_row(layer) for layer in model.layers],
        "weights": origin.weights,
        "seed": origin.seed,
        "versions": {
            "residual": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }


def write(folder: Path, description: Mapping[str, Any]) -> None:
    """Writes residual.json into a SavedModel's folder."""
    path = folder / PLACE
    path.parent.mkdir()
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    path.write_text(_flat_lists(text), encoding="utf-8")


def _flat_lists(text: str) -> str:
    """Puts each list of plain values in indented JSON on one line. Strings hold no line breaks there."""
    return re.sub(
        r"\[\n *([^\[\]{}]*?)\n *\]", lambda found: "[" + re.sub(r"\n *", " ", found[1]) + "]", text
    )


def _count(model: keras.Model) -> dict[str, int]:
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    total = model.count_params()
    return {"total": total, "trainable": trainable, "non_trainable": total - trainable}


def _row(layer: keras.layers.Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "class": type(layer).__name__,
        "output_shape": _output_shape(layer),
        "parameters": layer.count_params(),
    }


def _output_shape(layer: keras.layers.Layer) -> list[int | None] | None:
    """The shape of a layer's one output; None where there are several, or none is known."""
    try:
        return list(layer.output.shape)
    except (AttributeError, ValueError):  # called never or more than once; a list of outputs
        return None


def _short(number: keras.Variable) -> float:
    """A float32 as the shortest decimal that means it: 0.01, not 0.009999999776482582."""
    return float(str(np.float32(number.numpy())))

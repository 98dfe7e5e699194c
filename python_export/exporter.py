"""Exports a Keras classifier as a SavedModel with a training step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import disk, metadata
from .clone import PRECISIONS, Clone, clone, precision_of
from .errors import ExportError
from .metadata import Origin
from .names import named_state, named_weights, tree
from .preprocess import Preprocess
from .signatures import LOSSES, Program
from .upsample import own_factor


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    path: Path
    description: dict[str, Any]
    """The content of residual.json."""
    signatures: tuple[str, ...]
    notes: tuple[str, ...]
    """Sentences for the user, such as what could not be made fast."""
    seconds: float


def export(
    model: keras.Model,
    out: str | Path,
    *,
    classes: Sequence[str],
    preprocess: Preprocess = Preprocess(),  # noqa: B008  (frozen)
    loss: str = "probabilities",
    optimizer: keras.optimizers.Optimizer | None = None,
    batch_norm: str = "fused",
    precision: str = "float32",
    image: tuple[int, int, int] | None = None,
    defaults: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
    save_keras: str | Path | None = None,
) -> Exported:
    """Writes a classifier as the SavedModel `out`, which must not exist, whole or not at all.

    model        takes one image batch float32 [N,H,W,C], gives one float32 [N,classes]; it is left as it was
    classes      names in label order
    preprocess   resizing and scaling from uint8 to what the model takes, done in the graph
    loss         what the cross-entropy is computed from, one of signatures.LOSSES: "probabilities",
                 "logits" if the model gives logits, or "softmax-twice"
    optimizer    any Keras optimizer with a plain learning rate, its state is not used; default SGD(0.01)
    batch_norm   "fused" swaps BatchNorms and small convolutions for faster layers where the model allows it,
                 "keras" keeps Keras's own
    precision    what layers compute in, one of clone.PRECISIONS; of float32, a model's own layers' policies
                 are left as they are. If any layer computes in float16 the loss is scaled
                 (keras.optimizers.LossScaleOptimizer)
    image        (H, W, C) of what is fed, needed where the model's own input shape leaves it open and where
                 preprocess has a size
    defaults     what metadata.DEFAULTS is overridden by
    origin       recorded in residual.json
    save_keras   also writes the stock Keras model to this .keras file

    Raises ExportError, whose text is one sentence, or OSError. Keras must run on TensorFlow.
    """
    started = time.monotonic()
    out = Path(out)
    targets = [out] if save_keras is None else [out, Path(save_keras)]
    disk.check_free(*targets)
    image = image or _image_shape(model, preprocess)
    _check(model, image, classes, preprocess, loss, batch_norm, precision, defaults or {})
    optimizer = _fresh(optimizer or keras.optimizers.SGD(0.01))
    copy = clone(model, batch_norm, precision)
    precision, stepper = precision_of(copy.model), optimizer
    if precision == "float16" and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        stepper = keras.optimizers.LossScaleOptimizer(optimizer, name="optimizer")
    program = Program(copy, stepper, preprocess, loss, own_factor(copy, preprocess, image))
    signatures = program.trace(dict(zip("NHWC", (None, *image), strict=True)) | {"classes": len(classes)})
    _check_probabilities(signatures["serving_default"], image)
    description = metadata.describe(
        model,
        copy,
        image=image,
        classes=classes,
        preprocess=preprocess,
        loss=loss,
        optimizer=optimizer,
        precision=precision,
        head=program.parts and program.parts.layers,
        defaults=defaults or {},
        origin=origin or Origin(),
    )
    with disk.whole(*targets) as paths:
        try:
            tf.saved_model.save(_tracked(copy, stepper), str(paths[0]), signatures=signatures)
        except tf.errors.OpError as error:
            raise ExportError(f'cannot write "{out}": {error.message.splitlines()[0]}') from error
        metadata.write(paths[0], description)
        if save_keras is not None:
            model.save(paths[1])
    return Exported(out, description, tuple(signatures), copy.notes, time.monotonic() - started)


def _tracked(copy: Clone, optimizer: keras.optimizers.Optimizer) -> tf.Module:
    """A module that holds every variable under a readable checkpoint key, and nothing of Keras.

    It holds the tf.Variables inside Keras's variables: of those, SavedModel would save copies that no
    signature uses.
    """
    module = tf.Module()
    module.weights = tree({path: weight.value for path, weight in named_weights(copy.model).items()})
    module.optimizer = tree({path: variable.value for path, variable in named_state(optimizer).items()})
    return module


def _fresh(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """An optimizer of the same settings without state; refused if its learning rate is a schedule."""
    fresh = type(optimizer).from_config({**optimizer.get_config(), "name": "optimizer"})
    if not isinstance(fresh.learning_rate, keras.Variable):
        raise ExportError(
            f"optimizer {type(optimizer).__name__} has a learning rate schedule, expected a number: "
            "the learning rate is an input of the train signature"
        )
    return fresh


def _image_shape(model: keras.Model, preprocess: Preprocess) -> tuple[int, int, int]:
    if preprocess.size is not None:
        raise ExportError(
            "preprocess has a size, so the size of the images that are fed is not the model's: "
            "give image=(height, width, channels)"
        )
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise ExportError(
            f'model "{model.name}" has input shape {shape}, expected one batch of images of a fixed '
            "size, (None, height, width, channels): give image=(height, width, channels)"
        )
    return shape[1:]


def _check(
    model: keras.Model,
    image: tuple[int, int, int],
    classes: Sequence[str],
    preprocess: Preprocess,
    loss: str,
    batch_norm: str,
    precision: str,
    defaults: Mapping[str, Any],
) -> None:
    if keras.backend.backend() != "tensorflow":
        raise ExportError(f'Keras runs on "{keras.backend.backend()}", expected KERAS_BACKEND=tensorflow')
    if batch_norm not in ("fused", "keras"):
        raise ExportError(f'batch_norm is "{batch_norm}", expected "fused" or "keras"')
    if precision not in PRECISIONS:
        raise ExportError(f'precision is "{precision}", expected one of: {", ".join(PRECISIONS)}')
    if loss not in LOSSES:
        raise ExportError(f'loss is "{loss}", expected one of: {", ".join(LOSSES)}')
    if isinstance(classes, str) or len(classes) < 2 or len(set(classes)) != len(classes) or not all(classes):
        raise ExportError(f"classes is {classes!r}, expected at least two names, none empty, none twice")
    if image[2] != 3:
        raise ExportError(f"the model's images have {image[2]} channels, expected 3 (red, green, blue)")
    for name, value in defaults.items():
        if name not in metadata.DEFAULTS or type(value) is not type(metadata.DEFAULTS[name]):
            raise ExportError(
                f"defaults has {name!r}: {value!r}, expected some of {metadata.DEFAULTS}, "
                "with values of the same types"
            )
    try:
        preprocess.check_channels(image[2])
    except ValueError as error:
        raise ExportError(str(error)) from error
    if not model.built:
        model(np.zeros((1, *preprocess.shape(image)), np.float32))
    if not model.trainable_variables:
        raise ExportError(f'model "{model.name}" has no trainable weights, so there is nothing to train')
    output = model.compute_output_spec(keras.KerasTensor((None, *preprocess.shape(image))))
    shape = getattr(output, "shape", output)
    if shape != (None, len(classes)):
        raise ExportError(
            f'model "{model.name}" gives {shape}, expected (None, {len(classes)}) for {len(classes)} classes'
        )


def _check_probabilities(serve: Any, image: tuple[int, int, int]) -> None:
    """Runs serving_default once, on a black image: it must give probabilities."""
    probabilities = serve(tf.zeros((1, *image), tf.uint8))["probabilities"].numpy()
    if not (
        np.isfinite(probabilities).all() and abs(probabilities.sum() - 1) < 1e-3 and probabilities.min() >= 0
    ):
        raise ExportError(
            f"the model gives {probabilities[0][:3]}… for a black image, expected probabilities that sum "
            'to 1: give loss="logits" if its last layer has no softmax'
        )

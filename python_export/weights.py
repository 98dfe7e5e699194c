"""Brings weights into a model: from Keras's ImageNet download or from a .keras, .h5 or .npz file."""

from __future__ import annotations

import contextlib
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import keras
import numpy as np

from .errors import ExportError
from .names import named_weights


def load(model: keras.Model, source: str) -> None:
    """Sets a model's weights: all of them, or from a backbone's file only those of the one nested model.

    source is "random" (nothing is changed), "imagenet" (Keras's download, backbone) or a file:

    .keras   a model saved by Keras, whole or backbone
    .h5      Keras's weights (.weights.h5), whole or backbone, or, in the older format, a whole saved model or
             weights, such as resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5
    .npz     arrays by path, such as resnet50/conv1_conv/kernel; a backbone's may leave out the first name

    Raises ExportError; the model's weights are then undefined.
    """
    if source == "random":
        return
    if source == "imagenet":
        _download(model)
        return
    path = Path(source)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                _assign(model, dict(arrays), path)
        elif path.suffix == ".h5" and not _holds_model(path):
            _load_h5_weights(model, path)
        else:
            _assign(model, _arrays(keras.models.load_model(path, compile=False)), path)
    except ExportError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ExportError(
            f'--weights "{path}" cannot be read as {path.suffix} weights: {_line(error)}'
        ) from error
    if not all(np.isfinite(array).all() for array in model.get_weights()):
        raise ExportError(f'--weights "{path}" holds numbers that are not finite')


def backbone(model: keras.Model) -> keras.Model:
    """The one model nested in a model. Raises ExportError if there is none, or more."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(nested) != 1:
        raise ExportError(f'model "{model.name}" holds {len(nested)} nested models, expected one backbone')
    return nested[0]


def _download(model: keras.Model) -> None:
    """ImageNet weights into a ResNet50 backbone by keras.applications, which caches them."""
    target = backbone(model)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints a progress bar
            donor = keras.applications.ResNet50(
                include_top=False, weights="imagenet", input_shape=target.input_shape[1:]
            )
    except Exception as error:  # Keras raises a bare Exception
        cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
        raise ExportError(
            f"--weights imagenet cannot be downloaded ({_line(error)}): use --weights random or a .keras, "
            f".h5 or .npz file, or put Keras's file into its cache, {cache}"
        ) from error
    target.set_weights(donor.get_weights())


def _holds_model(path: Path) -> bool:
    """Whether a .h5 file holds a whole model in Keras's older format, not weights only."""
    with h5py.File(path, "r") as file:
        return "model_config" in file.attrs


def _load_h5_weights(model: keras.Model, path: Path) -> None:
    """Weights by Keras's own readers, into the whole model, else into its backbone.

    Those readers may skip what they do not find, with no more than a warning: what is still not a number
    afterwards was skipped.
    """
    failures = []
    for target in (model, backbone(model)):
        before = target.get_weights()
        target.set_weights([np.full_like(array, np.nan) for array in before])
        try:
            target.load_weights(path)
        except ValueError as error:
            failures.append(_line(error))
        else:
            skipped = {name for name, array in _arrays(target).items() if np.isnan(array).all()}
            if not skipped:
                return
            failures.append(f"it lacks {_some(skipped)}")
        target.set_weights(before)
    raise ExportError(
        f'--weights "{path}" fits neither the model ({failures[0]}) nor its backbone ({failures[1]})'
    )


def _arrays(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in named_weights(model).items()}


def _assign(model: keras.Model, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Assigns arrays by path. Raises ExportError that names what is missing, unknown or wrongly shaped."""
    wanted = named_weights(model)
    inner = f"{backbone(model).name}/"
    head = {name for name in wanted if not name.startswith(inner)}
    if not head & arrays.keys():
        wanted = {name: weight for name, weight in wanted.items() if name not in head}
        arrays = {name if name.startswith(inner) else inner + name: array for name, array in arrays.items()}
    missing, unknown = wanted.keys() - arrays.keys(), arrays.keys() - wanted.keys()
    if missing:
        raise ExportError(f'--weights "{path}" lacks {_some(missing)}, expected {len(wanted)} weights')
    if unknown:
        raise ExportError(f'--weights "{path}" holds {_some(unknown)}, which the model does not have')
    for name, weight in wanted.items():
        if arrays[name].shape != tuple(weight.shape):
            raise ExportError(
                f'--weights "{path}" holds {name} of shape {arrays[name].shape}, '
                f"expected {tuple(weight.shape)}"
            )
        weight.assign(arrays[name].astype(weight.dtype))


def _some(names: set[str]) -> str:
    first, *rest = sorted(names)
    return f'"{first}" and {len(rest)} more' if rest else f'"{first}"'


def _line(error: Exception) -> str:
    """The first line of an exception's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

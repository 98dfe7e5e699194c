"""Brings weights into a model, from ImageNet downloads or files, and out of a trained one into files."""

from __future__ import annotations

import contextlib
import os
import sys
import zipfile
from collections.abc import Mapping, Set
from pathlib import Path

import h5py
import keras
import numpy as np

from . import hub, state_dict
from .errors import ExportError
from .names import named_weights


def load(model: keras.Model, source: str) -> str:
    """Sets a model's weights: all of them, or from a backbone's file only those of the one nested model.

    Returns a sentence of what was set and what of the file was left out.

    source is "random" (nothing is changed), "imagenet" (a download of Keras's or torchvision's) or a file:

    .keras   a model saved by Keras, whole or backbone
    .h5      Keras's weights (.weights.h5), whole or backbone, or, in the older format, a whole saved model or
             weights, such as resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5
    .npz     arrays by path, such as resnet50/conv1_conv/kernel; a backbone's may leave out the first name
    .safetensors, .pth
             a state dict, for the PyTorch recipe: the article's module (resnet.*, classifier.*) or
             torchvision's resnet50 (conv1.weight and so on), whose fc.* is left out unless it is the
             article's classifier; either may be wrapped in torch's DataParallel (module.*)

    Raises ExportError; the model's weights are then undefined.
    """
    if source == "random":
        return "random"
    if source == "imagenet":
        return _download(model)
    path = Path(source)
    try:
        if path.suffix in state_dict.SUFFIXES:
            said = _assign_state(model, state_dict.read(path), path)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                said = _assign(model, dict(arrays), path)
        elif path.suffix == ".h5" and not _holds_model(path):
            said = _load_h5_weights(model, path)
        else:
            said = _assign(model, _arrays(keras.models.load_model(path, compile=False)), path)
    except ExportError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ExportError(
            f'--weights "{path}" cannot be read as {path.suffix} weights: {_line(error)}'
        ) from error
    if not all(np.isfinite(array).all() for array in model.get_weights()):
        raise ExportError(f'--weights "{path}" holds numbers that are not finite')
    return said


def _said(path: Path, *, whole: bool, left_out: Set[str] = frozenset()) -> str:
    text = f"{path.name}, the whole model" if whole else f"{path.name}, the backbone; the head is random"
    return text + (f"; left out: {_some(left_out)}" if left_out else "")


def backbone(model: keras.Model) -> keras.Model:
    """The one model nested in a model. Raises ExportError if there is none, or more."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(nested) != 1:
        raise ExportError(f'model "{model.name}" holds {len(nested)} nested models, expected one backbone')
    return nested[0]


def _download(model: keras.Model) -> str:
    """ImageNet weights into a backbone: torchvision's or those of keras.applications."""
    if is_torch(model):
        return _download_torchvision(model)
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
    return "imagenet, the backbone; the head is random"


def _download_torchvision(model: keras.Model) -> str:
    try:
        path = hub.fetch(hub.RESNET50, hub.cache())
    except OSError as error:
        raise ExportError(
            f"--weights imagenet cannot be downloaded ({_line(error)}): use --weights random or a .pth or "
            f".safetensors file, or put {hub.RESNET50} into {hub.cache()}"
        ) from error
    return _assign_state(model, state_dict.read(path), path)


def is_torch(model: keras.Model) -> bool:
    """Whether a model has torch's names: whether it is the PyTorch recipe's."""
    return any(layer.name == "classifier.5" for layer in model.layers)


def as_state_dict(model: keras.Model, batches: int) -> dict[str, np.ndarray]:
    """The state dict of the article's module, after training on so many batches."""
    arrays = {
        state_dict.torch_name(path): state_dict.to_torch(path, array)
        for path, array in _arrays(model).items()
    }
    return arrays | {
        f"{name.removesuffix('running_mean')}num_batches_tracked": np.array(batches, np.int64)
        for name in arrays
        if name.endswith("running_mean")
    }


def _assign_state(model: keras.Model, arrays: Mapping[str, np.ndarray], path: Path) -> str:
    """Assigns a state dict, which is the article's module or torchvision's resnet50."""
    if not is_torch(model):
        raise ExportError(f'--weights "{path}" is a state dict, which is for --recipe pytorch')
    if all(key.startswith("module.") for key in arrays):  # of torch's DataParallel
        arrays = {key.removeprefix("module."): array for key, array in arrays.items()}
    arrays = {key: array for key, array in arrays.items() if not key.endswith("num_batches_tracked")}
    weights = named_weights(model)
    wanted = {state_dict.torch_name(name): name for name in weights}
    left_out = set()
    whole = any(key.startswith(("resnet.", "classifier.")) for key in arrays)
    if not whole:
        head = {f"fc{key.removeprefix('classifier')}" for key in wanted if key.startswith("classifier.")}
        found = {key for key in arrays if key.startswith("fc.")}
        whole = found == head  # the article's classifier in the place of torchvision's
        left_out = set() if whole else found
        arrays = {
            f"classifier{key.removeprefix('fc')}" if key in head else f"resnet.{key}": array
            for key, array in arrays.items()
            if key not in left_out
        }
        if not whole:
            wanted = {key: name for key, name in wanted.items() if key.startswith("resnet.")}
    _check_names(wanted.keys(), arrays.keys(), path)
    for key, name in wanted.items():
        array = state_dict.to_keras(name, arrays[key])
        if array.shape != tuple(weights[name].shape):
            shape = state_dict.to_torch(name, weights[name].numpy()).shape
            raise ExportError(
                f'--weights "{path}" holds {key} of shape {arrays[key].shape}, expected {shape}'
            )
        weights[name].assign(array.astype(weights[name].dtype))
    return _said(path, whole=whole, left_out=left_out)


def _holds_model(path: Path) -> bool:
    """Whether a .h5 file holds a whole model in Keras's older format, not weights only."""
    with h5py.File(path, "r") as file:
        return "model_config" in file.attrs


def _load_h5_weights(model: keras.Model, path: Path) -> str:
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
                return _said(path, whole=target is model)
            failures.append(f"it lacks {_some(skipped)}")
        target.set_weights(before)
    raise ExportError(
        f'--weights "{path}" fits neither the model ({failures[0]}) nor its backbone ({failures[1]})'
    )


def _arrays(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in named_weights(model).items()}


def _assign(model: keras.Model, arrays: Mapping[str, np.ndarray], path: Path) -> str:
    """Assigns arrays by path. Raises ExportError that names what is missing, unknown or wrongly shaped."""
    wanted = named_weights(model)
    inner = f"{backbone(model).name}/"
    head = {name for name in wanted if not name.startswith(inner)}
    whole = bool(head & arrays.keys())
    if not whole:
        wanted = {name: weight for name, weight in wanted.items() if name not in head}
        arrays = {name if name.startswith(inner) else inner + name: array for name, array in arrays.items()}
    _check_names(wanted.keys(), arrays.keys(), path)
    for name, weight in wanted.items():
        if arrays[name].shape != tuple(weight.shape):
            raise ExportError(
                f'--weights "{path}" holds {name} of shape {arrays[name].shape}, '
                f"expected {tuple(weight.shape)}"
            )
        weight.assign(arrays[name].astype(weight.dtype))
    return _said(path, whole=whole)


def _check_names(wanted: Set[str], found: Set[str], path: Path) -> None:
    if wanted - found:
        more = f", and holds {_some(found - wanted)}" if found - wanted else ""
        raise ExportError(
            f'--weights "{path}" lacks {_some(wanted - found)}, expected {len(wanted)} weights{more}'
        )
    if found - wanted:
        raise ExportError(f'--weights "{path}" holds {_some(found - wanted)}, which the model does not have')


def _some(names: Set[str]) -> str:
    first, *rest = sorted(names)
    return f'"{first}" and {len(rest)} more' if rest else f'"{first}"'


def _line(error: Exception) -> str:
    """The first line of an exception's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

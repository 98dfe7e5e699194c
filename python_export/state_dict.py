"""torch state dicts: their files, and what their names and shapes are in Keras.

    .safetensors   read and written by the safetensors library
    .pth           read by a small reader that knows tensors and nothing else, so that no code in a file runs
                   and torch need not be installed: torch.save's zip format and the one before torch 1.6

Source of the formats: torch/serialization.py.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import ExportError

SUFFIXES = (".safetensors", ".pth")

PARTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""Keras's name of a weight -> torch's."""

MAGIC = 0x1950A86A20F9469CFC6C
"""The first number in torch.save's format before the zip."""
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


def torch_name(path: str) -> str:
    """The key in the article's module of a weight: classifier.1.weight for classifier.1/kernel."""
    *modules, part = path.split("/")
    return ".".join([*modules, PARTS[part]])


def to_torch(path: str, array: np.ndarray) -> np.ndarray:
    """Keras's layout to torch's: [H,W,in,out] to [out,in,H,W] and [in,out] to [out,in]."""
    if not path.endswith("/kernel"):
        return array
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def to_keras(path: str, array: np.ndarray) -> np.ndarray:
    """The way back of `to_torch`."""
    if not path.endswith("/kernel"):
        return array
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T)


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a .safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: array.copy(order="C") for name, array in arrays.items()}, path, {"format": "pt"})


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors or .pth file by key. Raises ExportError or OSError."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
            file.seek(0)
            found = _read_zip(file) if zipped else _read_legacy(file)
    except OSError:
        raise
    except Exception as error:  # whatever unpickling a damaged file comes upon
        raise ExportError(
            f'"{path}" cannot be read as {path.suffix}: {error or type(error).__name__}'
        ) from error
    arrays = {
        key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, np.ndarray)
    }
    if not arrays:
        raise ExportError(
            f'"{path}" holds no tensors but {list(found)[:3]}, expected model.state_dict() itself'
        )
    return arrays


class _Tensor:
    """A tensor whose numbers are not there yet: the old format has them at the end of the file."""

    def __init__(
        self, storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def array(self) -> np.ndarray:
        values = self.storage.values
        count = int(np.prod(self.size))
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if values is None or min(self.offset, *self.stride, 0) < 0 or (count and last >= len(values)):
            raise ExportError("a tensor lies outside of its storage")
        if count > len(values):
            raise ExportError(f"a tensor of {count} numbers has a storage of {len(values)}")
        steps = [step * values.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.size, steps).copy()


class _Storage:
    def __init__(self, dtype: np.dtype, count: int, values: np.ndarray | None = None) -> None:
        self.dtype, self.count, self.values = dtype, count, values


class _Unpickler(pickle.Unpickler):
    """Builds dicts of tensors; any other class in a pickle is refused."""

    def __init__(self, file: BinaryIO, storage: Callable[[str, np.dtype, int], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, size, stride, *_: _Tensor(
                storage, offset, tuple(size), tuple(stride)
            ),
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        raise ExportError(
            f"it holds a {module}.{name}, expected a state dict of tensors: save model.state_dict()"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ExportError("its storages are of a format that is not known")
        return self._storage(key, dtype, count)


def _read_zip(file: BinaryIO) -> dict[Any, Any]:
    with zipfile.ZipFile(file) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ExportError("its numbers are big-endian")

        def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
            member = archive.getinfo(f"{folder}data/{key}")
            if member.file_size != count * dtype.itemsize:  # also what unpacks to more than memory holds
                raise ExportError(
                    f"storage {key} has {member.file_size} bytes, expected {count * dtype.itemsize}"
                )
            return _Storage(dtype, count, np.frombuffer(archive.read(member), dtype, count))

        return _arrays(_Unpickler(io.BytesIO(archive.read(pickled)), storage).load())


def _read_legacy(file: BinaryIO) -> dict[Any, Any]:
    storages: dict[str, _Storage] = {}

    def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != MAGIC:
        raise ExportError("it is not a file of torch.save")
    load()  # the protocol's version
    load()  # sizes of C types
    found, keys = load(), load()
    for key in keys:
        kept = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != kept.count:
            raise ExportError(f"storage {key} has {count} numbers, expected {kept.count}")
        kept.values = np.frombuffer(file.read(count * kept.dtype.itemsize), kept.dtype, count)
    return _arrays(found)


def _arrays(found: Any) -> dict[Any, Any]:
    if not isinstance(found, dict):
        raise ExportError(
            f"it holds a {type(found).__name__}, expected a state dict: save model.state_dict()"
        )
    return {key: value.array() if isinstance(value, _Tensor) else value for key, value in found.items()}

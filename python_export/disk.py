"""Writes files and folders whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import ExportError


@contextmanager
def whole(*targets: Path) -> Iterator[list[Path]]:
    """Yields a path to write for each target; afterwards all stand in their places, or on an error none.

    The paths have the targets' names and lie in hidden folders beside them (left behind only if the process
    is killed). Missing parents are made, and removed again on an error. A target that exists is refused.
    """
    check_free(*targets)
    made: list[Path] = []
    stages: list[Path] = []
    placed: list[Path] = []
    try:
        for target in targets:
            made += _make_parents(target)
            stages.append(Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)))
        written = [stage / target.name for stage, target in zip(stages, targets, strict=True)]
        yield written
        check_free(*targets)
        for path, target in zip(written, targets, strict=True):
            _sync(path)
            path.rename(target)
            placed.append(target)
            _sync_one(target.parent)
    except BaseException:
        for path in placed + stages:
            _remove(path)
        for parent in reversed(made):
            with suppress(OSError):
                parent.rmdir()
        raise
    for stage in stages:
        _remove(stage)


def check_free(*targets: Path) -> None:
    """Raises ExportError if a name is taken, be it by a dangling link, or would lie inside a file."""
    for target in targets:
        if os.path.lexists(target):
            raise ExportError(
                f'"{target}" exists already and is never overwritten: choose another name or remove it'
            )
        nearest = next(parent for parent in target.absolute().parents if os.path.lexists(parent))
        if not nearest.is_dir():
            raise ExportError(f'"{target}" cannot be made: "{nearest}" is not a folder')


def _make_parents(target: Path) -> list[Path]:
    """Makes the missing parents of a path and returns them, outermost first."""
    missing = [parent for parent in target.absolute().parents if not os.path.lexists(parent)]
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Forces a file, or a folder with all that is in it, to the disk."""
    if path.is_dir():
        for child in path.iterdir():
            _sync(child)
    _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

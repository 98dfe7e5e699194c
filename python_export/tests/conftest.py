"""The full-size model, exported once through the command line, and small ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as Go does
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Full:
    """The default export but for upsample 1."""

    folder: Path
    keras_file: Path
    stdout: str
    stderr: str

    @property
    def description(self) -> dict[str, Any]:
        """The content of residual.json."""
        return json.loads((self.folder / "assets.extra" / "residual.json").read_text())


@pytest.fixture(scope="session")
def command_line() -> Callable[..., subprocess.CompletedProcess]:
    """Runs `python -m python_export` in a process of its own."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "python_export", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory, command_line: Callable[..., Any]) -> Full:
    folder = tmp_path_factory.mktemp("full")
    out, keras_file = folder / "deep" / "model", folder / "stock.keras"
    done = command_line("export", "--out", out, "--upsample", 1, "--save-keras", keras_file, "--json")
    assert done.returncode == 0, done.stderr
    return Full(out, keras_file, done.stdout, done.stderr)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An exported small_cnn of 3 classes, 8x8 images."""
    import keras

    from python_export import export

    from .helpers import names, small_cnn

    keras.utils.set_random_seed(5)
    return export(small_cnn(), tmp_path / "small", classes=names(3)).path

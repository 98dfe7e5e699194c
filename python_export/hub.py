"""Files of PyTorch's hub, kept where torch keeps them and checked as torch checks them.

A file's name ends in the first digits of its SHA-256: resnet50-0676ba61.pth. Source: torch/hub.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.request
from pathlib import Path

from .errors import ExportError

RESNET50 = "https://download.pytorch.org/models/resnet50-0676ba61.pth"
"""torchvision's ResNet50_Weights.IMAGENET1K_V1, which is what `pretrained=True` meant."""


def cache() -> Path:
    """The folder that torch.hub and torchvision keep checkpoints in."""
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "torch")
    return Path(os.environ.get("TORCH_HOME", base), "hub", "checkpoints")


def fetch(url: str, folder: Path) -> Path:
    """The file of a URL in folder, downloaded unless it is there. Raises ExportError or OSError."""
    path = folder / url.rpartition("/")[2]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            with urllib.request.urlopen(url, timeout=30) as answer, draft.open("wb") as file:
                shutil.copyfileobj(answer, file)
            _check(draft, path.name)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    _check(path, path.name)
    return path


def _check(path: Path, name: str) -> None:
    digits = re.search(r"-([0-9a-f]{8,})\.", name)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if digits is None or not found.startswith(digits[1]):
        raise ExportError(f'"{path}" has the SHA-256 {found}, which {name} does not: remove it and try again')

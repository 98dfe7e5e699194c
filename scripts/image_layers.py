"""Says what each layer of an image costs, and fails if all above the base cost more than is allowed.

.venv/bin/python scripts/image_layers.py IMAGE BASE --most GB
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def layers(image: str) -> list[tuple[int, str]]:
    """Bytes, uncompressed, and what made them, of each layer from the base up."""
    with tempfile.TemporaryDirectory(dir="build/docker") as folder:
        push = ["buildah", "push", "--quiet", "--disable-compression", image, f"dir:{folder}"]
        subprocess.run(push, check=True, stdout=subprocess.DEVNULL)
        manifest = json.loads(Path(folder, "manifest.json").read_text())
        config = json.loads(Path(folder, manifest["config"]["digest"].partition(":")[2]).read_text())
    made = [step.get("created_by", "") for step in config["history"] if not step.get("empty_layer")]
    return list(zip((layer["size"] for layer in manifest["layers"]), made, strict=True))


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("base")
    parser.add_argument("--most", type=float, required=True, metavar="GB", help="of all above the base")
    options = parser.parse_args()
    below = len(layers(options.base))
    above = 0
    for index, (size, made) in enumerate(layers(options.image)):
        what = "base image" if index < below else " ".join(made.split())[:100]
        print(f"{size / 1e6:8.1f} MB  {what}")
        above += size if index >= below else 0
    print(f"{above / 1e6:8.1f} MB  above the base image, at most {1e3 * options.most:.0f}")
    return int(above > options.most * 1e9)


if __name__ == "__main__":
    sys.exit(main())

"""Reads what `residual doctor --json` prints, and fails if a library that TensorFlow asks for is missing."""

from __future__ import annotations

import json
import sys

findings = {finding["name"]: finding for finding in json.loads(sys.stdin.read().splitlines()[-1])["findings"]}
cuda = findings["CUDA"]
if cuda.get("problem"):
    sys.exit(f"{cuda['problem']}: {cuda['mend']}")
print(cuda["value"])

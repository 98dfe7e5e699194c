#!/bin/sh
# Makes what bench.py and check.py need of this checkout: models by this Python
# code, and the worker. Arguments are the models; without any, those of bench.py.
set -eu
cd "$(dirname "$0")/.."
export CGO_CFLAGS="${CGO_CFLAGS:--I$PWD/.venv/tensorflow/include}"

scripts/made-by-this.sh build/bench || rm -rf build/bench
.venv/bin/python benchmarks/prepare.py build/bench "$@"
scripts/made-by-this.sh --note build/bench
go build -o build/bench-worker ./benchmarks/worker

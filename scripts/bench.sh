#!/bin/sh
# The numbers that the project promises: the training step against Python and
# Keras, how long the build takes from an empty build cache, how soon --help is
# there. Ten minutes and 10 GB of memory; let nothing else run.
set -eu
cd "$(dirname "$0")/.."

scripts/bench_prepare.sh
.venv/bin/python benchmarks/bench.py --case driver-16 --case train-keras-16 --json build/bench/times.json

echo
echo "go build with an empty build cache, modules there:"
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
GOCACHE=$cache bash -c 'time go build -o "$GOCACHE/residual" ./cli/residual'

echo
echo "residual --help, 20 times:"
bash -c 'time for i in $(seq 20); do bin/residual --help >/dev/null; done'

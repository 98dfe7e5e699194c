#!/bin/sh
# The numbers that the project promises: the training step against Python and
# Keras, how long the build takes from an empty build cache, how soon --help is
# there. Ten minutes and 10 GB of memory; let nothing else run.
set -eu
cd "$(dirname "$0")/.."

model=models/resnet50-bench
keras=build/resnet50-bench.keras
scripts/made-by-this.sh "$model" || {
	rm -rf "$model" "$keras"
	mkdir -p build
	bin/residual export --out "$model" --save-keras "$keras"
	scripts/made-by-this.sh --note "$model"
}
go build -o build/bench-worker ./benchmarks/worker
.venv/bin/python benchmarks/train_step.py --model "$model" --keras "$keras" --worker build/bench-worker --json build/train_step.json

echo
echo "go build with an empty build cache, modules there:"
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
GOCACHE=$cache bash -c 'time go build -o "$GOCACHE/residual" ./cli/residual'

echo
echo "residual --help, 20 times:"
bash -c 'time for i in $(seq 20); do bin/residual --help >/dev/null; done'

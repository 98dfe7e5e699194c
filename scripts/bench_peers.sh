#!/bin/sh
# A training step of the PyTorch recipe against PyTorch's own loop, in turns.
# Ten minutes and 12 GB of memory; let nothing else run. PEERS=python is a Python
# that has torch and torchvision; without it they are installed into build/peers.
set -eu
cd "$(dirname "$0")/.."

peers=${PEERS:-build/peers/bin/python}
if [ -z "${PEERS:-}" ] && ! "$peers" -c 'import torch, torchvision' 2>/dev/null; then
	echo "Peers: installing torch 2.9.1 and torchvision 0.24.1 into build/peers (7 GB)"
	.venv/bin/python -m venv --clear build/peers
	"$peers" -m pip install --quiet --disable-pip-version-check torch==2.9.1 torchvision==0.24.1
fi
model=models/torch-bench
scripts/made-by-this.sh "$model" || {
	rm -rf "$model"
	bin/residual export --recipe pytorch --out "$model"
	scripts/made-by-this.sh --note "$model"
}
go build -o build/bench-worker ./benchmarks/worker
.venv/bin/python benchmarks/train_step.py --model "$model" --torch "$peers" --worker build/bench-worker --json build/torch_step.json

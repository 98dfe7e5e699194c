#!/bin/sh
# Everything that bench.py can measure, against Keras, PyTorch, ONNX Runtime and
# OpenVINO, in turns: an hour and 16 GB of memory; let nothing else run. Arguments
# go to bench.py: scripts/bench_peers.sh --case predict-torch-16. PEERS=python is a
# Python with benchmarks/requirements.txt; without it they are installed into
# build/peers.
set -eu
cd "$(dirname "$0")/.."

peers=${PEERS:-build/peers/bin/python}
stamp=build/peers/$(cksum <benchmarks/requirements.txt | tr ' ' -)
if [ -z "${PEERS:-}" ] && [ ! -e "$stamp" ]; then
	echo "Peers: installing PyTorch, ONNX Runtime and OpenVINO into build/peers (7 GB)"
	.venv/bin/python -m venv --clear build/peers
	"$peers" -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	touch "$stamp"
fi
scripts/bench_prepare.sh
[ -e build/bench/torch.onnx ] || "$peers" benchmarks/with_torch.py onnx build/bench
.venv/bin/python benchmarks/bench.py --json build/bench/times.json "$@"
"$peers" benchmarks/draw.py build/bench/times.json build/bench/performance.svg

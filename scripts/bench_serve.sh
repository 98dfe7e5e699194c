#!/bin/sh
# How fast residual serve answers, with LitServe beside it, in turns: 75 minutes for
# five rounds; let nothing else run. Arguments go to serve.py: scripts/bench_serve.sh
# --quick shows in a few minutes that all of it works.
set -eu
cd "$(dirname "$0")/.."

peers=build/peers-serve
stamp=$peers/$(cksum <benchmarks/requirements-serve.txt | tr ' ' -)
if [ ! -e "$stamp" ]; then
	echo "Peers: installing LitServe into $peers"
	.venv/bin/python -m venv --clear "$peers"
	"$peers/bin/python" -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-serve.txt
	packages='import sysconfig; print(sysconfig.get_path("purelib"))'
	.venv/bin/python -c "$packages" >"$("$peers/bin/python" -c "$packages")/checkout.pth"
	touch "$stamp"
fi
scripts/bench_prepare.sh keras-7 keras-1
go build -o build/bench-load ./benchmarks/load
.venv/bin/python benchmarks/serve.py --json build/bench/serve.json "$@"
.venv/bin/python benchmarks/serve.py --table build/bench/serve.json

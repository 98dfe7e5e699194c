#!/bin/sh
# Finds out whether what makes this project fast still does: two or three minutes,
# 4 GB of memory. Arguments go to check.py. To see how stable it is:
#   for i in $(seq 20); do scripts/bench_check.sh || echo "run $i failed"; done
set -eu
cd "$(dirname "$0")/.."

scripts/bench_prepare.sh keras-7 keras-4 stock-4
exec .venv/bin/python benchmarks/check.py "$@"

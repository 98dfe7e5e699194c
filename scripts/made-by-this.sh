#!/bin/sh
# Tells whether a model was exported by the exporter as it is now, or notes that
# it was: scripts/made-by-this.sh [--note] MODEL
set -eu
cd "$(dirname "$0")/.."

key=$(cat python_export/*.py python_export/contract.json | cksum)-$(basename .venv/residual-*)
if [ "$1" = --note ]; then
	echo "$key" >"$2.key"
else
	[ -e "$1" ] && [ "$(cat "$1.key" 2>/dev/null)" = "$key" ]
fi

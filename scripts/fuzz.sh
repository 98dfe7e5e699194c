#!/bin/sh
# Runs each fuzz target for a while: scripts/fuzz.sh 60s
set -eu
cd "$(dirname "$0")/.."

git ls-files '*_test.go' | xargs grep -o '^func Fuzz[A-Za-z0-9]*' |
	while IFS=: read -r file target; do
		go test "./$(dirname "$file")" -run '^$' -fuzz "^${target#func }\$" -fuzztime "$1" -fuzzminimizetime 1x </dev/null
	done

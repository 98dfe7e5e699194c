#!/bin/sh
# All linters. Each prints nothing when it is content.
set -eu
cd "$(dirname "$0")/.."

unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || {
	echo "not formatted (make fmt): $unformatted" >&2
	exit 1
}
go vet ./...
go tool staticcheck ./...
go mod verify >/dev/null
go mod tidy -diff
# Modules of their own, which ./... does not reach.
staticcheck=$(go tool -n staticcheck)
for module in examples/service deploy; do
	(cd "$module" && go vet ./... && "$staticcheck" ./... && go mod verify >/dev/null && go mod tidy -diff)
done
go test -run TestArrows ./cli
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .

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
# The example is a module of its own, which ./... does not reach.
staticcheck=$(go tool -n staticcheck)
(cd examples/service && go vet ./... && "$staticcheck" ./... && go mod verify >/dev/null && go mod tidy -diff)
go test -run TestArrows ./cli
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .

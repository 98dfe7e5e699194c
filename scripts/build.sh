#!/bin/sh
# Builds bin/residual. Needs the headers in .venv (scripts/venv.sh).
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "$1" >&2
	exit 1
}

[ -z "${SUDO_USER-}" ] || command -v go >/dev/null ||
	fail "There is no go on the path that sudo leaves: run it as sudo env \"PATH=\$PATH\" make install"
command -v go >/dev/null || fail "There is no go: install Go 1.26 or newer (https://go.dev/dl), then run make again"
command -v "${CC:-cc}" >/dev/null || fail "There is no C compiler: on Debian and Ubuntu, apt install gcc libc6-dev; then run make again"
# Where go is told not to look for it (-buildvcs=false), too.
commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || true)
go build -ldflags "-X github.com/residual-go/residual/cli.commit=$commit" -o bin/residual ./cli/residual ||
	fail "bin/residual was not built: look at the compiler's message above"
echo "Program: bin/residual ($(bin/residual --version))"

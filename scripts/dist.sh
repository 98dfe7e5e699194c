#!/bin/sh
# Makes dist/residual-VERSION-linux-amd64.tar.gz: the program, TensorFlow's library, a model, licences. It runs where
# it is unpacked, on Linux (amd64) with glibc 2.36 or newer and libstdc++, with nothing else installed.
#   scripts/dist.sh [MODEL]   (the reference model, exported for it)
set -eu
cd "$(dirname "$0")/.."
model=${1:-build/dist-model}

if [ -z "${1-}" ] && ! scripts/made-by-this.sh "$model"; then
	rm -rf "$model"
	bin/residual export --out "$model"
	scripts/made-by-this.sh --note "$model"
fi
version=$(bin/residual --version | sed 's/.*version \([0-9.]*\).*/\1/')
name=residual-$version-linux-amd64
rm -rf "build/dist/$name"
mkdir -p "build/dist/$name" dist
commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || true)
go build -trimpath -ldflags "-s -w -X github.com/residual-go/residual/cli.commit=$commit" -o build/dist/residual ./cli/residual
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
scripts/install.sh --program build/dist/residual --library "$site" --model "$model" --to "build/dist/$name"
cp deploy/archive/README.md CHANGELOG.md LICENSE NOTICE "build/dist/$name/"
cp -r docs "build/dist/$name/docs"
tar -C build/dist --owner=0 --group=0 --sort=name -czf "dist/$name.part" "$name"
mv "dist/$name.part" "dist/$name.tar.gz"
du -m "dist/$name.tar.gz" | awk -v unpacked="$(du -sm "build/dist/$name" | cut -f1)" '{ printf "%s: %d MB, unpacked %d MB\n", $2, $1, unpacked }'
rm -rf "build/dist/$name"

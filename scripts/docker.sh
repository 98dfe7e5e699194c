#!/bin/sh
# Builds the image of a target of Dockerfile, cpu or gpu, with docker, podman or buildah, whichever is there.
#   scripts/docker.sh TARGET [BUILD-OPTION…]
set -eu
cd "$(dirname "$0")/.."
target=$1
shift
commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || true)
case $target in cpu) name=residual:latest ;; *) name=residual:$target ;; esac

if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
	set -- docker build "$@"
elif command -v podman >/dev/null; then
	set -- podman build "$@"
elif command -v buildah >/dev/null; then
	set -- buildah bud --format docker --layers "$@"
else
	echo "There is no docker that runs, no podman and no buildah: install one of them (Debian: apt install podman), then run make again" >&2
	exit 1
fi
echo "Image: $name, by $1"
exec "$@" --target "$target" --build-arg "COMMIT=$commit" --tag "$name" .

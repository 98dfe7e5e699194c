#!/usr/bin/env bash
# Unpacks what make dist has made in a bare Debian, and uses it as somebody without rights. Needs root and debootstrap.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() {
	echo "dist-test: $1" >&2
	exit 1
}
[ "$(id -u)" = 0 ] || fail "it needs root, to make a Debian"
command -v debootstrap >/dev/null || fail "there is no debootstrap: apt install debootstrap"
archive=$(ls -t dist/residual-*.tar.gz 2>/dev/null | head -1 || true)
[ -n "$archive" ] || fail "there is no archive: make dist"
root=$PWD/build/dist/debian
if [ ! -e "$root/.made" ]; then
	rm -rf "$root"
	mkdir -p build/dist
	debootstrap --variant=minbase bookworm "$root" http://deb.debian.org/debian >build/dist/debootstrap.log 2>&1 ||
		{ tail -5 build/dist/debootstrap.log >&2; fail "debootstrap failed"; }
	touch "$root/.made"
fi
rm -rf "$root/opt"/* "$root/tmp/runs"
tar -C "$root/opt" -xzf "$archive"
program=/opt/$(basename "$archive" .tar.gz)/bin/residual
install -d -o 1000 -g 1000 "$root/tmp/runs"
inside() {
	root=$root unshare --mount --pid --fork --kill-child bash -euc '
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		exec chroot --userspec=1000:1000 "$root" env -i PATH=/usr/bin:/bin HOME=/tmp "$@"' bash "$@"
}
inside "$program" --version
inside "$program" doctor
inside "$program" train --data synthetic --limit 32 --batch-size 8 --epochs 1 --out /tmp/runs/first --quiet
inside "$program" evaluate --model /tmp/runs/first --data synthetic --limit 20 --quiet
[ -s "$root${program%/bin/residual}/share/doc/residual/LICENSE" ] || fail "the licence is missing"
echo "the archive works in a bare Debian"

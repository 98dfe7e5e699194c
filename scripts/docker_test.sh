#!/usr/bin/env bash
# Builds the stages of Dockerfile with buildah, without a Docker engine, and runs what comes out: as uid 10001, with
# a read-only root. Needs root, buildah and debootstrap (Debian: apt install buildah debootstrap), and Debian's
# mirror, PyPI and the Go module proxy.
#   scripts/docker_test.sh cpu|gpu
#
# Base images come from Docker Hub; here they are made of Debian's packages under the same names, so that this
# tests the Dockerfile's steps and the result, not the base images.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1
work=$PWD/build/docker
log=$work/log
isolated=(--isolation chroot)
commit=$(git describe --always --dirty --abbrev=12)

step() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }
fail() {
	echo "docker-test: $1" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail "it needs root, to make base images and to mount"
for program in buildah debootstrap; do
	command -v $program >/dev/null || fail "there is no $program: apt install buildah debootstrap"
done
mkdir -p "$work" "$log"
free=$(df --output=avail -BG "$work" | tail -1 | tr -dc 0-9)
need=$([ "$target" = gpu ] && echo 40 || echo 12)
[ "$free" -ge "$need" ] || fail "$free GB are free in $work, and $target needs $need"

# What build steps need where a certificate authority of one's own stands between them and the registries.
through=(--network host)
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -n "${SSL_CERT_FILE-}" ]; then
	through+=(--volume "$bundle:/etc/ssl/certs/ca-certificates.crt:ro" --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt)
fi

arg() { sed -n "s/^ARG $1=//p" Dockerfile | head -1; }

# base NAME PACKAGES COMMAND makes a base image; the command runs in its root.
base() {
	local name=docker.io/library/$1 root=$work/root
	if buildah inspect --type image "$name" >/dev/null 2>&1; then
		echo "$1 is there already"
		return
	fi
	rm -rf "$root"
	debootstrap --variant=minbase ${2:+--include="$2"} bookworm "$root" http://deb.debian.org/debian >"$log/debootstrap" 2>&1 ||
		{ tail -5 "$log/debootstrap" >&2; fail "debootstrap failed"; }
	rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
	(cd "$root" && eval "$3")
	local container
	container=$(buildah from scratch)
	buildah add --quiet "$container" "$root" / >/dev/null
	buildah config --env "PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" --cmd bash "$container"
	buildah commit --quiet --rm --format docker "$container" "$name" >/dev/null
	rm -rf "$root"
	echo "$1: made of Debian's packages"
}

step "Base images"
base "$(arg DEBIAN)" "" true
base "$(arg PYTHON)" python3,python3-venv,ca-certificates true
go=$(go env GOROOT)
base "$(arg GO)" gcc,libc6-dev,binutils,ca-certificates,git "mkdir -p usr/local && cp -r '$go' usr/local/go"

# Of the gpu target's gigabytes no layer is kept but those of the image.
layers=$([ "$target" = gpu ] && echo --layers=false || echo --layers)
build() { # build TARGET NAME BUILD-OPTION…
	local stage=$1 name=$2
	shift 2
	buildah bud "${isolated[@]}" "${through[@]}" --pull-never --format docker "$layers" --target "$stage" \
		--build-arg "COMMIT=$commit" --tag "$name" "$@" . >"$log/$stage" 2>&1 ||
		{ tail -30 "$log/$stage" >&2; fail "stage $stage was not built: $log/$stage"; }
}

# The model is of images of 32x32, so that it is trained in minutes.
step "Build: target $target"
build "$target" "residual:test-$target" --build-arg UPSAMPLE=1
if [ "$target" = cpu ]; then
	step "Build: tensorboard"
	build tensorboard residual:test-tensorboard
fi

image=residual:test-$target
inspect() { buildah inspect --type image --format "$1" "$image"; }

step "Sizes"
.venv/bin/python scripts/image_layers.py "$image" "$(arg DEBIAN)" --most "$([ "$target" = cpu ] && echo 0.9 || echo 8)"

step "What is in it"
container=$(buildah from --pull-never "$image")
root=$(buildah mount "$container")
job=
cleanup() {
	[ -z "$job" ] || kill -KILL "$job" 2>/dev/null || true
	buildah umount "$container" >/dev/null 2>&1 || true
	buildah rm "$container" >/dev/null 2>&1 || true
}
trap cleanup EXIT
[ "$(inspect '{{index .OCIv1.Config.Entrypoint 0}}')" = residual ] || fail "the entry point is not residual"
[ "$(inspect '{{.OCIv1.Config.User}}')" = 10001:10001 ] || fail "the user is not 10001"
unwanted=$(cd "$root" && find . -xdev \( -name 'python3*' -o -name 'gcc*' -o -name 'cc1*' -o -name '*.pyc' \) -not -path './usr/share/*' -not -path './usr/lib/x86_64-linux-gnu/*' -not -path './var/*' -not -path './usr/lib/gcc*' | head -3)
[ -z "$unwanted" ] || fail "the image has $unwanted"
file -b "$root/usr/local/bin/residual" 2>/dev/null | grep -q ELF || head -c4 "$root/usr/local/bin/residual" | grep -q ELF || fail "the entry point is no program"
for licence in go github.com/wamuir/graft github.com/urfave/cli/v2; do
	[ -n "$(ls "$root/usr/local/share/doc/residual/licences/$licence")" ] || fail "the licence of $licence is missing"
done
echo "no Python, no compiler; $(find "$root/usr/local/share/doc/residual" -type f | wc -l) files of licences"

# inside WORDS… runs the image's entry point as its user, with a read-only root but for /data and /runs, as
# docker run --read-only -v …:/data -v …:/runs does.
data=$work/data runs=$work/runs
rm -rf "$data" "$runs"
install -d -o 10001 -g 10001 "$data" "$runs"
mapfile -t environment < <(inspect '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' | grep .)
inside() {
	root=$root data=$data runs=$runs exec unshare --mount --pid --fork --kill-child bash -euc '
		mount --bind "$root" "$root"
		mount --bind "$data" "$root/data"
		mount --bind "$runs" "$root/runs"
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -o remount,bind,ro "$root"
		exec chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all \
			env -i "$@"' bash "${environment[@]}" residual "$@"
}
run() { (inside "$@"); }

# process is the program inside that belongs to the last job: unshare's child.
process() {
	local child=
	for _ in $(seq 100); do
		child=$(pgrep -P "$1" || true)
		[ -z "$child" ] || break
		sleep 0.1
	done
	echo "$child"
}

# ends CODE PID waits for a job, which must end so.
ends() {
	local code=0
	wait "$2" || code=$?
	[ "$code" = "$1" ] || fail "it ended with code $code, expected $1"
}

step "doctor"
run doctor
run --version | grep -qF "($commit)" || fail "--version does not say the commit"

step "A crash of TensorFlow, which checks this variable, is no wrong usage"
code=0
(environment+=(TF_NUM_INTRAOP_THREADS=-5) && inside doctor) >"$log/crash" 2>&1 || code=$?
[ "$code" = 134 ] && grep "Check failed" "$log/crash" || fail "it ended with $code: $(tail -3 "$log/crash")"
echo "exit code 134"

settings=(--data synthetic --limit 640 --batch-size 32 --epochs 2 --threads 1 --checkpoint-every 3 --quiet)

if [ "$target" = gpu ]; then
	step "Libraries: all that TensorFlow asks for is found"
	missing=$(chroot "$root" /bin/sh -c 'for f in /usr/local/lib/residual/tensorflow/*.so*; do ldd "$f"; done' | grep "not found" || true)
	[ -z "$missing" ] || fail "ldd does not find $missing"
	run doctor --json | .venv/bin/python scripts/check_cuda.py
	# doctor opens them by their paths; TensorFlow by their names, along its own run path.
	paths=$(for f in "$root"/usr/local/lib/residual/tensorflow/*.so*; do readelf -d "$f"; done | grep RUNPATH | tr ':[]' '\n\n\n')
	for folder in cuda_runtime cublas cufft cusolver cusparse cudnn nccl; do
		grep -qxF "\$ORIGIN/../nvidia/$folder/lib" <<<"$paths" || fail "TensorFlow's library does not look into nvidia/$folder/lib"
	done
	[ -x "$root/usr/local/lib/residual/nvidia/cuda_nvcc/bin/ptxas" ] || fail "XLA's assembler, ptxas, is missing"
	echo "each lies on TensorFlow's run path; ptxas is there"
	step "Without a GPU it computes on the CPU, and says so"
	said=$(run train "${settings[@]:0:8}" --limit 64 --epochs 1 --out /runs/cpu 2>&1 >/dev/null)
	grep -q "computing on the CPU" <<<"$said" || fail "it does not say so: $said"
	grep "computing on the CPU" <<<"$said"
	if run train "${settings[@]}" --device gpu --out /runs/gpu 2>"$log/gpu-error"; then fail "--device gpu was taken"; fi
	cat "$log/gpu-error"
	exit 0
fi

step "train: the model is the image's own"
run train "${settings[@]}" --out /runs/whole
step "train, killed and resumed, ended by SIGTERM and resumed"
(inside train "${settings[@]}" --out /runs/parts --resume=auto) 2>"$log/killed" &
job=$!
until [ -n "$(ls "$runs/parts/checkpoints" 2>/dev/null)" ]; do
	kill -0 $job 2>/dev/null || fail "it ended before its first checkpoint"
	sleep 0.2
done
kill -KILL "$(process $job)"
wait $job 2>/dev/null || true
echo "killed after: $(tail -1 "$runs/parts/steps.csv")"
(inside train "${settings[@]}" --out /runs/parts --resume=auto) &
job=$!
child=$(process $job)
before=$(wc -l <"$runs/parts/steps.csv")
until [ "$(wc -l <"$runs/parts/steps.csv")" -gt $((before + 2)) ]; do
	kill -0 $job 2>/dev/null || fail "it ended before it could be stopped"
	sleep 0.2
done
kill -TERM "$child"
ends 143 $job
echo "stopped after: $(tail -1 "$runs/parts/steps.csv")"
run train "${settings[@]}" --out /runs/parts --resume=auto
weights() { (cd "$1/model/1/variables" && sha256sum variables.data* | cut -d' ' -f1); }
[ "$(weights "$runs/whole")" = "$(weights "$runs/parts")" ] || fail "the resumed run has other weights"
echo "the same weights: $(weights "$runs/parts")"

step "evaluate"
run evaluate --model /runs/whole --data synthetic --limit 200

step "serve, one request, SIGTERM"
port=18501
(inside serve --model m=/runs/whole --port $port --grpc-port 0 --drain-delay 0s) >"$log/serve" 2>&1 &
job=$!
child=$(process $job)
for _ in $(seq 120); do
	if run doctor --url "http://127.0.0.1:$port/readyz" 2>/dev/null; then break; fi
	kill -0 $job 2>/dev/null || { cat "$log/serve" >&2; fail "the server ended"; }
	sleep 0.5
done
run data unpack --data synthetic --limit 10 --out /runs/images --quiet
image_file=$(find "$runs/images/test" -name '*.png' | head -1)
.venv/bin/python -c '
import sys, urllib.request
with urllib.request.urlopen(urllib.request.Request(sys.argv[1], open(sys.argv[2], "rb").read(), {"Content-Type": "image/png"})) as answer:
    print(answer.status, answer.read().decode().strip())
' "http://127.0.0.1:$port/v1/models/m:classify" "$image_file"
kill -TERM "$child"
ends 0 $job
echo "ended with code 0"

step "tensorboard"
tb=$(buildah from --pull-never residual:test-tensorboard)
buildah run --isolation chroot "$tb" -- /venv/bin/tensorboard --version_tb
buildah rm "$tb" >/dev/null
step "All of it works"

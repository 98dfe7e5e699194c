#!/bin/sh
# Writes the lists of wheels, with hashes, that the Dockerfile installs: deploy/docker/*.txt.
#   scripts/lock.sh VERSION   (of TensorFlow; needs .venv's Python 3.11)
set -eu
cd "$(dirname "$0")/.."
version=$1
.venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
	echo "lock: .venv is of $(.venv/bin/python --version), and images have Python 3.11: make PYTHON=python3.11 venv" >&2
	exit 1
}
wanted=$(sed -n 's/^\(keras\|safetensors\)==/&/p' python_export/requirements.txt)

lock() { # lock FILE WHAT-FOR BEGINNINGS-OF-NAMES REQUIREMENT…
	file=deploy/docker/$1 what=$2 names=$3
	shift 3
	# Of the requirements alone: nothing that is installed counts, nor does a folder of wheels.
	env -u PIP_FIND_LINKS .venv/bin/python -m pip install --quiet --disable-pip-version-check --dry-run --ignore-installed \
		--only-binary :all: --report build/lock.json "$@"
	.venv/bin/python - "$file" "$what" $names <<-'EOF'
		import json, sys
		file, what, *names = sys.argv[1:]
		names = names or [""]
		lines = []
		for item in json.load(open("build/lock.json"))["install"]:
		    name, version = item["metadata"]["name"], item["metadata"]["version"]
		    if not name.startswith(tuple(names)):
		        continue
		    algorithm, _, digest = item["download_info"]["archive_info"]["hash"].partition("=")
		    lines.append(f"{name.lower()}=={version} --hash={algorithm}:{digest}\n")
		with open(file, "w") as out:
		    out.write(f"# {what} Made by `make lock`, for Python 3.11 on Linux, amd64.\n")
		    out.writelines(sorted(lines))
	EOF
	echo "$file: $(grep -c -- --hash "$file") wheels"
}

mkdir -p build
lock cpu.txt "What the exporter needs, and the C library." "" "tensorflow-cpu==$version" $wanted
lock gpu.txt "The C library for NVIDIA's GPUs, and NVIDIA's libraries that it asks for." "tensorflow nvidia" "tensorflow[and-cuda]==$version"
lock tensorboard.txt "TensorBoard, by itself." "" "tensorboard==$(.venv/bin/python -c 'import importlib.metadata as m; print(m.version("tensorboard"))')" setuptools==80.9.0

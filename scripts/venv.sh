#!/bin/sh
# Makes .venv with TensorFlow (and so its C library) or says that it is there.
#   scripts/venv.sh VERSION PYTHON
set -eu
cd "$(dirname "$0")/.."
version=$1 python=$2

fail() {
	echo "$1" >&2
	exit 1
}

stamp=".venv/residual-$version-$(basename "$python")-$(cksum <python_export/requirements.txt | tr ' ' -)"
if [ -e "$stamp" ]; then
	echo "Python environment: .venv with TensorFlow $version is there already"
	exit 0
fi

command -v "$python" >/dev/null ||
	fail "There is no $python: install Python 3.11, or say where it is: make PYTHON=/path/to/python3.11"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
	fail "$("$python" --version) will not do: TensorFlow $version and Keras need 3.11 to 3.13; make PYTHON=python3.11"
made=$(.venv/bin/python -c 'import sys; print(sys.version)' 2>/dev/null || true)
[ "$made" = "$("$python" -c 'import sys; print(sys.version)')" ] || {
	echo "Python environment: making .venv with $("$python" --version)"
	"$python" -m venv --clear .venv ||
		fail "$python cannot make a virtual environment: on Debian and Ubuntu, apt install python3-venv; then run make again"
}
echo "Python environment: installing TensorFlow $version and Keras into .venv (about 1.6 GB, a minute or two)"
rm -f .venv/residual-*
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
	"tensorflow-cpu==$version" -r python_export/requirements.txt ||
	fail "pip could not install tensorflow-cpu $version: look at its message above; it needs a network (or an index of its own, PIP_INDEX_URL) and 2 GB of disk"
# TensorFlow Serving's client asks for a tensorflow that is not tensorflow-cpu.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "tensorflow-serving-api==$version" ||
	fail "pip could not install tensorflow-serving-api $version: look at its message above"
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd >"$site/residual.pth" # .venv's Python finds python_export from everywhere
ln -sfn "$site/tensorflow" .venv/tensorflow
[ -e .venv/tensorflow/libtensorflow_cc.so.2 ] ||
	fail ".venv/tensorflow has no libtensorflow_cc.so.2: this wheel of TensorFlow does not bring the C library; remove .venv and run make again"
touch "$stamp"

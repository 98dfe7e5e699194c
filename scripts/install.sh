#!/bin/sh
# Puts what residual needs to run under a prefix, as make install, make dist and the Dockerfile do.
#   scripts/install.sh --program FILE --to PREFIX       bin/residual, manual page, completions, licences
#   scripts/install.sh --library FOLDER --to PREFIX     TensorFlow's library from the folder site-packages of its
#                                                       wheel, and NVIDIA's if they are there
#   scripts/install.sh --model DIR --to PREFIX          the model that residual train takes by itself
set -eu
umask 022
here=$(cd "$(dirname "$0")/.." && pwd)

fail() {
	echo "install: $1" >&2
	exit 1
}

program='' library='' model='' to=''
while [ $# -gt 1 ]; do
	case $1 in
	--program) program=$2 ;;
	--library) library=$2 ;;
	--model) model=$2 ;;
	--to) to=$2 ;;
	*) fail "there is no $1" ;;
	esac
	shift 2
done
[ -n "$to" ] && [ -n "$program$library$model" ] && [ $# = 0 ] || fail "see the head of $0 for how it is called"
mkdir -p "$to"
to=$(cd "$to" && pwd)

if [ -n "$program" ]; then
	install -D -m 755 "$program" "$to/bin/residual.part"
	mv "$to/bin/residual.part" "$to/bin/residual" # whole, also where it runs
	program=$to/bin/residual
	install -d "$to/share/man/man1" "$to/share/bash-completion/completions" "$to/share/zsh/site-functions" \
		"$to/share/fish/vendor_completions.d"
	"$program" man >"$to/share/man/man1/residual.1"
	"$program" completion bash >"$to/share/bash-completion/completions/residual"
	"$program" completion zsh >"$to/share/zsh/site-functions/_residual"
	"$program" completion fish >"$to/share/fish/vendor_completions.d/residual.fish"
	"$here/scripts/licences.sh" --program "$to/share/doc/residual"
fi

if [ -n "$library" ]; then
	[ -e "$library/tensorflow/libtensorflow_cc.so.2" ] || fail "$library/tensorflow has no libtensorflow_cc.so.2"
	# TensorFlow looks for NVIDIA's libraries beside its own folder, as wheels lie: ../nvidia/*/lib.
	install -d "$to/lib/residual/tensorflow"
	for file in libtensorflow_cc.so.2 libtensorflow_framework.so.2; do
		strip --strip-unneeded -o "$to/lib/residual/tensorflow/$file.part" "$library/tensorflow/$file"
		chmod 755 "$to/lib/residual/tensorflow/$file.part"
		mv "$to/lib/residual/tensorflow/$file.part" "$to/lib/residual/tensorflow/$file"
	done
	if [ -d "$library/nvidia" ]; then
		(cd "$library" && find nvidia \( -path '*/lib/*.so*' -o -path '*/bin/ptxas' -o -path '*/nvvm/libdevice/*' \) -type f) |
			while read -r file; do
				install -D -m 755 "$library/$file" "$to/lib/residual/$file"
			done
	fi
	"$here/scripts/licences.sh" --library "$library" "$to/share/doc/residual"
fi

if [ -n "$model" ]; then
	[ -e "$model/saved_model.pb" ] || fail "$model is no SavedModel"
	rm -rf "$to/share/residual/model"
	install -d "$to/share/residual"
	cp -r "$model" "$to/share/residual/model"
fi

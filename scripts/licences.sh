#!/bin/sh
# Collects the licences of all that is shipped.
#   scripts/licences.sh --program DIR             residual's own, Go's, and those of the modules in it
#   scripts/licences.sh --library FOLDER DIR      TensorFlow's and NVIDIA's, from their wheels in site-packages
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "licences: $1" >&2
	exit 1
}

# copy FROM TO copies the files of a folder whose names are those of licences.
copy() {
	found=
	for file in "$1"/LICENSE* "$1"/LICENCE* "$1"/License* "$1"/COPYING* "$1"/NOTICE* "$1"/PATENTS* "$1"/COPYRIGHT* "$1"/AUTHORS*; do
		[ -f "$file" ] || continue
		install -D -m 644 "$file" "$2/$(basename "$file")"
		case $(basename "$file") in AUTHORS* | PATENTS*) ;; *) found=1 ;; esac
	done
	[ -n "$found" ] || fail "there is no licence in $1"
}

case ${1-} in
--program)
	to=$2
	install -D -m 644 LICENSE "$to/LICENSE"
	install -D -m 644 NOTICE "$to/NOTICE"
	copy "$(go env GOROOT)" "$to/licences/go"
	modules=$(go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cli/residual)
	echo "$modules" | sort -u | while read -r module folder; do
		[ -z "$module" ] || copy "$folder" "$to/licences/$module"
	done
	;;
--library)
	from=$2 to=$3
	for info in "$from"/tensorflow*.dist-info "$from"/nvidia_*.dist-info; do
		[ -d "$info" ] || continue
		name=$(basename "$info" .dist-info)
		files=$(cd "$info" && find . -type f \( -iname 'licen[sc]e*' -o -iname 'notice*' -o -iname 'copying*' \))
		case $name in
		tensorflow_serving*) continue ;; # not shipped
		tensorflow-2* | tensorflow_cpu-2*)
			# The wheel says no more than "License: Apache 2.0", which is this project's, too.
			grep -q '^License: Apache 2.0' "$info/METADATA" || fail "$info/METADATA does not say Apache 2.0"
			install -D -m 644 LICENSE "$to/licences/$name/LICENSE"
			;;
		*) [ -n "$files" ] || fail "there is no licence in $info" ;;
		esac
		for file in $files; do
			install -D -m 644 "$info/$file" "$to/licences/$name/$(basename "$file")"
		done
	done
	# Those of what TensorFlow is made of, which wheels have since 2.19 or so.
	notices=$from/tensorflow/THIRD_PARTY_NOTICES.txt
	if [ -e "$notices" ]; then
		install -D -m 644 "$notices" "$to/licences/tensorflow_third_party/THIRD_PARTY_NOTICES.txt"
	else
		echo "licences: there is no $notices" >&2
	fi
	;;
*) fail "see the head of $0 for how it is called" ;;
esac

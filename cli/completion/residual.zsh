#compdef residual
_residual() {
	local line word
	local -a found
	while IFS= read -r line; do
		if [[ $line == . ]]; then
			_files
		else
			word=${line%%$'\t'*}
			found+=("${word//:/\\:}:${line#*$'\t'}")
		fi
	done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
	(( $#found )) && _describe residual found
}
if [[ $funcstack[1] == _residual ]]; then
	_residual "$@" # as a file on the fpath
else
	compdef _residual residual
fi

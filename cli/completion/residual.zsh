#compdef residual
_residual() {
	local line word
	local -a found
	while IFS= read -r line; do
		if [[ $line == . ]]; then
			# Behind --flag= and name=, too.
			while [[ $PREFIX == *=* && ${PREFIX%%=*} != */* ]]; do compset -P 1 '*='; done
			_files
		else
			word=${line%%$'\t'*}
			found+=("${word//:/\\:}${line[$#word+1,-1]/$'\t'/:}")
		fi
	done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
	if (( $#found )); then _describe residual found; fi
}
if [[ $funcstack[1] == _residual ]]; then
	_residual "$@" # as a file on the fpath
elif (( $+functions[compdef] )); then
	compdef _residual residual
else
	print -u2 'residual: completion needs this first: autoload -U compinit; compinit'
fi

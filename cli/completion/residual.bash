# bash completion of residual
_residual() {
	local cur=$2 words line IFS=$'\n'
	words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
	# --flag=value is three words to bash, which is asked for as --flag value.
	[[ $cur == = ]] && cur=
	(( ${#words[@]} )) && [[ ${words[-1]} == = ]] && unset 'words[-1]'
	COMPREPLY=()
	while read -r line; do
		if [[ $line == . ]]; then
			COMPREPLY+=($(compgen -f -- "$cur"))
			compopt -o filenames
		else
			COMPREPLY+=("${line%%$'\t'*}")
		fi
	done < <("$1" __complete "${words[@]}" "$cur" 2>/dev/null)
}
complete -F _residual residual

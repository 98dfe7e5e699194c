# bash completion of residual
_residual() {
	local cur=$2 begun words line path IFS=$'\n'
	words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
	# What has an equals sign in it is three words to bash: --flag=value, which is asked
	# for as --flag value, and name=path.
	[[ $cur == = ]] && cur= && words+=(=)
	begun=$cur
	if (( ${#words[@]} > 1 )) && [[ ${words[-1]} == = ]]; then
		unset 'words[-1]'
		if [[ ${words[-1]} != -* ]]; then
			begun="${words[-1]}=$cur"
			unset 'words[-1]'
			[[ ${words[-1]} == = ]] && unset 'words[-1]'
		fi
	fi
	COMPREPLY=()
	while read -r line; do
		if [[ $line == . ]]; then
			while read -r path; do COMPREPLY+=("$path"); done < <(compgen -f -- "$cur")
			compopt -o filenames
		else
			COMPREPLY+=("${line%%$'\t'*}")
		fi
	done < <("$1" __complete "${words[@]}" "$begun" 2>/dev/null)
}
complete -F _residual residual

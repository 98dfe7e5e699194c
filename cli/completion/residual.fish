# fish completion of residual
function __residual_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
		if test "$line" = .
			__fish_complete_path (commandline -ct)
		else
			echo $line
		end
	end
end
complete -c residual -f -a '(__residual_complete)'

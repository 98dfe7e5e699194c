# fish completion of residual
function __residual_complete
	set -l words (commandline -opc)
	set -l token (commandline -ct)
	for line in ($words[1] __complete $words[2..-1] $token 2>/dev/null)
		if test "$line" = .
			# Behind --flag= or name=, too.
			set -l before (string match -r -- '^[^/]*=' $token)
			for path in (complete -C "'' "(string replace -r -- '^[^/]*=' '' $token))
				echo "$before$path"
			end
		else
			echo $line
		end
	end
end
complete -c residual -f -a '(__residual_complete)'

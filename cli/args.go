package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves a command's flags before its other arguments. The library
// stops reading flags at the first file name: without this, "predict cat.jpg
// --json" would look for a file called --json.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	commands, at := app.Commands, 1
	var command *cli.Command
	for at < len(args) {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[at]) })
		if i < 0 {
			break
		}
		command = commands[i]
		commands = command.Subcommands
		at++
	}
	if command == nil || len(command.Subcommands) > 0 || command.SkipFlagParsing {
		return args
	}
	flags, rest := splitFlags(command, args[at:])
	sorted := append(slices.Clone(args[:at]), flags...)
	if len(rest) > 0 {
		sorted = append(append(sorted, "--"), rest...)
	}
	return sorted
}

func splitFlags(command *cli.Command, args []string) (flags, rest []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return flags, append(rest, args[i+1:]...)
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		flags = append(flags, arg)
		if !takesValue(command, arg) {
			continue
		}
		if i++; i == len(args) {
			return flags, nil // the library says that its value is missing
		}
		flags = append(flags, args[i])
	}
	return flags, rest
}

// takesValue tells whether the argument after a flag belongs to it.
func takesValue(command *cli.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, flag := range command.Flags {
		if slices.Contains(flag.Names(), name) {
			if generic, ok := flag.(*cli.GenericFlag); ok {
				alone, ok := generic.Value.(interface{ IsBoolFlag() bool })
				return !ok || !alone.IsBoolFlag()
			}
			value, ok := flag.(cli.DocGenerationFlag)
			return ok && value.TakesValue()
		}
	}
	return false
}

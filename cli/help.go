package cli

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// A command's UsageText is its example.
const (
	commandHelp = `{{.HelpName}}: {{.Usage}}

USAGE
   {{.HelpName}} [options]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}

EXAMPLE
   {{.UsageText}}

OPTIONS{{range .VisibleFlags}}
   {{.}}{{end}}
`
	groupHelp = `{{.HelpName}}: {{.Usage}}

USAGE
   {{.HelpName}} COMMAND [options]

EXAMPLE
   {{.UsageText}}

COMMANDS{{range .VisibleCommands}}
   {{.Name}}{{"\t"}}{{.Usage}}{{end}}
`
	appHelp = `{{.Name}} {{.Version}}: {{.Usage}}

USAGE
   {{.Name}} COMMAND [options]

COMMANDS{{range .VisibleCommands}}
   {{.Name}}{{"\t"}}{{.Usage}}{{end}}

OPTIONS{{range .VisibleFlags}}
   {{.}}{{end}}

Each command has a --help of its own, with an example.
`
)

// flagText describes a flag for the help, in lines that fit into 80 columns
// beside the longest flag. That a switch is off by default goes without saying.
func flagText(describe cli.FlagStringFunc) cli.FlagStringFunc {
	const width = 48
	return func(flag cli.Flag) string {
		name, meaning, _ := strings.Cut(describe(flag), "\t")
		if generic, ok := flag.(*cli.GenericFlag); ok {
			if value, ok := generic.Value.(interface{ placeholder() string }); ok {
				name = strings.TrimSuffix(name, " value") + value.placeholder()
			}
		}
		meaning = strings.ReplaceAll(meaning, " (default: false)", "")
		return name + "\t" + strings.Join(wrap(meaning, width), "\n   \t")
	}
}

func init() { cli.FlagStringer = flagText(cli.FlagStringer) }

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

// flagText describes a flag for the help. That a switch is off by default goes
// without saying.
func flagText(describe cli.FlagStringFunc) cli.FlagStringFunc {
	return func(flag cli.Flag) string {
		return strings.ReplaceAll(describe(flag), " (default: false)", "")
	}
}

func init() { cli.FlagStringer = flagText(cli.FlagStringer) }

package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// usageError is a mistake in the command line.
type usageError struct {
	command string // as the user would type it, such as "residual train"
	text    string
}

func (e *usageError) Error() string { return e.text }

func usagef(c *cli.Context, format string, values ...any) error {
	return &usageError{command: c.Command.HelpName, text: fmt.Sprintf(format, values...)}
}

// wrongUsage is told of what the library could not parse.
func wrongUsage(c *cli.Context, err error, _ bool) error {
	name := c.App.Name
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return &usageError{command: name, text: usageText(c, err.Error())}
}

// The sentences of package flag about a command line.
var (
	unknownFlag  = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	missingValue = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	invalidValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([a-z-]+): (.*)$`)
)

// usageText says in this program's words what package flag found wrong.
func usageText(c *cli.Context, text string) string {
	if m := unknownFlag.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("there is no flag %q", "--"+m[1])
	}
	if m := missingValue.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("--%s needs a value", m[1])
	}
	m := invalidValue.FindStringSubmatch(text)
	switch {
	case m == nil:
		return text
	case strings.Contains(m[3], "out of range"):
		return fmt.Sprintf("--%s is out of range: %s", m[2], m[1])
	default:
		return fmt.Sprintf("--%s must be %s, not %s", m[2], kindOfFlag(c, m[2]), m[1])
	}
}

// kindOfFlag says what a flag of the command takes.
func kindOfFlag(c *cli.Context, name string) string {
	for _, flag := range c.Command.Flags {
		if !slices.Contains(flag.Names(), name) {
			continue
		}
		switch flag := flag.(type) {
		case *cli.IntFlag, *cli.Int64Flag:
			return "a whole number"
		case *cli.BoolFlag:
			return "true or false"
		case *cli.DurationFlag:
			return "a time (30s, 55m, 2h)"
		case *cli.GenericFlag:
			if value, ok := flag.Value.(interface{ kind() string }); ok {
				return value.kind()
			}
		}
	}
	return "a number"
}

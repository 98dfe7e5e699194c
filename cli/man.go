package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func manCommand() *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "print the manual page",
		UsageText: "residual man | man -l -",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return printLine(c, "%s", strings.TrimSuffix(manual(c.App), "\n"))
		},
	}
}

// manual is residual(1), in the language of man(7).
func manual(app *cli.App) string {
	var page strings.Builder
	line := func(format string, values ...any) { fmt.Fprintf(&page, format+"\n", values...) }
	line(`.TH RESIDUAL 1 "" "residual %s"`, roff(Version))
	line(".SH NAME\n%s \\- %s", roff(app.Name), roff(app.Usage))
	line(".SH SYNOPSIS\n.B %s\n.I COMMAND\n[options]", roff(app.Name))
	line(".SH DESCRIPTION\n%s", roff(manDescription))
	line(".SH COMMANDS")
	for _, command := range app.Commands {
		manCommandSection(line, app.Name, command)
	}
	line(".SH EXIT STATUS")
	for _, status := range manStatus {
		line(".TP\n.B %s\n%s", status[0], roff(status[1]))
	}
	line(".SH ENVIRONMENT")
	for _, variable := range manEnvironment {
		line(".TP\n.B %s\n%s", roff(variable[0]), roff(variable[1]))
	}
	return page.String()
}

const manDescription = `A Keras model is exported once, from Python, as a SavedModel that carries its own training step. All else is done by this ` +
	`program through TensorFlow's C library: training, evaluation, predictions, serving. Results go to standard output, progress and errors to ` +
	`standard error; with --json the last line on standard output is one JSON object.`

var manStatus = [][2]string{
	{"0", "success"},
	{"1", "failure"},
	{"2", "wrong usage"},
	{"75", "train: --max-time was over, a download failed, or another process trains in the run; start it again with --resume"},
	{"129, 130, 143", "ended by SIGHUP, SIGINT or SIGTERM"},
	{"134", "a crash"},
	{"141", "what read its output has ended (SIGPIPE)"},
}

var manEnvironment = [][2]string{
	{"RESIDUAL_TENSORFLOW", "TensorFlow's C library: the file, or the folder that holds it"},
	{"RESIDUAL_PYTHON", "the Python that residual export calls"},
	{"XDG_CACHE_HOME", "the folder residual in it, or in ~/.cache, keeps CIFAR-10 and features"},
	{"CUDA_VISIBLE_DEVICES", "the GPUs that may be used, see CUDA"},
}

// manCommandSection describes a command, or those in a group.
func manCommandSection(line func(string, ...any), path string, command *cli.Command) {
	if command.Hidden {
		return
	}
	path += " " + command.Name
	if len(command.Subcommands) > 0 {
		for _, sub := range command.Subcommands {
			manCommandSection(line, path, sub)
		}
		return
	}
	usage := command.Usage
	if command.ArgsUsage != "" {
		path += " " + command.ArgsUsage
	}
	line(".SS %s\n%s", roff(path), roff(strings.ToUpper(usage[:1])+usage[1:]+"."))
	line(".PP\nExample:\n.PP\n.RS\n.nf\n%s\n.fi\n.RE", roff(command.UsageText))
	for _, flag := range command.VisibleFlags() {
		if slices.Contains(flag.Names(), "help") {
			continue
		}
		// As in --help, which has a tab between the flag and what it does.
		name, meaning, _ := strings.Cut(strings.Join(strings.Fields(strings.ReplaceAll(flag.String(), "\t", "\x00")), " "), "\x00")
		line(".TP\n.B %s\n%s", roff(strings.TrimSpace(name)), roff(strings.Join(strings.Fields(strings.ReplaceAll(meaning, "\x00", " ")), " ")))
	}
}

// roff writes text so that man(7) takes none of it as its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

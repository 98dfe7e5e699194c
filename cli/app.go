// Package cli is residual's command line.
//
// # Basics
//
// Main runs one command and returns its exit code: 0 for success, 1 for a
// failure, 2 for wrong usage, 75 for what another start may mend (--max-time was
// over, another process trains in the run, the network failed), 130 or 143 after a
// signal. Each command has a file of its own, named after it. Results go to
// standard output, progress and errors to standard error; with --json the last
// line on standard output is one JSON object.
//
// # Caveats
//
// The first SIGINT or SIGTERM ends a command in good order, the second at once.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// Main runs the program with its arguments (the first is its name), and returns
// the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := withSignals(context.Background())
	defer stop()
	out := &output{Writer: stdout}
	app := newApp(out, stderr)
	err := app.RunContext(ctx, flagsFirst(app, args))
	if err == nil && out.err != nil { // the library drops what help could not write
		err = fmt.Errorf("write result: %w", out.err)
	}
	if err == nil {
		return exitOK
	}
	var silent silentExit
	if errors.Is(err, syscall.EPIPE) { // as `residual inspect | head` ends it
		return exitSignal + int(syscall.SIGPIPE)
	}
	if !errors.As(err, &silent) {
		fmt.Fprintf(stderr, "residual: %s\n", describe(ctx, err))
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(stderr, "try: %s --help\n", usage.command)
	}
	return exitCode(ctx, err)
}

// output keeps the first error of writing to it.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(data []byte) (int, error) {
	n, err := o.Writer.Write(data)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func newApp(stdout, stderr io.Writer) *cli.App {
	cli.VersionPrinter = printVersion
	app := &cli.App{
		Name:                  "residual",
		Usage:                 "train, evaluate and serve TensorFlow image classifiers",
		CustomAppHelpTemplate: appHelp,
		Version:               version(),
		Writer:                stdout,
		ErrWriter:             stderr,
		Commands: []*cli.Command{
			exportCommand(),
			trainCommand(),
			evaluateCommand(),
			predictCommand(),
			serveCommand(),
			summaryCommand(),
			inspectCommand(),
			plotCommand(),
			dataCommand(),
			checkpointsCommand(),
			benchCommand(),
			doctorCommand(),
			completionCommand(),
			manCommand(),
			completeCommand(),
			foldLogCommand(),
		},
		Action:          func(c *cli.Context) error { return noCommand(c, c.App.Name) },
		OnUsageError:    wrongUsage,
		ExitErrHandler:  func(*cli.Context, error) {}, // Main reports errors
		HideHelpCommand: true,
	}
	prepare(app.Commands)
	return app
}

// prepare gives all commands what they share.
func prepare(commands []*cli.Command) {
	for _, command := range commands {
		command.HideHelpCommand = true
		command.OnUsageError = wrongUsage
		command.CustomHelpTemplate = commandHelp
		withDebug(command)
		if len(command.Subcommands) > 0 {
			command.CustomHelpTemplate = groupHelp
			command.Action = func(c *cli.Context) error { return noCommand(c, c.Command.HelpName) }
			prepare(command.Subcommands)
		}
	}
}

// noCommand answers where a command's name was expected.
func noCommand(c *cli.Context, name string) error {
	if c.Args().First() == "help" { // as other programs have it
		return c.App.RunContext(c.Context, slices.Concat(strings.Fields(name), c.Args().Tail(), []string{"--help"}))
	}
	if c.Args().Present() {
		return &usageError{command: name, text: fmt.Sprintf("there is no command %q", c.Args().First())}
	}
	if name == c.App.Name {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}

// printJSON writes a value as one line.
func printJSON(c *cli.Context, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return printLine(c, "%s", line)
}

// printLine writes a line of results. A full disk or a closed pipe is an error.
func printLine(c *cli.Context, format string, values ...any) error {
	if _, err := fmt.Fprintf(c.App.Writer, format+"\n", values...); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// note writes a line for the person who waits, unless --quiet asks for results
// only.
func note(c *cli.Context, format string, values ...any) {
	if !c.Bool(quietFlag.Name) {
		fmt.Fprintf(c.App.ErrWriter, format+"\n", values...)
	}
}

// warn writes a line also with --quiet. On a terminal it takes the place of the
// progress bar, which comes again.
func warn(c *cli.Context, format string, values ...any) {
	begin := ""
	if file, ok := c.App.ErrWriter.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		begin = "\r\x1b[K"
	}
	fmt.Fprintf(c.App.ErrWriter, "%sresidual: warning: %s\n", begin, oneLine(fmt.Sprintf(format, values...)))
}

// oneLine puts the lines of an error that has several behind each other.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

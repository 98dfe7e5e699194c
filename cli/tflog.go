package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/tfgo"
)

// debugFlag is that of commands that call TensorFlow; serve's has more to show.
var debugFlag = &cli.BoolFlag{Name: debugName, Usage: "show TensorFlow's own log"}

// foldLogCommand reads a log on standard input and writes it on standard error, with
// TensorFlow's lines as this program's own. It is a process of its own, so that what
// TensorFlow says before it ends the process is not lost.
func foldLogCommand() *cli.Command {
	return &cli.Command{
		Name:   "__fold-log",
		Hidden: true,
		Flags:  []cli.Flag{&cli.StringFlag{Name: logFormatName}},
		Action: func(c *cli.Context) error {
			write := func(l tensorflowLine) {
				fmt.Fprintf(c.App.ErrWriter, "tensorflow: %s: %s (%s)\n", l.severity, l.text, l.source)
			}
			if c.String(logFormatName) != "" {
				log, _, err := serveLog(c)
				if err != nil {
					return err
				}
				write = func(l tensorflowLine) {
					log.Log(c.Context, levels[l.severity], "tensorflow", "severity", l.severity, "text", l.text, "source", l.source)
				}
			}
			return foldLog(os.Stdin, c.App.ErrWriter, write)
		},
	}
}

// tensorflowLine is a line of TensorFlow's log.
type tensorflowLine struct{ severity, source, text string }

// The two forms of such lines: that of absl's log, and that of TensorFlow's own before.
var (
	abslLine = regexp.MustCompile(`^([IWEF])\d{4} \d\d:\d\d:[\d.]+ +\d+ ([\w./-]+:\d+)\] (.*)$`)
	tslLine  = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: ([IWEF]) ([\w./-]+:\d+)\] (.*)$`)
)

var severities = map[string]string{"I": "info", "W": "warning", "E": "error", "F": "fatal"}

var levels = map[string]slog.Level{"info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError, "fatal": slog.LevelError}

// parseTensorFlow returns false for lines of others.
func parseTensorFlow(line string) (tensorflowLine, bool) {
	for _, form := range []*regexp.Regexp{abslLine, tslLine} {
		if found := form.FindStringSubmatch(line); found != nil {
			return tensorflowLine{severities[found[1]], found[2], found[3]}, true
		}
	}
	return tensorflowLine{}, false
}

// foldLog hands TensorFlow's lines over and passes on all else as it comes.
func foldLog(from io.Reader, to io.Writer, write func(tensorflowLine)) error {
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadString('\n')
		line := strings.TrimSuffix(text, "\n")
		if found, ok := parseTensorFlow(line); ok {
			write(found)
		} else if !strings.HasPrefix(line, "WARNING: All log messages before absl") {
			if _, err := io.WriteString(to, text); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// showLog is for commands with --debug: TensorFlow logs, and from now on until it is
// called what is returned, this process's standard error goes through __fold-log.
func showLog(format string) (end func(), err error) {
	if _, set := os.LookupEnv(tfgo.LogLevelVariable); !set {
		os.Setenv(tfgo.LogLevelVariable, "0")
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("show TensorFlow's log: %w", err)
	}
	defer to.Close()
	defer from.Close()
	folder := exec.Command("/proc/self/exe", "__fold-log", "--"+logFormatName, format)
	folder.Stdin, folder.Stderr = from, os.Stderr
	folder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it: it ends when all is written
	if err := folder.Start(); err != nil {
		return nil, fmt.Errorf("show TensorFlow's log: %w", err)
	}
	const stderr = 2
	saved, err := unix.FcntlInt(stderr, unix.F_DUPFD_CLOEXEC, stderr+1)
	if err == nil {
		err = unix.Dup3(int(to.Fd()), stderr, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("show TensorFlow's log: %w", err), folder.Process.Kill())
	}
	original := os.NewFile(uintptr(saved), "stderr")
	return func() {
		_ = unix.Dup3(saved, stderr, 0)
		_ = original.Close()
		_ = folder.Wait()
	}, nil
}

// withDebug lets a command that has --debug show TensorFlow's log.
func withDebug(command *cli.Command) {
	for _, flag := range command.Flags {
		if flag.Names()[0] != debugName {
			continue
		}
		end := func() {}
		command.Before = func(c *cli.Context) error {
			if format := c.String(logFormatName); c.Bool(debugName) && slices.Contains([]string{"", "text", "json"}, format) {
				shown, err := showLog(format)
				if err != nil {
					return err
				}
				end = shown
			}
			return nil
		}
		command.After = func(*cli.Context) error {
			end()
			return nil
		}
	}
}

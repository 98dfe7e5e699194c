package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/pipeline/dataset"
)

// The exit codes that scripts may rely on. After a signal it is 128 and the
// signal's number.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitAgain   = 75 // EX_TEMPFAIL of sysexits.h: start it again
	exitSignal  = 128
)

// signalError is the cause of a context that a signal cancelled.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string {
	switch e.signal {
	case syscall.SIGINT:
		return "interrupted"
	case syscall.SIGHUP:
		return "the terminal was closed"
	default:
		return "terminated"
	}
}

// withSignals returns a context that the first SIGINT, SIGTERM or SIGHUP cancels.
// The second one ends the process.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	// A reader that has gone away makes writing an error instead of ending the
	// process: a run whose log is no longer read goes on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup wants it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		for received := range signals {
			number := received.(syscall.Signal)
			if ctx.Err() != nil {
				os.Exit(exitSignal + int(number))
			}
			cancel(signalError{number})
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}

// errMaxTime is the cause of a context whose --max-time is over.
var errMaxTime = errors.New("--max-time was over")

// withMaxTime ends the command's context after --max-time, if that is given.
func withMaxTime(c *cli.Context) (stop func(), err error) {
	if !c.IsSet(maxTimeName) {
		return func() {}, nil
	}
	limit := c.Duration(maxTimeName)
	if limit <= 0 {
		return nil, usagef(c, "--%s must be a positive time, not %v", maxTimeName, limit)
	}
	c.Context, stop = context.WithTimeoutCause(c.Context, limit, errMaxTime)
	return stop, nil
}

// isStop tells whether an error says that a command was told to end: by a signal
// or by --max-time.
func isStop(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// onSignal sends a value whenever a signal comes, until stop is called. Signals
// that come while a value waits to be taken are one with it.
func onSignal(which os.Signal) (came <-chan struct{}, stop func()) {
	signals, values := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, which)
	go func() {
		for range signals {
			select {
			case values <- struct{}{}:
			default:
			}
		}
	}()
	return values, func() {
		signal.Stop(signals)
		close(signals)
	}
}

func exitCode(ctx context.Context, err error) int {
	var (
		usage   *usageError
		caught  signalError
		silent  silentExit
		stopped *stoppedError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &stopped) && stopped.cause == errMaxTime,
		errors.Is(err, dataset.ErrNetwork), errors.Is(err, disk.ErrLocked):
		return exitAgain
	case errors.As(err, &caught), errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &caught): // net/http gives the cause
		return exitSignal + int(caught.signal)
	case errors.As(err, &silent):
		return int(silent)
	default:
		return exitFailure
	}
}

// silentExit is the exit code of a command that has said what was wrong itself.
type silentExit int

func (e silentExit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// describe tells of an error in one line, with what happened in place of
// "context canceled".
func describe(ctx context.Context, err error) string {
	var stopped *stoppedError
	switch {
	case errors.As(err, &stopped):
		return stopped.Error()
	case errors.Is(err, context.Canceled) && context.Cause(ctx) != nil:
		return context.Cause(ctx).Error()
	}
	return oneLine(err.Error())
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// pythonVariable names the Python that has TensorFlow and Keras.
const pythonVariable = "RESIDUAL_PYTHON"

// findPython returns the Python of the checkout that this program was built in,
// else RESIDUAL_PYTHON, and the folder that holds python_export.
func findPython() (python, root string, err error) {
	root, inCheckout := checkout()
	if inCheckout {
		python = filepath.Join(root, ".venv", "bin", "python")
		if _, err := os.Stat(python); err == nil {
			return python, root, nil
		}
	}
	if python = os.Getenv(pythonVariable); python != "" {
		if _, err := exec.LookPath(python); err != nil {
			return "", "", fmt.Errorf("find Python: %s is %q: %w", pythonVariable, python, err)
		}
		return python, root, nil
	}
	if inCheckout {
		return "", "", fmt.Errorf("find Python: %s has no .venv: run `make build` there, or set %s to a Python with TensorFlow and Keras", root, pythonVariable)
	}
	return "", "", fmt.Errorf("find Python: this program is not in a checkout of residual (bin/residual beside python_export): "+
		"set %s to a Python that has the package python_export", pythonVariable)
}

// programRoot returns the folder above the program's: a checkout, or the prefix that
// it is installed under.
func programRoot() (string, bool) {
	program, err := os.Executable()
	if err != nil {
		return "", false
	}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	return filepath.Dir(filepath.Dir(program)), true
}

// checkout returns the folder above the program's, if it is residual's source.
func checkout() (string, bool) {
	root, ok := programRoot()
	if !ok {
		return "", false
	}
	if _, err := os.Stat(filepath.Join(root, "python_export", "__main__.py")); err != nil {
		return "", false
	}
	return root, true
}

// runPython runs Python in the user's directory. A signal is passed on, so that
// Python can clean up.
func runPython(c *cli.Context, python, root string, args []string) error {
	command := exec.CommandContext(c.Context, python, args...)
	command.Stdout, command.Stderr = c.App.Writer, c.App.ErrWriter
	if out, ok := c.App.Writer.(*output); ok {
		command.Stdout = out.Writer // a file goes to Python as it is
	}
	// In a group of its own, so that Ctrl-C reaches it once, not twice: the
	// second would end its cleaning up.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // which Pdeathsig watches
	defer runtime.UnlockOSThread()
	command.Env = append(os.Environ(), "PYTHONSAFEPATH=1") // not the user's directory, whatever is in it
	if root != "" {
		path := root
		for _, part := range filepath.SplitList(os.Getenv("PYTHONPATH")) {
			if part != "" { // it would stand for the user's directory
				path += string(os.PathListSeparator) + part
			}
		}
		command.Env = append(command.Env, "PYTHONPATH="+path)
	}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = time.Minute
	err := command.Run()
	var exit *exec.ExitError
	switch {
	case c.Context.Err() != nil:
		return context.Canceled
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return fmt.Errorf("run Python: %w (was there not enough memory?)", err)
	case errors.As(err, &exit):
		return silentExit(exit.ExitCode())
	case err != nil:
		return fmt.Errorf("run %s: %w", python, err)
	}
	return nil
}

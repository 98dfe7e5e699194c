package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// pythonVariable names the Python that has TensorFlow and Keras.
const pythonVariable = "RESIDUAL_PYTHON"

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "make a model in Python (Keras), once; all else is Go",
		UsageText: "residual export --out models/resnet50",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "the directory to make: `DIR`"},
			&cli.StringFlag{Name: "recipe", Usage: "the published system to follow: `NAME`", DefaultText: "keras"},
			&cli.IntFlag{Name: "upsample", Usage: "enlarge the images `N` times, 1 to 16", DefaultText: "7"},
			&cli.StringFlag{Name: "classes", Usage: "how many, or their names in label order: `N|NAME,NAME,...`", DefaultText: "CIFAR-10's ten"},
			&cli.IntFlag{Name: "image-size", Usage: "height and width of the images in pixels: `N`", DefaultText: "32"},
			&cli.StringFlag{Name: "weights", Usage: "random, imagenet, or a .keras, .h5 or .npz file: `W`", DefaultText: "random"},
			&cli.Int64Flag{Name: "seed", Usage: "of the random weights: `N`", DefaultText: "0"},
			&cli.StringFlag{Name: "batch-norm", Usage: "`KIND` is fused, which is faster, or keras, the stock layers", DefaultText: "fused"},
			&cli.StringFlag{Name: "save-keras", Usage: "also write the stock Keras model: `FILE`.keras"},
			jsonFlag,
		},
		Action: export,
	}
}

// export runs python_export with the flags that were given; Python knows the
// defaults and checks the values.
func export(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.String("out") == "" {
		return usagef(c, "--out is missing: it is the directory to make")
	}
	python, root, err := findPython()
	if err != nil {
		return err
	}
	args := []string{"-m", "python_export", "export"}
	for _, flag := range c.Command.Flags {
		name := flag.Names()[0]
		switch {
		case name == "help" || !c.IsSet(name):
		case name == jsonFlag.Name:
			args = append(args, "--json")
		default:
			args = append(args, fmt.Sprintf("--%s=%v", name, c.Value(name)))
		}
	}
	return runPython(c, python, root, args)
}

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

// checkout returns the folder above the program's, if it is residual's source.
func checkout() (string, bool) {
	program, err := os.Executable()
	if err != nil {
		return "", false
	}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	root := filepath.Dir(filepath.Dir(program))
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
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Env = append(os.Environ(), "PYTHONSAFEPATH=1") // not the user's directory, whatever is in it
	if root != "" {
		command.Env = append(command.Env, "PYTHONPATH="+root+string(os.PathListSeparator)+os.Getenv("PYTHONPATH"))
	}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = time.Minute
	err := command.Run()
	var exit *exec.ExitError
	switch {
	case c.Context.Err() != nil:
		return context.Canceled
	case errors.As(err, &exit):
		return silentExit(exit.ExitCode())
	case err != nil:
		return fmt.Errorf("run %s: %w", python, err)
	}
	return nil
}

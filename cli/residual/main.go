// Command residual trains, evaluates and asks TensorFlow image classifiers.
package main

import (
	"os"
	"runtime/debug"

	"github.com/residual-go/residual/cli"
)

func main() {
	if os.Getpid() == 1 {
		if code, ok := runAsInit(); ok {
			os.Exit(code)
		}
	}
	// A crash, also of TensorFlow's, ends by SIGABRT (134 in containers). Go's own exit
	// code of it is 2, which is wrong usage here: a job queue would not try again.
	debug.SetTraceback("crash")
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
}

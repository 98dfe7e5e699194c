// Command residual trains, evaluates and asks TensorFlow image classifiers.
package main

import (
	"os"

	"github.com/residual-go/residual/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
}

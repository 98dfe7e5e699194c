package cli

import (
	"bytes"
	"io"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestMeterIsSilentIfQuiet(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		var stderr bytes.Buffer
		app := &cli.App{Flags: []cli.Flag{quietFlag}, ErrWriter: &stderr, Action: func(c *cli.Context) error {
			if want := map[bool]io.Writer{false: &stderr, true: io.Discard}[quiet]; newMeter(c).Out != want {
				t.Errorf("with quiet %v it writes to %T", quiet, newMeter(c).Out)
			}
			return nil
		}}
		args := []string{"residual"}
		if quiet {
			args = append(args, "--quiet")
		}
		if err := app.Run(args); err != nil {
			t.Fatal(err)
		}
	}
}

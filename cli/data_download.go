package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
)

func download(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	meter := newMeter(c)
	dir, err := dataset.Download(c.Context, c.String("cache"), meter.show)
	meter.Close()
	if err != nil {
		return err
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"path": dir})
	}
	return printLine(c, "CIFAR-10 is in %s", dir)
}

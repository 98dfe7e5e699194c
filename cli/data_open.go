package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/savedmodel"
)

// openData opens --data for a model, telling the user what takes long.
func openData(c *cli.Context, info *savedmodel.Info, splits dataset.Splits) (*dataset.Data, error) {
	shape, err := imageShape(info)
	if err != nil {
		return nil, err
	}
	return readData(c, dataset.Options{
		Classes: info.Metadata.Classes,
		Shape:   shape,
		Splits:  splits,
		Limit:   c.Int(limitFlag.Name),
	})
}

func readData(c *cli.Context, o dataset.Options) (*dataset.Data, error) {
	if err := positive(c, limitFlag.Name); err != nil {
		return nil, err
	}
	meter := newMeter(c)
	o.Progress = meter.show
	data, err := dataset.Open(c.Context, c.String(dataFlag.Name), o)
	meter.Close()
	if err != nil {
		return nil, err
	}
	if n := len(data.Ignored); n > 0 {
		note(c, "ignored %s without a JPEG's or PNG's name, such as %s", formatNumber(n, "file"), data.Ignored[0])
	}
	return data, nil
}

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
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
	meter.clear()
	if err != nil {
		return nil, err
	}
	if n := len(data.Ignored); n > 0 {
		note(c, "ignored %d files that are not JPEG or PNG, such as %s", n, data.Ignored[0])
	}
	return data, nil
}

// imageShape returns the size of the model's images, having checked that they
// are made as this program makes them.
func imageShape(info *savedmodel.Info) (imagefile.Shape, error) {
	m := info.Metadata
	shape := imagefile.Shape{Height: m.Image.Height, Width: m.Image.Width, Channels: m.Image.Channels}
	if len(m.Classes) == 0 || shape == (imagefile.Shape{}) {
		return shape, fmt.Errorf("read model: %s says neither its classes nor the size of its images (assets.extra/residual.json)", info.Dir)
	}
	if err := shape.Check(); err != nil {
		return shape, fmt.Errorf("read model: %s: %w", info.Dir, err)
	}
	if m.Resize != (savedmodel.Resize{}) && m.Resize != (savedmodel.Resize{Rule: imagefile.Rule, Interpolation: imagefile.Interpolation}) {
		return shape, fmt.Errorf("read model: %s wants images resized by %q with %q, this program does %q with %q",
			info.Dir, m.Resize.Rule, m.Resize.Interpolation, imagefile.Rule, imagefile.Interpolation)
	}
	return shape, nil
}

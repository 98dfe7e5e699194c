package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/savedmodel"
)

const holdDataName = "hold-data"

// The values of --hold-data.
const (
	holdAuto = "auto"
	holdOn   = "on"
	holdOff  = "off"
)

var holdDataValues = []string{holdAuto, holdOn, holdOff}

var holdDataFlag = &cli.StringFlag{
	Name:  holdDataName,
	Usage: "copy the training data to the device once, and take several short steps at a time: `WHEN` is on, off, or auto, which is on for GPUs and with --freeze, up to 1 GiB, and in a resumed run what it was",
	Value: holdAuto,
}

// largestHeld is how many bytes of training data are held without being asked for: as
// many as dataset.Options keeps in memory.
const largestHeld = 1 << 30

// heldSignatures are the functions that may run on held data, which must be known before
// the model is opened.
func (t *training) heldSignatures(c *cli.Context) []string {
	switch value := c.String(holdDataName); {
	case value == holdOff || value == holdAuto && !c.IsSet(freezeName) && !mayUseGPU(t.session.Target):
		return nil
	case c.IsSet(freezeName):
		return []string{features.TrainSignature}
	default:
		return []string{t.options.Signature()}
	}
}

// holdable is data that can be held.
type holdable interface {
	pipeline.Whole
	Size() int64 // of the images, bytes
}

var (
	_ holdable        = (*dataset.Examples)(nil)
	_ holdable        = (*features.Rows)(nil)
	_ pipeline.Holder = (*savedmodel.Model)(nil)
)

// holdsData decides whether the run's data are held.
func (t *training) holdsData(c *cli.Context, model *savedmodel.Model, data holdable) (bool, error) {
	if len(t.session.Held) == 0 {
		return false, nil
	}
	wanted, err := c.String(holdDataName) == holdOn, model.Holds(t.session.Held[0])
	helps := model.OnGPU() || c.IsSet(freezeName)
	switch {
	case wanted && err != nil && t.site.before != nil && t.site.before.HoldData:
		return false, fmt.Errorf("go on with %s, whose training data are held: %w; with --%s --%s %s they are fed", t.site.dir, err, overrideName, holdDataName, holdOff)
	case wanted && err != nil:
		return false, fmt.Errorf("--%s %s: %w", holdDataName, holdOn, err)
	case err != nil && helps:
		note(c, "the training data are not held: %v", err)
		return false, nil
	case !wanted && (!helps || data.Size() > largestHeld):
		return false, nil
	}
	where := "into TensorFlow's memory"
	if model.OnGPU() {
		where = "to the GPU"
	}
	note(c, "the training data are copied %s: %s", where, formatBytes(data.Size()))
	return true, nil
}

// holdText is a run's setting as the flag has it.
func holdText(hold bool) string {
	if hold {
		return holdOn
	}
	return holdOff
}

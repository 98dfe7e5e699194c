package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo"
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
	Usage: "hold the training data in the memory of what computes, and take several short steps at a time: `H` is on, off, or auto: on GPUs and with --freeze, up to 1 GiB",
	Value: holdAuto,
}

// largestHeld is how many bytes of training data are held without being asked for: as
// many as dataset.Options keeps in memory.
const largestHeld = 1 << 30

func checkHoldData(c *cli.Context) error {
	if value := c.String(holdDataName); !slices.Contains(holdDataValues, value) {
		return usagef(c, "--%s must be one of %s, not %q", holdDataName, strings.Join(holdDataValues, ", "), value)
	}
	return nil
}

// held are the functions that may run on held data, which must be known before the
// model is opened.
func (t *training) held(c *cli.Context) []string {
	built, err := tfgo.BuiltForGPUs()
	mayUseGPU := err == nil && built && t.session.Target.Device != tfgo.CPUDevice
	switch value := c.String(holdDataName); {
	case value == holdOff || value == holdAuto && !mayUseGPU && !c.IsSet(freezeName):
		return nil
	case c.IsSet(freezeName):
		return []string{features.TrainSignature}
	default:
		return []string{t.options.Signature()}
	}
}

// holds decides whether the data of a run that begins are held. One that goes on does
// as it began: whether they are can be seen in the last bits.
func (t *training) holds(c *cli.Context, model *savedmodel.Model, data pipeline.Data) bool {
	whole, ok := data.(pipeline.Whole)
	helps := model.OnGPU() || c.IsSet(freezeName)
	hold := c.String(holdDataName) == holdOn || c.String(holdDataName) == holdAuto && helps && ok && whole.Size() <= largestHeld
	if hold && ok {
		where := "in memory"
		if model.OnGPU() {
			where = "on the GPU"
		}
		note(c, "the training data are held %s: %s", where, formatBytes(whole.Size()))
	}
	return hold
}

// holdText is a run's setting as the flag has it.
func holdText(hold bool) string {
	if hold {
		return holdOn
	}
	return holdOff
}

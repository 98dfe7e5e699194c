package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo/tensor"
)

// largestSide bounds the images that a network sees, in pixels, as python_export
// does: a single larger one takes gigabytes.
const largestSide = 4096

// describeSteps says what a step or an epoch is where it is not what it is called.
func describeSteps(c *cli.Context, info *savedmodel.Info, o pipeline.Options) {
	if o.Accumulate > 1 {
		note(c, "a step is %d batches of %d: %d images", o.Accumulate, o.BatchSize, o.Accumulate*o.BatchSize)
	}
	if len(o.UpsampleSchedule) == 0 {
		return
	}
	var sizes []string
	for _, factor := range o.UpsampleSchedule {
		sizes = append(sizes, fmt.Sprintf("%dx%d", info.Metadata.Image.Width*factor, info.Metadata.Image.Height*factor))
	}
	note(c, "%s, at %s in turn; tests are at the model's own size", formatNumber(o.Epochs, "epoch"), strings.Join(sizes, ", "))
}

// checkAccumulation refuses --accumulate and --upsample-schedule where the model
// has no signature for them, and a schedule that the run has no place for.
func checkAccumulation(c *cli.Context, info *savedmodel.Info) error {
	schedule := *factorsOf(c)
	if c.Int(accumulateName) == 1 && len(schedule) == 0 {
		return nil
	}
	signature, ok := info.Signature(pipeline.AccumulateSignature)
	if !ok {
		return fmt.Errorf("%s has no %q signature, which --%s and --%s need: export it again with `residual export`",
			info.Dir, pipeline.AccumulateSignature, accumulateName, upsampleScheduleName)
	}
	if len(schedule) == 0 {
		return nil
	}
	epochs := pipeline.Options{Epochs: cmp.Or(c.Int(epochsName), info.Metadata.Defaults.Epochs)}.WithDefaults().Epochs
	if len(schedule) > epochs {
		return usagef(c, "--%s %s has %d factors for %s, expected at most one for each",
			upsampleScheduleName, factorsOf(c), len(schedule), formatNumber(epochs, "epoch"))
	}
	image := info.Metadata.Image
	if side := slices.Max(schedule) * max(image.Height, image.Width); side > largestSide {
		return usagef(c, "--%s %s makes images of %d pixels a side, expected at most %d", upsampleScheduleName, factorsOf(c), side, largestSide)
	}
	if _, ok := tensor.Find(signature.Inputs, pipeline.UpsampleInput); !ok {
		return fmt.Errorf("%s enlarges images by its own factor only: --%s needs one UpSampling2D right after the input, and layers that take any size",
			info.Dir, upsampleScheduleName)
	}
	return nil
}

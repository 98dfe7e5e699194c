package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo/tensor"
)

const topName = "top"

func predictCommand() *cli.Command {
	return &cli.Command{
		Name:      "predict",
		Usage:     "say what is on images",
		UsageText: "residual predict --model runs/first cat.jpg dog.png",
		ArgsUsage: "IMAGE...",
		Flags: []cli.Flag{
			modelFlag,
			&cli.IntFlag{Name: topName, Usage: "the `K` most probable classes", Value: 5},
			precisionFlag, threadsFlag, quietFlag, jsonFlag,
		},
		Action: predict,
	}
}

// predictBatch is how many images are asked about at once: enough to keep the
// cores busy, few enough for any machine.
const predictBatch = 32

// prediction is what --json prints of an image.
type prediction struct {
	Path string           `json:"path"` // as given
	Top  []pipeline.Guess `json:"top"`  // best first
}

func predict(c *cli.Context) error {
	paths := c.Args().Slice()
	if len(paths) == 0 {
		return usagef(c, "no image was given: predict wants JPEG or PNG files")
	}
	if c.Int(topName) < 1 {
		return usagef(c, "--%s must be at least 1, not %d", topName, c.Int(topName))
	}
	info, session, err := inspectModel(c, pipeline.PredictSignature)
	if err != nil {
		return err
	}
	shape, err := imageShape(info)
	if err != nil {
		return err
	}
	pixels, err := readImages(paths, shape)
	if err != nil {
		return err
	}
	model, err := savedmodel.Open(info.Dir, session)
	if err != nil {
		return err
	}
	defer model.Close()
	predictions, err := ask(c, model, paths, pixels, shape)
	if err != nil {
		return err
	}
	return reportPredictions(c, predictions)
}

// readImages reads all images before the model is loaded: a wrong file is told
// of at once.
func readImages(paths []string, shape imagefile.Shape) ([]byte, error) {
	pixels := make([]byte, len(paths)*shape.Size())
	for i, path := range paths {
		img, err := imagefile.Read(path)
		if err != nil {
			return nil, err
		}
		if err := imagefile.Fit(img, shape, pixels[i*shape.Size():][:shape.Size()]); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return pixels, nil
}

func ask(c *cli.Context, model *savedmodel.Model, paths []string, pixels []byte, shape imagefile.Shape) ([]prediction, error) {
	classes := model.Info().Metadata.Classes
	predictions := make([]prediction, 0, len(paths))
	for batch := range slices.Chunk(pixels, predictBatch*shape.Size()) {
		images, err := tensor.Of(batch, len(batch)/shape.Size(), shape.Height, shape.Width, shape.Channels)
		if err != nil {
			return nil, err
		}
		probabilities, err := pipeline.Predict(c.Context, model, images)
		if err != nil {
			return nil, err
		}
		for _, row := range probabilities {
			top, err := pipeline.Top(row, classes, c.Int(topName))
			if err != nil {
				return nil, err
			}
			predictions = append(predictions, prediction{Path: paths[len(predictions)], Top: top})
		}
	}
	return predictions, nil
}

func reportPredictions(c *cli.Context, predictions []prediction) error {
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"images": predictions})
	}
	var rows [][]string
	for _, p := range predictions {
		name := p.Path
		for _, guess := range p.Top {
			rows = append(rows, []string{name, guess.Class, formatPercent(float64(guess.Probability))})
			name = "" // said once
		}
	}
	return printLine(c, "%s", trimEnd(table(rows)))
}

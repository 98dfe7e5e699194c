package cli

import (
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
)

const topName = "top"

func predictCommand() *cli.Command {
	return &cli.Command{
		Name:      "predict",
		Usage:     "say what is on images",
		UsageText: "residual predict --model runs/first cat.jpg dog.png",
		ArgsUsage: "IMAGE...",
		Flags: slices.Concat([]cli.Flag{
			modelFlag,
			&cli.IntFlag{Name: topName, Usage: "the `K` most probable classes", Value: 5},
		}, sessionFlags(), []cli.Flag{debugFlag, quietFlag, jsonFlag}),
		Action: predict,
	}
}

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
	model, err := openModel(c, info, session)
	if err != nil {
		return err
	}
	defer model.Close()
	classifier := pipeline.Classifier{Model: model, Classes: info.Metadata.Classes, Shape: shape}
	guesses, err := classifier.Files(c.Context, paths, c.Int(topName))
	if err != nil {
		return err
	}
	predictions := make([]prediction, len(paths))
	for i, path := range paths {
		predictions[i] = prediction{Path: path, Top: guesses[i]}
	}
	return reportPredictions(c, predictions)
}

func reportPredictions(c *cli.Context, predictions []prediction) error {
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"images": predictions})
	}
	var rows [][]string
	for _, p := range predictions {
		name := printable(p.Path)
		for _, guess := range p.Top {
			rows = append(rows, []string{name, guess.Class, formatPercent(float64(guess.Probability))})
			name = "" // said once
		}
	}
	return printLine(c, "%s", trimEnd(table(rows)))
}

// printable returns a name that a terminal can show: as it is, or quoted.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

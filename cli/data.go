package cli

import (
	"image"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
)

func dataCommand() *cli.Command {
	ownClasses := *modelFlag
	ownClasses.Usage = "take classes and image size from the model in `DIR`"
	ownClasses.DefaultText = "the data's own"
	return &cli.Command{
		Name:      "data",
		Usage:     "look at data, download it, unpack it",
		UsageText: "residual data preview --data cifar10 --out preview.png",
		Subcommands: []*cli.Command{
			{
				Name:      "preview",
				Usage:     "draw the first four training and test images",
				UsageText: "residual data preview --data cifar10 --out preview.png",
				Flags: []cli.Flag{
					dataFlag, &ownClasses,
					&cli.StringFlag{Name: "out", Usage: "the picture to write: `FILE`", Value: "preview.png"},
					quietFlag, jsonFlag,
				},
				Action: preview,
			},
			{
				Name:      "download",
				Usage:     "bring CIFAR-10 to this machine's cache",
				UsageText: "residual data download",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "cache", Usage: "the folder to download to: `DIR`", DefaultText: "residual in the user's cache"},
					quietFlag, jsonFlag,
				},
				Action: download,
			},
			{
				Name:      "unpack",
				Usage:     "write images as class folders of PNG files",
				UsageText: "residual data unpack --data synthetic --limit 20 --out images",
				Flags: []cli.Flag{
					dataFlag, &ownClasses,
					&cli.StringFlag{Name: "out", Usage: "the folder to make: `DIR`"},
					limitFlag, quietFlag, jsonFlag,
				},
				Action: unpack,
			},
		},
	}
}

// openOwn opens --data for looking at it: with the classes and the image size
// of --model, if there is one, else of the data itself.
func openOwn(c *cli.Context) (*dataset.Data, error) {
	if err := noArguments(c); err != nil {
		return nil, err
	}
	if err := needFlag(c, dataFlag); err != nil {
		return nil, err
	}
	if dir := c.String(modelFlag.Name); dir != "" {
		info, err := savedmodel.Inspect(dir)
		if err != nil {
			return nil, err
		}
		return openData(c, info, dataset.TrainAndTest)
	}
	classes, err := dataset.Classes(c.String(dataFlag.Name))
	if err != nil {
		return nil, err
	}
	return readData(c, dataset.Options{Classes: classes, Shape: imagefile.Shape{Height: 32, Width: 32, Channels: 3}, Limit: c.Int(limitFlag.Name)})
}

// split is a part of the data with its name.
type split struct {
	name     string
	examples *dataset.Examples
}

func splitsOf(data *dataset.Data) []split {
	splits := []split{{"train", data.Train}}
	if data.Test != nil {
		splits = append(splits, split{"test", data.Test})
	}
	return splits
}

// countsOf returns the number of examples of each split.
func countsOf(data *dataset.Data) map[string]int {
	counts := map[string]int{}
	for _, s := range splitsOf(data) {
		counts[s.name] = s.examples.Len()
	}
	return counts
}

func imageOf(examples *dataset.Examples, i int) (*image.NRGBA, error) {
	pixels := make([]byte, examples.Shape().Size())
	if err := examples.Read(i, pixels); err != nil {
		return nil, err
	}
	return imagefile.ToImage(pixels, examples.Shape())
}

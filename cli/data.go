package cli

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/pipeline/plot"
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

func preview(c *cli.Context) error {
	out := c.String("out")
	if out == "" {
		return usagef(c, "--out is missing: it is the picture to write")
	}
	if err := checkFile(out); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	data, err := openOwn(c)
	if err != nil {
		return err
	}
	const columns = 4 // the article's grid
	var rows []plot.Row
	for _, s := range splitsOf(data) {
		row := plot.Row{Title: s.name}
		for i := range min(columns, s.examples.Len()) {
			img, err := imageOf(s.examples, i)
			if err != nil {
				return err
			}
			row.Tiles = append(row.Tiles, plot.Tile{Title: s.examples.Classes()[s.examples.Label(i)], Image: img})
		}
		rows = append(rows, row)
	}
	err = writePicture(out, func(picture *bytes.Buffer) error { return plot.Preview(picture, rows) })
	if err != nil {
		return err
	}
	counts := map[string]int{}
	for _, s := range splitsOf(data) {
		counts[s.name] = s.examples.Len()
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"picture": out, "examples": counts, "classes": data.Train.Classes()})
	}
	return printLine(c, "%s training and %s test images of %d classes; the first of them are in %s",
		formatCount(counts["train"]), formatCount(counts["test"]), len(data.Train.Classes()), out)
}

func imageOf(examples *dataset.Examples, i int) (*image.NRGBA, error) {
	pixels := make([]byte, examples.Shape().Size())
	if err := examples.Read(i, pixels); err != nil {
		return nil, err
	}
	return imagefile.ToImage(pixels, examples.Shape())
}

func download(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	meter := newMeter(c)
	dir, err := dataset.Download(c.Context, c.String("cache"), meter.show)
	meter.clear()
	if err != nil {
		return err
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"path": dir})
	}
	return printLine(c, "CIFAR-10 is in %s", dir)
}

func unpack(c *cli.Context) (err error) {
	out := c.String("out")
	if out == "" {
		return usagef(c, "--out is missing: it is the folder to make")
	}
	if err := checkNew(out); err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	data, err := openOwn(c)
	if err != nil {
		return err
	}
	undoParents, err := makeParents(out)
	if err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	defer func() {
		if err != nil {
			undoParents()
		}
	}()
	draft, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".tmp-*")
	if err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	defer os.RemoveAll(draft) // gone already, if all went well
	counts := map[string]int{}
	for _, s := range splitsOf(data) {
		if err := writeImages(c, filepath.Join(draft, s.name), s.examples); err != nil {
			return fmt.Errorf("unpack data: %w", err)
		}
		counts[s.name] = s.examples.Len()
	}
	if err := os.Chmod(draft, 0o755); err != nil { // MkdirTemp keeps others out
		return fmt.Errorf("unpack data: %w", err)
	}
	if err := os.Rename(draft, out); err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"path": out, "examples": counts})
	}
	return printLine(c, "%s training and %s test images are in %s", formatCount(counts["train"]), formatCount(counts["test"]), out)
}

// writeImages writes a split as CLASS/0001.png, counting in each class.
func writeImages(c *cli.Context, dir string, examples *dataset.Examples) error {
	written := map[string]int{}
	for i := range examples.Len() {
		if err := c.Context.Err(); err != nil {
			return err
		}
		img, err := imageOf(examples, i)
		if err != nil {
			return err
		}
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			return err
		}
		class := examples.Classes()[examples.Label(i)]
		written[class]++
		path := filepath.Join(dir, class, fmt.Sprintf("%04d.png", written[class]))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

package cli

import (
	"bytes"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/plot"
)

func preview(c *cli.Context) error {
	out := outPath(c)
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

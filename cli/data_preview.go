package cli

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/plot"
)

func preview(c *cli.Context) error {
	out := outPath(c)
	if out == "" {
		return usagef(c, "--out is missing: it is the picture to write")
	}
	if ext := filepath.Ext(out); ext != "" && !strings.EqualFold(ext, ".png") {
		return usagef(c, "--out %q ends in %s: the picture is a PNG", out, ext)
	}
	if err := checkFile(out); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	data, err := openOwn(c)
	if err != nil {
		return err
	}
	rows, err := previewRows(data)
	if err != nil {
		return err
	}
	err = writePicture(out, func(picture *bytes.Buffer) error { return plot.Preview(picture, rows) })
	if err != nil {
		return err
	}
	counts := countsOf(data)
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"picture": out, "examples": counts, "classes": data.Train.Classes()})
	}
	return printLine(c, "%s training and %s test images of %d classes; the first of them are in %s",
		formatCount(counts["train"]), formatCount(counts["test"]), len(data.Train.Classes()), out)
}

// previewRows are some images of each split, for plot.Preview.
func previewRows(data *dataset.Data) ([]plot.Row, error) {
	var rows []plot.Row
	for _, s := range splitsOf(data) {
		row := plot.Row{Title: s.name}
		for _, i := range firstOf(s.examples) {
			img, err := imageOf(s.examples, i)
			if err != nil {
				return nil, err
			}
			row.Tiles = append(row.Tiles, plot.Tile{Title: s.examples.Classes()[s.examples.Label(i)], Image: img})
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// firstOf chooses the first four examples, as the published grid does. Where
// they are all of one class, as in class folders, it takes the first of each of
// four classes.
func firstOf(examples *dataset.Examples) []int {
	const columns = 4
	var first, ofClasses []int
	seen := map[int]bool{}
	for i := range examples.Len() {
		if len(first) < columns {
			first = append(first, i)
		}
		if label := examples.Label(i); !seen[label] {
			seen[label] = true
			ofClasses = append(ofClasses, i)
		}
	}
	for _, i := range first {
		if examples.Label(i) != examples.Label(first[0]) {
			return first
		}
	}
	if len(ofClasses) == 1 {
		return first
	}
	return ofClasses[:min(columns, len(ofClasses))]
}

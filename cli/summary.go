package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/savedmodel"
)

func summaryCommand() *cli.Command {
	return &cli.Command{
		Name:      "summary",
		Usage:     "print a model's layers as Keras does",
		UsageText: "residual summary --model models/resnet50",
		ArgsUsage: "[DIR]",
		Flags:     []cli.Flag{modelFlag, jsonFlag},
		Action:    summary,
	}
}

func summary(c *cli.Context) error {
	info, err := inspectArgument(c)
	if err != nil {
		return err
	}
	m := info.Metadata
	if len(m.Layers) == 0 {
		return fmt.Errorf("%s names no layers (assets.extra/residual.json): export it with `residual export`", info.Dir)
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"name": m.Name, "layers": m.Layers, "parameters": m.Parameters})
	}
	return printLine(c, "%s", trimEnd(summaryText(m)))
}

// summaryText is what Keras's model.summary() prints.
func summaryText(m savedmodel.Metadata) string {
	rows := [][3]string{{"Layer (type)", "Output Shape", "Param #"}}
	for _, layer := range m.Layers {
		rows = append(rows, [3]string{
			fmt.Sprintf("%s (%s)", layer.Name, layer.Class),
			shapeText(layer.OutputShape),
			formatCount(layer.Parameters),
		})
	}
	text := fmt.Sprintf("Model: %q\n", m.Name) + boxed(rows)
	for _, count := range []struct {
		name string
		n    int
	}{
		{"Total", m.Parameters.Total},
		{"Trainable", m.Parameters.Trainable},
		{"Non-trainable", m.Parameters.NonTrainable},
	} {
		const float32Size = 4
		size := formatBytes(float32Size * int64(count.n))
		if whole, ok := strings.CutSuffix(size, " B"); ok {
			size = whole + ".00 B" // Keras's
		}
		text += fmt.Sprintf(" %s params: %s (%s)\n", count.name, formatCount(count.n), size)
	}
	return text
}

// shapeText writes (None, 7, 7, 2048) as Python does, and ? as Keras does for
// what has no one shape.
func shapeText(shape []*int) string {
	if shape == nil {
		return "?"
	}
	dims := make([]string, len(shape))
	for i, dim := range shape {
		dims[i] = "None"
		if dim != nil {
			dims[i] = fmt.Sprint(*dim)
		}
	}
	return "(" + strings.Join(dims, ", ") + ")"
}

// boxed draws the table as Keras does on a terminal of 80 columns: heavy lines
// around the head, numbers to the right, cells that are too wide in several
// lines.
func boxed(rows [][3]string) string {
	widths := [3]int{31, 22, 13} // Keras's
	border := func(left, line, cross, right string) string {
		parts := make([]string, len(widths))
		for i, width := range widths {
			parts[i] = strings.Repeat(line, width+2)
		}
		return left + strings.Join(parts, cross) + right + "\n"
	}
	var text strings.Builder
	text.WriteString(border("┏", "━", "┳", "┓"))
	for i, row := range rows {
		edge := "│"
		switch i {
		case 0:
			edge = "┃"
		case 1:
			text.WriteString(border("┡", "━", "╇", "┩"))
		default:
			text.WriteString(border("├", "─", "┼", "┤"))
		}
		text.WriteString(boxedRow(row, widths, edge))
	}
	text.WriteString(border("└", "─", "┴", "┘"))
	return text.String()
}

func boxedRow(row [3]string, widths [3]int, edge string) string {
	var cells [3][]string
	height := 0
	for column, cell := range row {
		cells[column] = wrap(cell, widths[column])
		height = max(height, len(cells[column]))
	}
	var text strings.Builder
	for line := range height {
		for column, cell := range cells {
			part := ""
			if line < len(cell) {
				part = abbreviate(cell[line], widths[column])
			}
			text.WriteString(edge + " " + pad(part, widths[column], column == 2) + " ")
		}
		text.WriteString(edge + "\n")
	}
	return text.String()
}

package plot

import (
	"image/color"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	legendSample = 36 // pixels of a piece of line
	legendSpace  = 8  // between it and its name
	legendGap    = 32 // between two entries
	legendSize   = 16 // of the letters
	legendLine   = 29 // from one row to the next
)

// entry is a line's name in the legend.
type entry struct {
	name   string
	color  color.Color
	width  int
	dashes []vg.Length
	mark   draw.GlyphDrawer
}

// legend is a table of names, as few rows of them as fit on a sheet.
type legend struct {
	rows    [][]entry
	columns []int // pixels of each, the gap after it included
}

func newLegend(entries ...entry) legend {
	ruler := newPage(1, 1)
	const room = curvesWidth - 2*margin
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].name = ruler.squeeze(printable(entries[i].name), legendSize, room-legendSample-legendSpace)
	}
	l := legend{}
	for n := len(entries); n > 0; n-- {
		l.rows = slices.Collect(slices.Chunk(entries, n))
		l.columns = columnsOf(l.rows, ruler)
		if sum(l.columns)-legendGap <= room {
			break
		}
	}
	return l
}

func columnsOf(rows [][]entry, ruler *page) []int {
	columns := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, e := range row {
			columns[i] = max(columns[i], legendSample+legendSpace+ruler.width(e.name, legendSize)+legendGap)
		}
	}
	return columns
}

func (l legend) height() int { return len(l.rows) * legendLine }

// legend names the lines of a single run.
func (r Run) legend() legend {
	entries := []entry{
		{name: "train, each step", color: paleBlue, width: 2},
		{name: "train, smoothed", color: blue, width: 4},
	}
	if len(r.Epochs) > 0 {
		entries = append(entries, entry{name: "train, mean of each epoch", color: blue, mark: draw.CircleGlyph{}})
	}
	if slices.ContainsFunc(r.Epochs, func(e Epoch) bool { return e.Validation != nil }) {
		entries = append(entries, entry{name: "validation, after each epoch", color: green, width: 2, mark: diamond})
	}
	if slices.ContainsFunc(r.Epochs, func(e Epoch) bool { return e.Test != nil }) {
		entries = append(entries, entry{name: "test, after each epoch", color: vermilion, width: 2, mark: draw.BoxGlyph{}})
	}
	return newLegend(entries...)
}

// legend draws the names above the panels, where they cover no line.
func (s *sheet) legend(y int, l legend) {
	for _, row := range l.rows {
		x := (curvesWidth - sum(l.columns) + legendGap) / 2
		for i, e := range row {
			s.sample(e, x, y+legendLine/2)
			s.text(x+legendSample+legendSpace, y+legendLine/2, label{text: e.name, size: legendSize})
			x += l.columns[i]
		}
		y += legendLine
	}
}

func (s *sheet) sample(e entry, x, y int) {
	if e.width > 0 {
		style := draw.LineStyle{Width: pixels(e.width), Color: e.color, Dashes: e.dashes}
		s.StrokeLines(style, []vg.Point{s.at(x, y), s.at(x+legendSample, y)})
	}
	s.DrawGlyph(draw.GlyphStyle{Shape: e.mark, Color: e.color, Radius: pixels(markSize)}, s.at(x+legendSample/2, y))
}

package plot

import (
	"fmt"
	"image/color"
	"io"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// MaxRuns is how many runs Compare can draw so that no two look alike: each
// has another pair of a colour and a mark.
const MaxRuns = 35

// Compare draws several runs over each other, each with a colour and a mark of
// its own that the legend gives its Title to: loss on the left, accuracy on the
// right, of the training steps, smoothed (dashed), and of the test after each
// epoch (solid). A loss that is far above those of the other runs leaves the
// picture rather than to flatten them.
func Compare(w io.Writer, runs []Run, format Format) error {
	s, err := compare(runs, format)
	if err != nil {
		return err
	}
	return s.write(w)
}

func compare(runs []Run, format Format) (*sheet, error) {
	switch {
	case len(runs) == 0:
		return nil, fmt.Errorf("draw curves: there are no runs")
	case len(runs) > MaxRuns:
		return nil, fmt.Errorf("draw curves: %d runs are too many to be told apart: %d at most", len(runs), MaxRuns)
	}
	for _, run := range runs {
		if len(run.Steps) == 0 {
			return nil, fmt.Errorf("draw curves: the run %q has no steps", run.Title)
		}
	}
	splits, names := splitLegend(), legendOf(runs)
	s, err := newSheet(format, curvesWidth, headerHeight(splits, names)+panelHeight)
	if err != nil {
		return nil, err
	}
	s.header(fmt.Sprintf("%d runs", len(runs)), splits, names)
	s.panels(overlay("loss", runs, Score.loss), overlay("accuracy", runs, Score.accuracy))
	return s, nil
}

// The colours that lines can have on white, in an order in which neighbours
// differ most, and the marks. Their numbers have no common factor: each run of
// hues times shapes has a pair of its own.
var (
	hues   = []color.Color{blue, vermilion, green, purple, sky, orange, ink}
	shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, polygon{{X: 0, Y: 1.3}, {X: 1.15, Y: -0.7}, {X: -1.15, Y: -0.7}},
		diamond, polygon{{X: 0, Y: -1.3}, {X: 1.15, Y: 0.7}, {X: -1.15, Y: 0.7}}}
)

var diamond = polygon{{X: 0, Y: 1.3}, {X: 1.3, Y: 0}, {X: 0, Y: -1.3}, {X: -1.3, Y: 0}}

// polygon is a mark, its corners given in its radius.
type polygon []vg.Point

func (p polygon) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	corners := make([]vg.Point, len(p))
	for i, corner := range p {
		corners[i] = at.Add(corner.Scale(style.Radius))
	}
	c.FillPolygon(style.Color, corners)
}

const (
	trainWidth = 2 // pixels of the lines of a comparison
	testWidth  = 3
)

var trainDashes = []vg.Length{pixels(7), pixels(5)}

// splitLegend says what is train and what is test in all runs.
func splitLegend() legend {
	return newLegend(
		entry{name: "train, smoothed", color: faint, width: trainWidth, dashes: trainDashes},
		entry{name: "test, after each epoch", color: faint, width: testWidth},
	)
}

// legendOf names the runs.
func legendOf(runs []Run) legend {
	var entries []entry
	for i, run := range runs {
		entries = append(entries, entry{name: run.Title, color: hues[i%len(hues)], width: testWidth, mark: shapes[i%len(shapes)]})
	}
	return newLegend(entries...)
}

// overlay draws all runs into one panel, all test lines over all train lines.
func overlay(title string, runs []Run, value func(Score) float64) *plot.Plot {
	chart := newChart(title)
	all := make([]lines, len(runs))
	for i, run := range runs {
		all[i] = run.lines(value)
		dashed := line(all[i].smoothed, trainWidth, hues[i%len(hues)])
		dashed.Dashes = trainDashes
		chart.Add(dashed)
	}
	for i, l := range all {
		addLine(chart, l.test, testWidth, hues[i%len(hues)])
		marked := l.test
		if len(marked) == 0 && len(l.smoothed) > 0 { // nothing is tested yet: where training is
			marked = l.smoothed[len(l.smoothed)-1:]
		}
		chart.Add(marks(marked, shapes[i%len(shapes)], hues[i%len(hues)]))
	}
	setRange(chart, together(all))
	return chart
}

// together returns points between which the lines of all runs lie, but for
// losses that are far above those of most runs: one has diverged.
func together(all []lines) plotter.XYs {
	const (
		far    = 3  // times what most runs have
		always = 10 // a loss that is no sign of anything yet
	)
	var shown plotter.XYs
	var highest []float64
	for _, l := range all {
		extent := slices.Concat(l.smoothed, l.test)
		if len(extent) == 0 {
			continue
		}
		shown = append(shown, extent...)
		_, _, _, high := plotter.XYRange(extent)
		highest = append(highest, high)
	}
	if len(highest) == 0 {
		return nil
	}
	slices.Sort(highest)
	limit := max(always, far*highest[(len(highest)-1)/2])
	for i := range shown {
		shown[i].Y = min(shown[i].Y, limit)
	}
	return shown
}

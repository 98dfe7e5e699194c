package plot

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chart draws the lines over each other, the most important last.
func (l lines) chart(title string) *plot.Plot {
	chart := plot.New()
	chart.BackgroundColor = nil
	chart.Title.Text = title
	style(chart)
	chart.Add(grid())
	// A path's drawing time grows with the square of its length.
	for piece := range pieces(thin(l.steps), 50) {
		chart.Add(line(piece, 1, paleBlue))
	}
	chart.Add(line(l.smoothed, 3, blue), line(l.test, 2, vermilion))
	chart.Add(marks(l.train, draw.CircleGlyph{}, blue), marks(l.test, draw.BoxGlyph{}, vermilion))
	if len(l.steps) == 1 {
		chart.Add(marks(l.steps, draw.CircleGlyph{}, blue)) // a line would not show
	}
	l.scale(chart)
	return chart
}

func line(points plotter.XYs, width int, c color.Color) *plotter.Line {
	return &plotter.Line{XYs: points, LineStyle: draw.LineStyle{Width: pixels(width), Color: c}}
}

func marks(points plotter.XYs, shape draw.GlyphDrawer, c color.Color) *plotter.Scatter {
	return &plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{Shape: shape, Color: c, Radius: pixels(6)}}
}

// scale sets the range of the axes, so that all but the oddest steps fit.
func (l lines) scale(chart *plot.Plot) {
	shown := slices.Concat(l.smoothed, l.train, l.test)
	if len(shown) == 0 {
		chart.X.Min, chart.X.Max, chart.Y.Min, chart.Y.Max = 0, 1, 0, 1
		return
	}
	if len(l.steps) > 0 {
		low, high := usual(l.steps)
		shown = append(shown, plotter.XY{X: shown[0].X, Y: low}, plotter.XY{X: shown[0].X, Y: high})
	}
	xlow, xhigh, low, high := plotter.XYRange(shown)
	if xlow == xhigh {
		xlow, xhigh = xlow-1, xhigh+1
	}
	chart.X.Min, chart.X.Max = xlow, xhigh
	chart.Y.Min, chart.Y.Max = spread(low, high)
}

// spread leaves room above and below; it begins at 0 where that is near.
func spread(low, high float64) (float64, float64) {
	room := 0.05 * (high - low)
	if least := 1e-6 * max(math.Abs(low), math.Abs(high)); room <= least {
		room = max(5e4*least, 0.01) // too near each other to be told apart
	}
	if low >= 0 && low < high/2 {
		return 0, high + room
	}
	return low - room, high + room
}

func style(chart *plot.Plot) {
	chart.Title.TextStyle.Font, chart.Title.TextStyle.Color = sized(titleSize+2), ink
	chart.Title.Padding = pixels(10)
	chart.X.Label.Text = "step"
	for _, axis := range []*plot.Axis{&chart.X, &chart.Y} {
		axis.Tick.Label.Font, axis.Tick.Label.Color = sized(titleSize-2), ink
		axis.Label.TextStyle.Font, axis.Label.TextStyle.Color = sized(titleSize-2), faint
		axis.Tick.Length, axis.Tick.Width, axis.Width = pixels(6), pixels(1), pixels(1)
		axis.Color, axis.Tick.Color = faint, faint
		axis.Padding = 0
	}
	chart.X.Tick.Marker, chart.Y.Tick.Marker = plot.TickerFunc(whole), plot.TickerFunc(round)
}

func grid() *plotter.Grid {
	style := draw.LineStyle{Width: pixels(1), Color: rule}
	return &plotter.Grid{Vertical: style, Horizontal: style}
}

const (
	legendSample = 36 // pixels of a piece of line
	legendGap    = 32
	legendSize   = 16 // of the letters
)

// entry is a line's name in the legend.
type entry struct {
	name  string
	color color.Color
	width int
	mark  draw.GlyphDrawer
}

// legend names the lines above the panels, where it covers none: the names on
// the page, pieces of the lines on the canvas.
func (p *page) legend(canvas draw.Canvas, run Run) {
	entries := []entry{{"train, each step", paleBlue, 2, nil}, {"train, smoothed", blue, 4, nil}}
	if len(run.Epochs) > 0 {
		entries = append(entries, entry{"train, mean of each epoch", blue, 0, draw.CircleGlyph{}})
	}
	if slices.ContainsFunc(run.Epochs, func(e Epoch) bool { return e.Test != nil }) {
		entries = append(entries, entry{"test, after each epoch", vermilion, 2, draw.BoxGlyph{}})
	}
	width := -legendGap
	for _, e := range entries {
		width += legendSample + 8 + p.width(e.name, legendSize) + legendGap
	}
	x, y := (curvesWidth-width)/2, margin+2*titleSize+8
	for _, e := range entries {
		e.sample(canvas, pixels(x), canvas.Max.Y-pixels(y))
		p.text(x+legendSample+8, y, label{text: e.name, size: legendSize})
		x += legendSample + 8 + p.width(e.name, legendSize) + legendGap
	}
}

func (e entry) sample(canvas draw.Canvas, x, y vg.Length) {
	if e.width > 0 {
		canvas.StrokeLine2(draw.LineStyle{Width: pixels(e.width), Color: e.color}, x, y, x+pixels(legendSample), y)
	}
	canvas.DrawGlyph(draw.GlyphStyle{Shape: e.mark, Color: e.color, Radius: pixels(6)}, vg.Point{X: x + pixels(legendSample/2), Y: y})
}

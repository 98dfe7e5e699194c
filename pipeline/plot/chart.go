package plot

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"
)

// chart draws the lines over each other, the most important last.
func (l lines) chart(title string) *plot.Plot {
	chart := newChart(title)
	addLine(chart, thin(l.steps), 1, paleBlue)
	chart.Add(line(l.smoothed, 3, blue))
	addLine(chart, l.validation, 2, green)
	addLine(chart, l.test, 2, vermilion)
	chart.Add(marks(l.train, draw.CircleGlyph{}, blue), marks(l.validation, diamond, green), marks(l.test, draw.BoxGlyph{}, vermilion))
	if len(l.steps) == 1 {
		chart.Add(marks(l.steps, draw.CircleGlyph{}, blue)) // a line would not show
	}
	setRange(chart, l.extent())
	return chart
}

// newChart returns an empty panel.
func newChart(title string) *plot.Plot {
	chart := plot.New()
	chart.BackgroundColor = nil
	chart.Title.Text = title
	style(chart)
	chart.Add(grid())
	return chart
}

// addLine draws a line of any length: in pieces, as the time that a path takes
// to be drawn grows with the square of its length.
func addLine(chart *plot.Plot, points plotter.XYs, width int, c color.Color) {
	for piece := range pieces(points, 50) {
		chart.Add(line(piece, width, c))
	}
}

func line(points plotter.XYs, width int, c color.Color) *plotter.Line {
	return &plotter.Line{XYs: points, LineStyle: draw.LineStyle{Width: pixels(width), Color: c}}
}

const (
	markSize = 6  // pixels from a mark's middle to its edge
	maxMarks = 40 // of a line: more would be a band
)

func marks(points plotter.XYs, shape draw.GlyphDrawer, c color.Color) *plotter.Scatter {
	every := (len(points) + maxMarks - 1) / maxMarks
	var few plotter.XYs
	for i := len(points) - 1; i >= 0; i -= every { // the last one is what a run came to
		few = append(few, points[i])
	}
	return &plotter.Scatter{XYs: few, GlyphStyle: draw.GlyphStyle{Shape: shape, Color: c, Radius: pixels(markSize)}}
}

// extent returns points between which all but the oddest steps lie.
func (l lines) extent() plotter.XYs {
	shown := slices.Concat(l.smoothed, l.train, l.validation, l.test)
	if len(l.steps) > 0 {
		low, high := usual(l.steps)
		shown = append(shown, plotter.XY{X: shown[0].X, Y: low}, plotter.XY{X: shown[0].X, Y: high})
	}
	return shown
}

// setRange makes the axes span these points.
func setRange(chart *plot.Plot, shown plotter.XYs) {
	if len(shown) == 0 {
		chart.X.Min, chart.X.Max, chart.Y.Min, chart.Y.Max = 0, 1, 0, 1
		return
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

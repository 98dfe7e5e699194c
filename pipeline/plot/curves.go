package plot

import (
	"fmt"
	"image/color"
	stddraw "image/draw"
	"io"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Run is the course of a training run.
type Run struct {
	Title  string
	Steps  []Step  // in order; at least one
	Epochs []Epoch // whole ones, in order
}

// Step is what one training step said of its batch.
type Step struct {
	Number         int
	Loss, Accuracy float64
}

// Epoch is what is known at the end of an epoch.
type Epoch struct {
	Step  int // the last step of the epoch
	Train Score
	Test  *Score // nil when nothing was tested
}

// Score is a mean over examples.
type Score struct {
	Loss, Accuracy float64 // the accuracy is a share, 0 to 1
}

const (
	curvesWidth, curvesHeight = 1400, 620
	curvesHeader              = 92 // pixels above the panels
	dotsPerInch               = 144
)

// Curves draws the course of a run: loss on the left, accuracy on the right,
// of each step (thin), smoothed (thick), and of each epoch (marks). A run may
// have any number of steps; of very many only the extremes are drawn. The
// oddest hundredth is cut off, so that a few do not flatten the rest.
func Curves(w io.Writer, run Run) error {
	if len(run.Steps) == 0 {
		return fmt.Errorf("draw curves: the run has no steps")
	}
	return run.draw().write(w)
}

func (r Run) draw() *page {
	loss, accuracy := r.lines(Score.loss).chart("loss"), r.lines(Score.accuracy).chart("accuracy")
	accuracy.Y.Min, accuracy.Y.Max = 0, 1
	accuracy.Y.Tick.Marker = percents

	canvas := draw.New(vgimg.NewWith(vgimg.UseWH(pixels(curvesWidth), pixels(curvesHeight)),
		vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(color.Transparent)))
	panels := draw.Crop(canvas, pixels(margin), -pixels(margin), pixels(margin), -pixels(curvesHeader))
	half := pixels(curvesWidth / 2)
	loss.Draw(draw.Crop(panels, 0, -half, 0, 0))
	accuracy.Draw(draw.Crop(panels, half, 0, 0, 0))

	page := newPage(curvesWidth, curvesHeight)
	title := page.shorten(r.Title, titleSize+4, curvesWidth-2*margin)
	page.text(curvesWidth/2, margin+titleSize/2, label{text: title, size: titleSize + 4, align: centre})
	page.legend(canvas, r)
	stddraw.Draw(page.RGBA, page.Bounds(), canvas.Canvas.(*vgimg.Canvas).Image(), page.Bounds().Min, stddraw.Over)
	return page
}

// pixels says a number of pixels in the unit of Gonum's canvas.
func pixels(n int) vg.Length { return vg.Length(n) * vg.Inch / dotsPerInch }

func (s Score) loss() float64     { return s.Loss }
func (s Score) accuracy() float64 { return s.Accuracy }

// lines are what one panel shows.
type lines struct {
	steps, smoothed plotter.XYs
	train, test     plotter.XYs // by epoch
}

func (r Run) lines(value func(Score) float64) lines {
	var l lines
	for _, step := range r.Steps {
		l.steps = append(l.steps, plotter.XY{X: float64(step.Number), Y: value(Score{step.Loss, step.Accuracy})})
	}
	for _, epoch := range r.Epochs {
		l.train = append(l.train, plotter.XY{X: float64(epoch.Step), Y: value(epoch.Train)})
		if epoch.Test != nil {
			l.test = append(l.test, plotter.XY{X: float64(epoch.Step), Y: value(*epoch.Test)})
		}
	}
	l.steps, l.train, l.test = finite(l.steps), finite(l.train), finite(l.test)
	l.smoothed = smooth(l.steps)
	return l
}

package plot

import (
	"fmt"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"
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
	Step       int // the last step of the epoch
	Train      Score
	Validation *Score // nil when there was none
	Test       *Score // nil when nothing was tested
}

// Score is a mean over examples.
type Score struct {
	Loss, Accuracy float64 // the accuracy is a share, 0 to 1
}

const (
	curvesWidth  = 1400
	panelHeight  = 528 // with its title, ticks and the margin below
	legendTop    = margin + 2*titleSize - 7
	legendBottom = 10 // between the last line of the legend and the panels
)

// Curves draws the course of a run: loss on the left, accuracy on the right,
// of each step (thin), smoothed (thick), and of each epoch (marks). A run may
// have any number of steps; of very many only the extremes are drawn. The
// oddest hundredth is cut off, so that a few do not flatten the rest.
func Curves(w io.Writer, run Run, format Format) error {
	s, err := run.draw(format)
	if err != nil {
		return err
	}
	return s.write(w)
}

func (r Run) draw(format Format) (*sheet, error) {
	if len(r.Steps) == 0 {
		return nil, fmt.Errorf("draw curves: the run has no steps")
	}
	names := r.legend()
	s, err := newSheet(format, curvesWidth, headerHeight(names)+panelHeight)
	if err != nil {
		return nil, err
	}
	s.header(r.Title, names)
	s.panels(r.lines(Score.loss).chart("loss"), r.lines(Score.accuracy).chart("accuracy"))
	return s, nil
}

// headerHeight returns how many pixels title and legends take.
func headerHeight(legends ...legend) int {
	height := legendTop + legendBottom
	for _, l := range legends {
		height += l.height()
	}
	return height
}

func (s *sheet) header(title string, legends ...legend) {
	title = s.ruler.shorten(printable(title), titleSize+4, curvesWidth-2*margin)
	s.text(curvesWidth/2, margin+titleSize/2, label{text: title, size: titleSize + 4, align: centre})
	y := legendTop
	for _, l := range legends {
		s.legend(y, l)
		y += l.height()
	}
}

// panels draws two charts beside each other, below the header.
func (s *sheet) panels(loss, accuracy *plot.Plot) {
	accuracy.Y.Min, accuracy.Y.Max = 0, 1
	accuracy.Y.Tick.Marker = percents
	area := draw.Crop(s.Canvas, pixels(margin), -pixels(margin), pixels(margin), pixels(panelHeight-s.height))
	half := pixels(curvesWidth / 2)
	loss.Draw(draw.Crop(area, 0, -half, 0, 0))
	accuracy.Draw(draw.Crop(area, half, 0, 0, 0))
}

func (s Score) loss() float64     { return s.Loss }
func (s Score) accuracy() float64 { return s.Accuracy }

// lines are what one panel shows of a run.
type lines struct {
	steps, smoothed         plotter.XYs
	train, validation, test plotter.XYs // by epoch
}

func (r Run) lines(value func(Score) float64) lines {
	var l lines
	for _, step := range r.Steps {
		l.steps = append(l.steps, plotter.XY{X: float64(step.Number), Y: value(Score{step.Loss, step.Accuracy})})
	}
	for _, epoch := range r.Epochs {
		l.train = append(l.train, plotter.XY{X: float64(epoch.Step), Y: value(epoch.Train)})
		if epoch.Validation != nil {
			l.validation = append(l.validation, plotter.XY{X: float64(epoch.Step), Y: value(*epoch.Validation)})
		}
		if epoch.Test != nil {
			l.test = append(l.test, plotter.XY{X: float64(epoch.Step), Y: value(*epoch.Test)})
		}
	}
	l.steps, l.train = finite(l.steps), thin(finite(l.train))
	l.validation, l.test = thin(finite(l.validation)), thin(finite(l.test))
	l.smoothed = smooth(l.steps)
	return l
}

package callback

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/residual-go/residual/pipeline"
)

// Progress shows how far a run is: on a terminal as a bar that changes in
// place, elsewhere as plain lines, few enough for a log. Loss and accuracy are
// means over the pass so far.
//
// It also shows an evaluation outside of a run, when its Handle is called from
// EvaluateOptions.OnBatch. What cannot be written is dropped: a terminal that
// has gone away does not end a run.
type Progress struct {
	Out io.Writer // nil means os.Stderr

	now               func() time.Time // time.Now but in tests
	screen            *screen
	begin             pipeline.Begin
	training, testing pace

	pass    pass      // under way
	last    time.Time // the last event
	shown   time.Time // when the pass was last shown
	shownAt int       // its batch then
}

var _ pipeline.Callback = (*Progress)(nil)

const (
	liveEvery  = 100 * time.Millisecond
	plainEvery = 10 * time.Second
	plainShare = 10              // of a pass, so plainly at most about ten lines
	plainQuiet = 5 * time.Minute // the longest time between two plain lines
)

// Handle shows an event. It returns no errors.
func (p *Progress) Handle(_ context.Context, event pipeline.Event) error {
	p.start()
	switch e := event.(type) {
	case pipeline.Begin:
		p.begin = e
		if e.Epoch <= e.Epochs { // there is nothing left of a run that was resumed at its end
			p.open(p.train(max(1, e.Epoch)), e.Batches)
		}
	case pipeline.Step:
		p.training.add(e.Examples, e.Duration)
		p.update(p.train(e.Epoch), e.Batch, e.Batches, e.Mean)
	case pipeline.TestStep:
		p.test(e)
	case pipeline.Epoch:
		p.epoch(e)
	}
	p.last = p.now()
	return nil
}

// Close leaves the terminal with the cursor on a fresh line, below the pass
// that was cut short if there is one.
func (p *Progress) Close(error) error {
	if p.screen == nil {
		return nil // there was no event
	}
	switch {
	case p.screen.live() && p.pass.batch > 0:
		p.screen.keep(p.pass.live(p.screen.width()))
	case p.screen.live() && p.screen.used > 0:
		p.screen.show("")
	case p.pass.batch > p.shownAt:
		p.screen.keep(p.pass.plain())
	}
	p.pass = pass{}
	return nil
}

func (p *Progress) start() {
	if p.screen == nil {
		p.screen = newScreen(cmp.Or[io.Writer](p.Out, os.Stderr))
	}
	if p.now == nil {
		p.now = time.Now
	}
}

func (p *Progress) train(epoch int) pass {
	of := fmt.Sprintf("%d/%d", epoch, max(epoch, p.begin.Epochs))
	return pass{title: "Epoch " + of, short: of, pace: &p.training}
}

func (p *Progress) test(e pipeline.TestStep) {
	next := pass{title: "Test", short: "Test", pace: &p.testing}
	if e.Validation {
		next.title, next.short = "Valid", "Valid"
	}
	if e.Epoch > 0 {
		// As wide as the title of training, so that the bar stays where it is.
		next.title = fmt.Sprintf("%-5s %d/%d", next.title, e.Epoch, max(e.Epoch, p.begin.Epochs))
	}
	before := 0
	if e.Batch > 1 {
		before = p.pass.mean.Examples
	}
	if !p.last.IsZero() {
		p.testing.add(e.Mean.Examples-before, p.now().Sub(p.last))
	}
	p.update(next, e.Batch, e.Batches, e.Mean)
}

// epoch leaves the epoch's figures standing and opens the next.
func (p *Progress) epoch(e pipeline.Epoch) {
	p.screen.keep(p.summary(e, p.screen.width())...)
	p.pass = pass{}
	if e.Number < p.begin.Epochs {
		p.open(p.train(e.Number+1), p.begin.Batches)
	}
}

// open begins a pass of which no batch is known yet.
func (p *Progress) open(next pass, batches int) {
	next.batches = batches
	p.pass, p.shown, p.shownAt = next, p.now(), 0
	if p.screen.live() {
		p.screen.show(next.live(p.screen.width()))
	}
}

// update goes on with a pass; it shows it if that is due.
func (p *Progress) update(next pass, batch, batches int, mean pipeline.Metrics) {
	if next.title != p.pass.title {
		p.open(next, batches)
	}
	p.pass.batch, p.pass.batches, p.pass.mean = batch, batches, mean
	switch {
	case p.screen.live() && p.liveDue():
		p.screen.show(p.pass.live(p.screen.width()))
	case !p.screen.live() && p.plainDue():
		p.screen.keep(p.pass.plain())
	default:
		return
	}
	p.shown, p.shownAt = p.now(), batch
}

func (p *Progress) liveDue() bool {
	return p.shownAt == 0 || p.pass.batch == p.pass.batches || p.now().Sub(p.shown) >= liveEvery
}

func (p *Progress) plainDue() bool {
	if p.pass.batch == p.pass.batches {
		// An epoch's summary is about to say more, unless a test comes before.
		return p.pass.pace == &p.training && p.begin.TestExamples > 0 || p.begin.Epochs == 0
	}
	quiet := p.now().Sub(p.shown)
	far := (p.pass.batch-p.shownAt)*plainShare >= p.pass.batches
	return quiet >= plainEvery && far || quiet >= plainQuiet
}

// summary writes an epoch's figures: in one line, or in one for each split if
// that is wider than width. A width of 0 has no limit.
func (p *Progress) summary(e pipeline.Epoch, width int) []string {
	train := p.train(e.Number).title + "  train loss " + figure(e.Train.Loss) + "  accuracy " + figure(e.Train.Accuracy)
	rate := "  " + speed(perSecond(float64(e.Train.Examples), e.Training.Seconds())) + " images/s"
	took := "  " + clock(e.Duration)
	line, column := train, strings.Index(train, " loss")
	var under []string
	for _, part := range []struct {
		name    string
		metrics *pipeline.Metrics
	}{{"validation", e.Validation}, {"test", e.Test}} {
		if part.metrics == nil {
			continue
		}
		text := "  " + part.name + " loss " + figure(part.metrics.Loss) + "  accuracy " + figure(part.metrics.Accuracy)
		line += text
		under = append(under, longest(width, strings.Repeat(" ", max(0, column-len("  ")-len(part.name)))+text))
	}
	if line += rate + took; width == 0 || len(line) <= width {
		return []string{line}
	}
	return append([]string{longest(width, train+rate+took, train+took, train)}, under...)
}

// longest returns the first of lines that fits, else as much as fits of the
// last.
func longest(width int, lines ...string) string {
	for _, line := range lines {
		if width == 0 || len(line) <= width {
			return line
		}
	}
	return cut(lines[len(lines)-1], width)
}

package callback

import (
	"fmt"
	"strings"

	"github.com/residual-go/residual/pipeline"
)

// pass is one way through the training or the test data, as far as it got.
type pass struct {
	title, short   string // "Epoch 1/3" and, where that is too long, "1/3"
	batch, batches int
	mean           pipeline.Metrics
	pace           *pace // outlives the pass
}

const (
	minBar = 5  // columns inside a bar that is worth drawing
	fitBar = 12 // and of one that words should not be shortened for
	maxBar = 40
)

// plain writes the pass as a line of a log.
func (p pass) plain() string {
	parts := []string{p.title, p.count(), "loss " + figure(p.mean.Loss), "accuracy " + figure(p.mean.Accuracy)}
	if p.pace.rate() > 0 {
		parts = append(parts, speed(p.pace.rate())+" images/s", strings.TrimRight(p.left(), " "))
	}
	return strings.Join(parts, "  ")
}

// live writes the pass with a bar into at most width columns. Where that is
// too few, words become shorter; then what matters least goes first. What
// stays keeps its place while the numbers change.
func (p pass) live(width int) string {
	for _, l := range []struct {
		bar    int // at least
		title  string
		fields []string
	}{
		{fitBar, p.title, []string{p.loss(), p.accuracy("accuracy"), p.rate("images/s"), p.left()}},
		{minBar, p.title, []string{p.loss(), p.accuracy("acc"), p.rate("img/s"), p.left()}},
		{minBar, p.short, []string{p.loss(), p.accuracy("acc"), p.rate("img/s"), p.left()}},
		{minBar, p.short, []string{p.loss(), p.accuracy("acc"), p.left()}},
		{minBar, p.short, []string{p.loss(), p.left()}},
		{minBar, p.short, []string{p.loss()}},
		{minBar, p.short, nil},
	} {
		text := strings.Join(append([]string{p.count()}, l.fields...), "  ")
		if room := width - len(l.title) - len(" [] ") - len(text); room >= l.bar {
			return strings.TrimRight(l.title+" ["+p.bar(min(room, maxBar))+"] "+text, " ")
		}
	}
	return cut(p.short+" "+p.count(), width)
}

// bar is size columns wide.
func (p pass) bar(size int) string {
	switch {
	case p.batch == 0:
		return strings.Repeat(" ", size)
	case p.batch >= p.batches:
		return strings.Repeat("=", size)
	}
	done := size * p.batch / p.batches
	return strings.Repeat("=", done) + ">" + strings.Repeat(" ", size-done-1)
}

func (p pass) count() string {
	total := fmt.Sprint(p.batches)
	return fmt.Sprintf("%*d/%s", len(total), p.batch, total)
}

func (p pass) loss() string {
	return field(p.mean.Examples > 0, "loss "+figure(p.mean.Loss), len("loss 2.3456"))
}

func (p pass) accuracy(name string) string {
	return field(p.mean.Examples > 0, name+" "+figure(p.mean.Accuracy), len(name)+len(" 0.1234"))
}

func (p pass) rate(unit string) string {
	return field(p.pace.rate() > 0, fmt.Sprintf("%4s %s", speed(p.pace.rate()), unit), len("41.2 ")+len(unit))
}

func (p pass) left() string {
	return field(p.pace.rate() > 0, clock(p.pace.left(p.batches-p.batch))+" left", len("59m59s left"))
}

// field gives a text its place also while it is not known.
func field(known bool, text string, width int) string {
	if !known {
		text = ""
	}
	return fmt.Sprintf("%-*s", width, text)
}

func cut(line string, width int) string {
	return line[:max(0, min(width, len(line)))]
}

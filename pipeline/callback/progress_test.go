package callback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline"
)

// plainly plays a script to a Progress that writes to no terminal.
func plainly(s script) string {
	var out bytes.Buffer
	clock := &clockwork{at: time.Unix(1e9, 0)}
	p := &Progress{Out: &out, now: clock.now}
	_ = p.Close(s.play(p, clock))
	return out.String()
}

func TestProgressWritesPlainLines(t *testing.T) {
	golden(t, "plain.txt", []byte(plainly(cifar)))
}

func TestProgressWithoutTestWritesPlainLines(t *testing.T) {
	s := cifar
	s.testBatches = 0
	golden(t, "plain-no-test.txt", []byte(plainly(s)))
}

func TestProgressWritesAReadableNumberOfPlainLines(t *testing.T) {
	for _, tt := range []struct {
		name     string
		script   script
		min, max int // lines
	}{
		{"quick epochs say only how they ended", script{epochs: 5, batches: 100, batchSize: 8, step: time.Millisecond}, 5, 5},
		{"before a quick test too", script{epochs: 5, batches: 100, batchSize: 8, testBatches: 9, step: time.Millisecond}, 10, 10},
		{"an epoch of minutes has ten", script{epochs: 1, batches: 1000, batchSize: 8, step: 600 * time.Millisecond}, 10, 10},
		{"steps of a second wait ten seconds", script{epochs: 1, batches: 30, batchSize: 8, step: time.Second}, 3, 3},
		{"a day's epoch has one in five minutes", script{epochs: 1, batches: 10000, batchSize: 8, step: 8640 * time.Millisecond}, 280, 289},
		{"each slow step may be said", script{epochs: 1, batches: 4, batchSize: 8, step: 10 * time.Minute}, 4, 4},
		{"one batch", script{epochs: 1, batches: 1, batchSize: 8, step: time.Second}, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := plainly(tt.script)
			if n := strings.Count(out, "\n"); n < tt.min || n > tt.max {
				t.Errorf("%d lines, want %d to %d\n%s", n, tt.min, tt.max, out)
			}
		})
	}
}

func TestProgressWritesNoControlCharactersToAFile(t *testing.T) {
	for i, c := range []byte(plainly(cifar)) {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("byte %d is %q", i, c)
		}
	}
}

func TestProgressPlainlySaysWhereACutRunStopped(t *testing.T) {
	s := cifar
	s.stopAfter = 1 + 500
	lines := strings.Split(strings.TrimSpace(plainly(s)), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "Epoch 1/3  500/782  loss ") {
		t.Errorf("last line is %q", last)
	}
}

func TestProgressOnATerminal(t *testing.T) {
	for _, columns := range []int{120, 80, 50, 30} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			v, clock := &terminal{columns: columns}, &clockwork{at: time.Unix(1e9, 0)}
			p := v.on(clock)
			var screens strings.Builder
			events := 0
			s := cifar
			s.stopAfter = 1 + (782 + 157 + 1) + 300
			s.onEvent = func(pipeline.Event) {
				switch events++; events {
				case 1, 2, 101, 1 + 782, 1 + 782 + 100, 1 + 782 + 157 + 1:
					fmt.Fprintf(&screens, "after %d events:\n%s\n", events, v)
				}
			}
			if err := p.Close(s.play(p, clock)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&screens, "at the end:\n%s", v)
			golden(t, fmt.Sprintf("terminal-%d.txt", columns), []byte(screens.String()))
		})
	}
}

func TestProgressNeverWraps(t *testing.T) {
	for columns := 1; columns <= 150; columns++ {
		v, clock := &terminal{columns: columns}, &clockwork{at: time.Unix(1e9, 0)}
		p := v.on(clock)
		s := script{epochs: 2, batches: 30, batchSize: 64, testBatches: 3, step: 41 * time.Minute, testStep: time.Second}
		_ = p.Close(s.play(p, clock))
		if v.widest > max(1, columns-3) {
			t.Errorf("on %d columns, %d were used:\n%s", columns, v.widest, v)
		}
		if rows := strings.Count(v.String(), "\n"); rows > 4 {
			t.Errorf("on %d columns, two epochs left %d rows:\n%s", columns, rows, v)
		}
	}
}

func TestProgressKeepsItsPlaceWhileNumbersChange(t *testing.T) {
	v, clock := &terminal{columns: 100}, &clockwork{at: time.Unix(1e9, 0)}
	p := v.on(clock)
	places := map[string]int{}
	s := cifar
	s.epochs = 1
	s.onEvent = func(e pipeline.Event) {
		if _, ok := e.(pipeline.Epoch); ok {
			return
		}
		line := string(v.rows[len(v.rows)-1])
		for _, mark := range []string{"[", "]", "/782", "loss", "acc"} {
			at := strings.LastIndex(line, mark)
			if before, known := places[mark]; known && at >= 0 && at != before {
				t.Fatalf("%q moved from column %d to %d in %q", mark, before, at, line)
			}
			if at >= 0 {
				places[mark] = at
			}
		}
	}
	s.testBatches = 0
	if err := s.play(p, clock); err != nil {
		t.Fatal(err)
	}
}

func TestProgressDrawsTenTimesASecond(t *testing.T) {
	var out countingWriter
	clock := &clockwork{at: time.Unix(1e9, 0)}
	p := &Progress{now: clock.now, screen: &screen{out: &out, columns: func() int { return 80 }}}
	s := script{epochs: 1, batches: 10000, batchSize: 1, step: time.Millisecond}
	_ = p.Close(s.play(p, clock))
	if out < 100 || out > 106 {
		t.Errorf("ten seconds took %d writes, want about 100", out)
	}
}

func TestProgressCloseLeavesAFreshLine(t *testing.T) {
	s := script{epochs: 2, batches: 5, batchSize: 8, testBatches: 3, step: time.Second, testStep: time.Second}
	for _, tt := range []struct {
		name   string
		events int
		last   string // begin of the last line that is left
	}{
		{"before the first step", 1, ""},
		{"within an epoch", 3, "Epoch 1/2 [==="},
		{"before the test", 6, "Epoch 1/2 [==="},
		{"within the test", 8, "Test  1/2 [==="},
		{"after an epoch", 10, "Epoch 1/2  train loss "},
		{"after the last epoch", 19, "Epoch 2/2  train loss "},
	} {
		for _, runErr := range []error{nil, context.Canceled, errors.New("disk full")} {
			t.Run(fmt.Sprint(tt.name, " with ", runErr), func(t *testing.T) {
				v, clock := &terminal{columns: 120}, &clockwork{at: time.Unix(1e9, 0)}
				p := v.on(clock)
				s := s
				s.stopAfter = tt.events
				_ = s.play(p, clock)
				if err := p.Close(runErr); err != nil {
					t.Fatal(err)
				}
				if v.col != 0 || len(v.rows[v.row]) != 0 {
					t.Errorf("the cursor is in column %d of %q", v.col, v.rows[v.row])
				}
				lines := strings.Split(strings.TrimSuffix(v.String(), "\n"), "\n")
				if last := lines[len(lines)-1]; !strings.HasPrefix(last, tt.last) || tt.last == "" && last != "" {
					t.Errorf("the last line is %q, want %q…", last, tt.last)
				}
			})
		}
	}
}

func TestProgressCloseDrawsTheLastStep(t *testing.T) {
	v, clock := &terminal{columns: 80}, &clockwork{at: time.Unix(1e9, 0)}
	p := v.on(clock)
	s := script{epochs: 1, batches: 1000, batchSize: 8, step: time.Millisecond, stopAfter: 1 + 555}
	_ = p.Close(s.play(p, clock))
	if got := v.String(); !strings.Contains(got, " 555/1000 ") {
		t.Errorf("screen shows %q", got)
	}
}

func TestProgressCloseWithoutEventsWritesNothing(t *testing.T) {
	var out bytes.Buffer
	if err := (&Progress{Out: &out}).Close(nil); err != nil || out.Len() > 0 {
		t.Errorf("Close = %v, wrote %q", err, out.String())
	}
}

func TestProgressShowsAnEvaluationWithoutARun(t *testing.T) {
	v, clock := &terminal{columns: 80}, &clockwork{at: time.Unix(1e9, 0)}
	p := v.on(clock)
	for batch := 1; batch <= 10; batch++ {
		clock.at = clock.at.Add(time.Second)
		if err := p.Handle(context.Background(), pipeline.TestStep{Batch: batch, Batches: 10, Mean: metrics(1.5, batch*16)}); err != nil {
			t.Fatal(err)
		}
	}
	_ = p.Close(nil)
	want := "Test [==============] 10/10  loss 1.5000  acc 0.3077  16.0 img/s  0s left\n"
	if got := v.String(); got != want {
		t.Errorf("screen shows %q, want %q", got, want)
	}
}

func TestProgressPlainlyShowsAnEvaluationWithoutARun(t *testing.T) {
	var out bytes.Buffer
	clock := &clockwork{at: time.Unix(1e9, 0)}
	p := &Progress{Out: &out, now: clock.now}
	for batch := 1; batch <= 10; batch++ {
		clock.at = clock.at.Add(time.Second)
		_ = p.Handle(context.Background(), pipeline.TestStep{Batch: batch, Batches: 10, Mean: metrics(1.5, batch*16)})
	}
	_ = p.Close(nil)
	if got, want := out.String(), "Test  10/10  loss 1.5000  accuracy 0.3077  16.0 images/s  0s left\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

func TestProgressGoesOnWithoutItsTerminal(t *testing.T) {
	clock := &clockwork{at: time.Unix(1e9, 0)}
	for _, p := range []*Progress{
		{Out: brokenWriter{}, now: clock.now},
		{now: clock.now, screen: &screen{out: brokenWriter{}, columns: func() int { return 80 }}},
	} {
		if err := cifar.play(p, clock); err != nil {
			t.Errorf("Handle = %v", err)
		}
		if err := p.Close(nil); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}

func TestProgressFollowsARunThatBeginsInTheMiddle(t *testing.T) {
	v, clock := &terminal{columns: 100}, &clockwork{at: time.Unix(1e9, 0)}
	p := v.on(clock)
	for _, e := range []pipeline.Event{
		pipeline.Begin{Epochs: 9, Batches: 100, BatchSize: 8},
		pipeline.Step{Number: 451, Epoch: 5, Batch: 51, Batches: 100, Examples: 8, Mean: metrics(1, 8), Duration: time.Second},
	} {
		_ = p.Handle(context.Background(), e)
	}
	if got := v.String(); !strings.HasPrefix(got, "Epoch 5/9 [") || !strings.Contains(got, " 51/100 ") || !strings.Contains(got, " 49s left") {
		t.Errorf("screen shows %q", got)
	}
}

func ExampleProgress() {
	p := &Progress{Out: os.Stdout} // no terminal here
	_ = p.Handle(context.Background(), pipeline.Begin{Epochs: 1, Batches: 1, BatchSize: 64})
	_ = p.Handle(context.Background(), pipeline.Epoch{
		Number: 1, Step: 1, Duration: 2 * time.Second, Training: 2 * time.Second,
		Train: pipeline.Metrics{Loss: 2.3026, Accuracy: 0.1094, Correct: 7, Examples: 64},
	})
	_ = p.Close(nil)
	// Output:
	// Epoch 1/1  train loss 2.3026  accuracy 0.1094  32.0 images/s  2s
}

// Each split has a line of its own where one line is too narrow, the losses
// below each other.
func TestProgressOfAValidation(t *testing.T) {
	p := &Progress{begin: pipeline.Begin{Epochs: 3}}
	e := pipeline.Epoch{
		Number: 2, Train: pipeline.Metrics{Loss: 1, Accuracy: 0.5, Examples: 10}, Duration: time.Second, Training: time.Second,
		Validation: &pipeline.Metrics{Loss: 2, Accuracy: 0.25}, Test: &pipeline.Metrics{Loss: 3, Accuracy: 0.125},
	}
	want := "Epoch 2/3  train loss 1.0000  accuracy 0.5000  validation loss 2.0000  accuracy 0.2500  test loss 3.0000  accuracy 0.1250  10.0 images/s  1s"
	if got := p.summary(e, 0); len(got) != 1 || got[0] != want {
		t.Errorf("in one line: %q", got)
	}
	lines := p.summary(e, 70)
	if len(lines) != 3 {
		t.Fatalf("on 70 columns: %q", lines)
	}
	for i, name := range []string{"train", "validation", "test"} {
		if at := strings.Index(lines[i], name+" loss"); at < 0 || at+len(name) != strings.Index(lines[0], " loss") {
			t.Errorf("line %d is %q below %q", i, lines[i], lines[0])
		}
	}
}

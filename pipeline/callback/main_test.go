package callback

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/residual-go/residual/pipeline"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden compares got with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); -update rewrites it\n%s", path, diff)
	}
}

// clockwork is a clock that only the script moves.
type clockwork struct{ at time.Time }

func (c *clockwork) now() time.Time { return c.at }

// script is a run that is played to a callback.
type script struct {
	epochs, batches, batchSize int
	testBatches                int
	step, testStep             time.Duration // of each batch
	stopAfter                  int           // events; 0 plays all
	onEvent                    func(pipeline.Event)
}

var errScriptEnds = errors.New("the script ends here")

// play tells c of the script's events in the order in which Fit does.
func (s script) play(c pipeline.Callback, clock *clockwork) error {
	events := 0
	tell := func(e pipeline.Event) error {
		if s.stopAfter > 0 && events == s.stopAfter {
			return errScriptEnds
		}
		events++
		err := c.Handle(context.Background(), e)
		if s.onEvent != nil {
			s.onEvent(e)
		}
		return err
	}
	if clock == nil {
		clock = &clockwork{}
	}
	err := tell(pipeline.Begin{Epochs: s.epochs, Batches: s.batches, Examples: s.batches * s.batchSize,
		TestExamples: s.testBatches * s.batchSize, BatchSize: s.batchSize})
	for epoch := 1; err == nil && epoch <= s.epochs; epoch++ {
		err = s.epoch(epoch, clock, tell)
	}
	return err
}

func (s script) epoch(epoch int, clock *clockwork, tell func(pipeline.Event) error) error {
	begun := clock.at
	var train pipeline.Metrics
	for batch := 1; batch <= s.batches; batch++ {
		clock.at = clock.at.Add(s.step)
		number := (epoch-1)*s.batches + batch
		loss := 2.302585092994046 / (1 + float64(number)/float64(s.batches))
		train = metrics(loss, batch*s.batchSize)
		err := tell(pipeline.Step{Number: number, Epoch: epoch, Batch: batch, Batches: s.batches, Examples: s.batchSize,
			Loss: loss, Correct: train.Correct / batch, Accuracy: train.Accuracy, LearningRate: 0.01, Mean: train, Duration: s.step})
		if err != nil {
			return err
		}
	}
	event := pipeline.Epoch{Number: epoch, Step: epoch * s.batches, Train: train, Training: clock.at.Sub(begun)}
	for batch := 1; batch <= s.testBatches; batch++ {
		clock.at = clock.at.Add(s.testStep)
		test := metrics(train.Loss*1.05, batch*s.batchSize)
		event.Test = &test
		if err := tell(pipeline.TestStep{Epoch: epoch, Batch: batch, Batches: s.testBatches, Mean: test}); err != nil {
			return err
		}
	}
	event.Duration = clock.at.Sub(begun)
	return tell(event)
}

// metrics makes up an accuracy that suits a loss.
func metrics(loss float64, examples int) pipeline.Metrics {
	accuracy := 1 / (1 + loss*loss)
	return pipeline.Metrics{Loss: loss, Accuracy: accuracy, Correct: int(accuracy * float64(examples)), Examples: examples}
}

// cifar is the article's run, an hour long.
var cifar = script{epochs: 3, batches: 782, batchSize: 64, testBatches: 157, step: 1500 * time.Millisecond, testStep: 400 * time.Millisecond}

// brokenWriter fails.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the terminal has gone away") }

// countingWriter counts writes.
type countingWriter int

func (w *countingWriter) Write(p []byte) (int, error) {
	*w++
	return len(p), nil
}

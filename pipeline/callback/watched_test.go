package callback

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline"
)

// tinyPNG is a picture of 3x2 pixels.
func tinyPNG(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewRGBA(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// playWatched plays a run of 2 epochs of 3 steps, with a test and its
// confusion matrix of two classes. It begins after so many epochs, as a
// resumed run does.
func playWatched(t *testing.T, c pipeline.Callback, after int) {
	t.Helper()
	for _, event := range watchedEvents(after) {
		if err := c.Handle(context.Background(), event); err != nil {
			t.Fatal(err)
		}
	}
}

func watchedEvents(after int) []pipeline.Event {
	const batches = 3
	events := []pipeline.Event{pipeline.Begin{Epochs: after + 2, Batches: batches, Examples: 12, TestExamples: 4, BatchSize: 4}}
	for epoch := after + 1; epoch <= after+2; epoch++ {
		for batch := 1; batch <= batches; batch++ {
			number := (epoch-1)*batches + batch
			events = append(events, pipeline.Step{
				Number: number, Epoch: epoch, Batch: batch, Batches: batches, Examples: 4, Loss: 2 / float64(number), Correct: 1,
				Accuracy: 0.25, GradNorm: 3.5, LearningRate: 0.125, Duration: 500 * time.Millisecond,
			})
		}
		test := pipeline.Metrics{Loss: 1.5 / float64(epoch), Accuracy: 0.75, Correct: 3, Examples: 4}
		events = append(events,
			pipeline.TestStep{Epoch: epoch, Batch: 1, Batches: 1, Mean: test},
			pipeline.Epoch{
				Number: epoch, Step: epoch * batches, Train: pipeline.Metrics{Loss: 1 / float64(epoch), Accuracy: 0.5, Correct: 6, Examples: 12},
				Test: &test, Confusion: [][]int{{2, 0}, {1, 1}}, Duration: 2 * time.Second, Training: time.Second,
			})
	}
	return events
}

// occupy puts a file in a folder's place.
func occupy(t *testing.T, parts ...string) {
	t.Helper()
	path := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// devFull is a file that cannot be written to.
func devFull(t *testing.T) *os.File {
	t.Helper()
	file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// Where a run fails before it begins, its callbacks hear only of the end.
func TestLogsOfARunThatNeverBegan(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []pipeline.Callback{&TensorBoard{Dir: dir}, &WandB{Dir: dir}} {
		if err := c.Close(errors.New("there are no examples")); err != nil {
			t.Errorf("%T: Close = %v", c, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("there is %v", entries)
	}
}

func TestLogsNeedABegin(t *testing.T) {
	for _, event := range []pipeline.Event{pipeline.Step{Number: 1}, pipeline.Epoch{Number: 1}} {
		for _, c := range []pipeline.Callback{&TensorBoard{}, &WandB{}, &CSV{}} {
			if err := c.Handle(context.Background(), event); !errors.Is(err, errNoBegin) {
				t.Errorf("%T: Handle = %v", c, err)
			}
		}
	}
}

func TestLogsRefuseAPreviewThatIsNoPNG(t *testing.T) {
	for name, c := range map[string]pipeline.Callback{
		"tensorboard": &TensorBoard{Dir: t.TempDir(), Preview: []byte("no picture")},
		"wandb":       &WandB{Dir: t.TempDir(), Preview: []byte("no picture")},
	} {
		err := c.Handle(context.Background(), pipeline.Begin{})
		if err == nil {
			err = c.Handle(context.Background(), pipeline.Step{Number: 1, Epoch: 1})
		}
		if err == nil {
			t.Errorf("%s took it", name)
		}
		_ = c.Close(err)
	}
}

// saysThatTheDiskIsFull plays events to a logger whose file is devFull.
func saysThatTheDiskIsFull(t *testing.T, c pipeline.Callback) {
	t.Helper()
	for _, event := range []pipeline.Event{pipeline.Step{Number: 1, Epoch: 1}, pipeline.Epoch{Number: 1}} {
		if err := c.Handle(context.Background(), event); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Handle = %v", err)
		}
	}
	if err := c.Close(nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close = %v", err)
	}
}

// benchmarkStep measures what a logger costs a step.
func benchmarkStep(b *testing.B, c pipeline.Callback) {
	step := pipeline.Step{Number: 123, Epoch: 1, Loss: 2.302585092994046, Accuracy: 0.109375, GradNorm: 2.5, LearningRate: 0.01, Examples: 64, Duration: 1234567890}
	for b.Loop() {
		if err := c.Handle(context.Background(), step); err != nil {
			b.Fatal(err)
		}
	}
}

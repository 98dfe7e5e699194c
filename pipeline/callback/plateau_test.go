package callback

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline"
)

// The factor of each epoch's steps; each epoch is in a run that is resumed from
// the one before.
func TestPlateau(t *testing.T) {
	tenth := 0.1 // as a float64
	for _, test := range []struct {
		settings Plateau
		losses   []float64
		want     []float64
	}{
		{Plateau{Patience: 1}, []float64{3, 2, 2, 2, 1}, []float64{1, 1, 1, tenth, tenth * tenth}},
		{Plateau{Patience: 2, By: 0.5}, []float64{3, 3, 3, 3, 3, 3}, []float64{1, 1, 1, 0.5, 0.5, 0.25}},
		{Plateau{Patience: 1, By: 0.5, MinDelta: 1}, []float64{3, 2.5, 1}, []float64{1, 1, 0.5}},
	} {
		t.Run(fmt.Sprint(test.settings.Patience, test.losses), func(t *testing.T) {
			state := []byte(`{}`)
			var got []float64
			for i, loss := range test.losses {
				c := test.settings
				if err := c.Restore(state); err != nil {
					t.Fatal(err)
				}
				got = append(got, c.Factor(7, 100))
				if err := c.Handle(context.Background(), epochOf(i+1, loss, nil)); err != nil {
					t.Fatal(err)
				}
				var err error
				if state, err = c.State(); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the factors (-want +got): %s", diff)
			}
		})
	}
	for _, state := range []string{`{"falls": -1}`, `{"waiting": -1}`, `7`} {
		if err := (&Plateau{Patience: 1}).Restore([]byte(state)); err == nil {
			t.Errorf("the state %s was taken", state)
		}
	}
	if err := (&Plateau{}).Handle(context.Background(), pipeline.Begin{}); err == nil {
		t.Error("a patience of 0 was taken")
	}
}

// Where there is a validation, it decides.
func TestWhatIsWatched(t *testing.T) {
	e := epochOf(1, 3, nil)
	if loss := e.Watched(); loss != 3 {
		t.Errorf("without a validation: %g", loss)
	}
	test := 1.
	e = epochOf(1, 3, &test)
	e.Validation = &pipeline.Metrics{Loss: 2}
	if loss := e.Watched(); loss != 2 {
		t.Errorf("with a validation: %g", loss)
	}
}

// validated gives each epoch of a watched run a validation.
func validated(events []pipeline.Event) []pipeline.Event {
	for i, event := range events {
		switch e := event.(type) {
		case pipeline.Begin:
			e.ValidationExamples = 4
			events[i] = e
		case pipeline.Epoch:
			e.Validation = &pipeline.Metrics{Loss: 0.25 * float64(e.Number), Accuracy: 0.5, Correct: 2, Examples: 4}
			events[i] = e
		}
	}
	return events
}

func TestLogsOfAValidation(t *testing.T) {
	dir := t.TempDir()
	board := &TensorBoard{Dir: dir + "/tensorboard", Classes: []string{"cat", "dog"}, HParams: map[string]any{"a": 1}}
	wandb := &WandB{Dir: dir}
	for _, c := range []pipeline.Callback{board, wandb} {
		for _, event := range validated(watchedEvents(0)) {
			if err := c.Handle(context.Background(), event); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(nil); err != nil {
			t.Fatal(err)
		}
	}
	for folder, want := range map[string]map[string]float32{
		"validation": {"epoch_loss 1": 0.25, "epoch_loss 2": 0.5, "epoch_accuracy 1": 0.5, "epoch_accuracy 2": 0.5},
		"test":       {"epoch_loss 1": 1.5, "epoch_loss 2": 0.75, "epoch_accuracy 1": 0.75, "epoch_accuracy 2": 0.75},
	} {
		scalars, pictures := valuesOf(t, dir+"/tensorboard/"+folder)
		if diff := cmp.Diff(want, scalars); diff != "" {
			t.Errorf("%s (-want +got): %s", folder, diff)
		}
		if (len(pictures) > 0) != (folder == "test") {
			t.Errorf("%s has %d confusion matrices", folder, len(pictures))
		}
	}
	last := map[string]any{}
	for _, row := range readOffline(t, wandb.Path()).history {
		for key, value := range row {
			last[key] = value
		}
	}
	if last["epoch/validation_loss"] != 0.5 || last["epoch/validation_accuracy"] != 0.5 || last["epoch/test_loss"] != 0.75 {
		t.Errorf("W&B has %v", last)
	}
}

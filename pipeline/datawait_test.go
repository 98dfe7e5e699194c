package pipeline_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/checkpoint"
)

// share is that of waiting in the time of some steps.
func share(steps []pipeline.Step) float64 {
	var wait, all time.Duration
	for _, s := range steps {
		wait, all = wait+s.Wait, all+s.Duration
	}
	return wait.Seconds() / all.Seconds()
}

// A run's share is that of all its steps, also of those before it was resumed.
func TestDataWaitIsTheShareOfAllSteps(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, heard := newSession(dir), &recorder{}
	first.Callbacks = append(first.Callbacks, heard, &trigger{number: 8, do: func() error { cancel(); return nil }})
	cut, err := first.fit(ctx)
	if !errors.Is(err, context.Canceled) || cut.Steps == 0 {
		t.Fatalf("Fit = %+v, %v", cut, err)
	}
	before := eventsOf[pipeline.Step](heard)
	if want := share(before); !near(cut.DataWait, want) || !(0 < want && want < 1) {
		t.Errorf("the first part waited %g of its time, its steps %g", cut.DataWait, want)
	}

	second, heard := newSession(dir), &recorder{}
	second.resume(t)
	if saved := second.Resume.Result(); !near(saved.DataWait, cut.DataWait) {
		t.Errorf("its checkpoint says %g, not %g", saved.DataWait, cut.DataWait)
	}
	second.Callbacks = append(second.Callbacks, heard)
	whole, err := second.fit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := share(append(before, eventsOf[pipeline.Step](heard)...)); !near(whole.DataWait, want) {
		t.Errorf("the whole run waited %g of its time, its steps %g", whole.DataWait, want)
	}
}

// near allows for the rounding of nanoseconds in state.json.
func near(a, b float64) bool { return math.Abs(a-b) < 1e-4 }

func TestDataWaitOfStates(t *testing.T) {
	for name, test := range map[string]struct {
		state string
		want  float64
	}{
		"a quarter":                       {`{"format":1,"step":7,"epoch":2,"training_seconds":8,"wait_seconds":2}`, 0.25},
		"before any step":                 {`{"format":1,"step":7,"epoch":1}`, 0},
		"of before the waits are counted": {`{"format":1,"step":7,"epoch":2,"training_seconds":8}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := checkpoint.Checkpoint{Step: 7, Path: t.TempDir()}
			if err := os.WriteFile(filepath.Join(c.Path, "state.json"), []byte(test.state), 0o644); err != nil {
				t.Fatal(err)
			}
			saved, err := pipeline.ReadSaved(c)
			if err != nil {
				t.Fatal(err)
			}
			if got := saved.Result().DataWait; got != test.want {
				t.Errorf("DataWait = %g, want %g", got, test.want)
			}
		})
	}
}

package callback

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/residual-go/residual/pipeline"
)

func epochOf(number int, train float64, test *float64) pipeline.Epoch {
	e := pipeline.Epoch{Number: number, Train: pipeline.Metrics{Loss: train}}
	if test != nil {
		e.Test = &pipeline.Metrics{Loss: *test}
	}
	return e
}

// stoppedAt plays epochs, each in a run that is resumed from the one before,
// and returns the epoch that ended it; 0 for none.
func stoppedAt(t *testing.T, settings EarlyStopping, train, test []float64) int {
	t.Helper()
	state := []byte(`{}`)
	for i, loss := range train {
		c := settings
		if err := c.Restore(state); err != nil {
			t.Fatal(err)
		}
		if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
			t.Fatal(err)
		}
		var tested *float64
		if test != nil {
			tested = &test[i]
		}
		err := c.Handle(context.Background(), epochOf(i+1, loss, tested))
		if errors.Is(err, pipeline.ErrStop) {
			return i + 1
		}
		if err != nil {
			t.Fatal(err)
		}
		if state, err = c.State(); err != nil {
			t.Fatal(err)
		}
	}
	return 0
}

func ofTest(e pipeline.Epoch) float64 { return e.Test.Loss }

func TestEarlyStopping(t *testing.T) {
	falling := []float64{5, 4, 3, 2, 1}
	for _, test := range []struct {
		settings    EarlyStopping
		train, test []float64
		want        int
	}{
		{EarlyStopping{Patience: 1}, falling, nil, 0},
		{EarlyStopping{Patience: 1}, []float64{3, 2, 2, 1}, nil, 3},
		{EarlyStopping{Patience: 2}, []float64{3, 2, 2, 1, 1, 1}, nil, 6},
		{EarlyStopping{Patience: 3}, []float64{3, 4, 5, 2, 4, 4, 4}, nil, 7},
		{EarlyStopping{Patience: 2, MinDelta: 1.5}, falling, nil, 0}, // each second epoch is progress
		{EarlyStopping{Patience: 2, MinDelta: 2.5}, falling, nil, 3},
		{EarlyStopping{Patience: 2}, falling, []float64{1, 2, 3, 4, 5}, 0},
		{EarlyStopping{Patience: 2, Loss: ofTest}, falling, []float64{1, 2, 3, 4, 5}, 3},
	} {
		t.Run(fmt.Sprint(test.settings.Patience, test.train, test.test), func(t *testing.T) {
			if got := stoppedAt(t, test.settings, test.train, test.test); got != test.want {
				t.Errorf("it ended the run after epoch %d, want %d", got, test.want)
			}
		})
	}
}

func TestEarlyStoppingRefuses(t *testing.T) {
	if err := (&EarlyStopping{}).Handle(context.Background(), pipeline.Begin{}); err == nil || errors.Is(err, pipeline.ErrStop) {
		t.Errorf("a patience of 0: %v", err)
	}
	for _, state := range []string{`{"waiting": -1}`, `7`, `{"best": "x"}`} {
		if err := (&EarlyStopping{Patience: 1}).Restore([]byte(state)); err == nil {
			t.Errorf("the state %s was taken", state)
		}
	}
}

package callback

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/residual-go/residual/pipeline"
)

// Tolerant lets a run go on without a callback that has failed, over a full
// disk or a folder that was removed. The first failure is told to Warn; from
// then on the callback hears of no event, but still of the end. ErrStop is no
// failure: it ends the run as ever.
type Tolerant struct {
	Callback pipeline.Callback
	Warn     func(error) // told once at most; nil means that nobody is told

	err error // the first
}

var _ pipeline.Stateful = (*Tolerant)(nil)

// StateName is the callback's; "" where it has no state.
func (t *Tolerant) StateName() string {
	if s, ok := t.Callback.(pipeline.Stateful); ok {
		return s.StateName()
	}
	return ""
}

// State is the callback's; nil where it has none, or has failed. It returns no
// error.
func (t *Tolerant) State() (json.RawMessage, error) {
	s, ok := t.Callback.(pipeline.Stateful)
	if !ok || t.err != nil {
		return nil, nil
	}
	state, err := s.State()
	t.warn(err)
	return state, nil
}

// Restore restores the callback. It returns no error.
func (t *Tolerant) Restore(state json.RawMessage) error {
	if s, ok := t.Callback.(pipeline.Stateful); ok {
		t.warn(s.Restore(state))
	}
	return nil
}

// Handle passes the event on. The only error that it returns is ErrStop.
func (t *Tolerant) Handle(ctx context.Context, event pipeline.Event) error {
	if t.err != nil {
		return nil
	}
	err := t.Callback.Handle(ctx, event)
	if errors.Is(err, pipeline.ErrStop) {
		return err
	}
	t.warn(err)
	return nil
}

// Close closes the callback. One that has failed hears of its own failure, so
// that it does not take its part of the run for a whole one. It returns no
// errors.
func (t *Tolerant) Close(runErr error) error {
	t.warn(t.Callback.Close(cmp.Or(runErr, t.err)))
	return nil
}

// warn leaves away what follows from the first failure.
func (t *Tolerant) warn(err error) {
	if err == nil || t.err != nil {
		return
	}
	t.err = err
	if t.Warn != nil {
		t.Warn(err)
	}
}

package callback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/residual-go/residual/pipeline"
)

// EarlyStopping ends a run in good order when the loss has not fallen for
// Patience epochs, as Keras's callback of that name does. The weights stay those
// of the last epoch, as Keras's do by default.
type EarlyStopping struct {
	Patience int     // epochs without progress that end the run; at least 1
	MinDelta float64 // what a loss must fall by to count as progress
	// Loss is what is watched; nil means the training's. A test that decides
	// when to stop is no test any more.
	Loss func(pipeline.Epoch) float64

	state earlyState
}

// earlyState is what a resumed run goes on with.
type earlyState struct {
	Best    *float64 `json:"best"`    // loss; null before the first epoch
	Waiting int      `json:"waiting"` // epochs since
}

var _ pipeline.Stateful = (*EarlyStopping)(nil)

// Handle looks at each epoch.
func (s *EarlyStopping) Handle(_ context.Context, event pipeline.Event) error {
	if s.Patience < 1 {
		return fmt.Errorf("stop early: the patience must be at least 1, not %d", s.Patience)
	}
	e, ok := event.(pipeline.Epoch)
	if !ok {
		return nil
	}
	loss := e.Train.Loss
	if s.Loss != nil {
		loss = s.Loss(e)
	}
	if s.state.Best == nil || loss < *s.state.Best-s.MinDelta {
		s.state = earlyState{Best: &loss}
		return nil
	}
	s.state.Waiting++
	if s.state.Waiting >= s.Patience {
		return pipeline.ErrStop
	}
	return nil
}

// Close does nothing.
func (s *EarlyStopping) Close(error) error { return nil }

// StateName says "early_stopping".
func (s *EarlyStopping) StateName() string { return "early_stopping" }

// State is the least loss and how long ago it was.
func (s *EarlyStopping) State() (json.RawMessage, error) { return json.Marshal(s.state) }

// Restore takes them back.
func (s *EarlyStopping) Restore(state json.RawMessage) error {
	var restored earlyState
	err := json.Unmarshal(state, &restored)
	if err == nil && restored.Waiting < 0 {
		err = errors.New("it has waited a negative number of epochs")
	}
	if err != nil {
		return fmt.Errorf("restore early stopping: %w", err)
	}
	s.state = restored
	return nil
}

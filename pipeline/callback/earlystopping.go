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
	// Loss is what is watched; nil means pipeline.Epoch.Watched.
	Loss func(pipeline.Epoch) float64

	state patience
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
	if s.state.over(e, s.Loss, s.MinDelta, s.Patience) {
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
	var restored patience
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

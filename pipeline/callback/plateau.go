package callback

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/residual-go/residual/pipeline"
)

// Plateau is a pipeline.Schedule that lowers the learning rate each time that
// the loss has not fallen for Patience epochs, as Keras's ReduceLROnPlateau
// does. It hears of the epochs as a callback: it stands among both.
type Plateau struct {
	Patience int     // epochs without progress; at least 1
	By       float64 // what the rate is multiplied by then; 0 means 0.1
	MinDelta float64 // what a loss must fall by to count as progress
	// Loss is what is watched; nil means pipeline.Epoch.Watched.
	Loss func(pipeline.Epoch) float64

	state plateauState
}

// plateauState is what a resumed run goes on with.
type plateauState struct {
	patience
	Falls int `json:"falls"` // of the rate so far
}

var (
	_ pipeline.Stateful = (*Plateau)(nil)
	_ pipeline.Schedule = (*Plateau)(nil)
)

// Factor is By to the power of the falls so far.
func (p *Plateau) Factor(int, int) float64 {
	factor := 1.0
	for range p.state.Falls {
		factor *= cmp.Or(p.By, 0.1)
	}
	return factor
}

// Handle looks at each epoch.
func (p *Plateau) Handle(_ context.Context, event pipeline.Event) error {
	if p.Patience < 1 || p.By < 0 {
		return fmt.Errorf("lower learning rate: neither the patience %d nor the factor %g may be that small", p.Patience, p.By)
	}
	e, ok := event.(pipeline.Epoch)
	if ok && p.state.over(e, p.Loss, p.MinDelta, p.Patience) {
		p.state.Falls++
		p.state.Waiting = 0
	}
	return nil
}

// Close does nothing.
func (p *Plateau) Close(error) error { return nil }

// StateName says "plateau".
func (p *Plateau) StateName() string { return "plateau" }

// State is the least loss, how long ago it was, and the falls so far.
func (p *Plateau) State() (json.RawMessage, error) { return json.Marshal(p.state) }

// Restore takes them back.
func (p *Plateau) Restore(state json.RawMessage) error {
	var restored plateauState
	err := json.Unmarshal(state, &restored)
	if err == nil && (restored.Falls < 0 || restored.Waiting < 0) {
		err = fmt.Errorf("%d falls and %d epochs of waiting cannot be", restored.Falls, restored.Waiting)
	}
	if err != nil {
		return fmt.Errorf("restore plateau: %w", err)
	}
	p.state = restored
	return nil
}

// patience counts the epochs since a loss was the least.
type patience struct {
	Best    *float64 `json:"best"`    // loss; null before the first epoch
	Waiting int      `json:"waiting"` // epochs since
}

// over takes an epoch into account and tells whether it has waited for so many
// epochs that limit is reached.
func (p *patience) over(e pipeline.Epoch, watched func(pipeline.Epoch) float64, minDelta float64, limit int) bool {
	if watched == nil {
		watched = pipeline.Epoch.Watched
	}
	if loss := watched(e); p.Best == nil || loss < *p.Best-minDelta {
		*p = patience{Best: &loss}
		return false
	}
	p.Waiting++
	return p.Waiting >= limit
}

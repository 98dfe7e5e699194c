package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/residual-go/residual/pipeline"
)

// guard keeps a run from writing checkpoints to where its directory no longer
// is.
type guard struct{ site *site }

var _ pipeline.Stateful = guard{}

func (g guard) Handle(context.Context, pipeline.Event) error { return nil }
func (g guard) Close(error) error                            { return nil }
func (g guard) StateName() string                            { return "run_directory" }
func (g guard) Restore(json.RawMessage) error                { return nil }

// State fails where a checkpoint would not be one of this run.
func (g guard) State() (json.RawMessage, error) {
	if g.site.lock.Check() != nil {
		return nil, fmt.Errorf("%s was moved or removed while the run is in it: bring it back there, or the steps from now on are lost", g.site.dir)
	}
	return nil, nil
}

package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/residual-go/residual/pipeline"
)

// guard keeps a run from writing checkpoints to where its directory no longer
// is.
type guard struct {
	site *site
	warn func(error)
	told bool
}

var _ pipeline.Stateful = (*guard)(nil)

func (g *guard) check() error {
	if g.site.lock.Check() != nil {
		return fmt.Errorf("%s was moved or removed while the run is in it: bring it back there, or the steps from now on are lost", g.site.dir)
	}
	return nil
}

// Handle warns once.
func (g *guard) Handle(_ context.Context, event pipeline.Event) error {
	if _, ok := event.(pipeline.Epoch); !ok || g.told {
		return nil
	}
	if err := g.check(); err != nil {
		g.told = true
		g.warn(err)
	}
	return nil
}

func (g *guard) Close(error) error             { return nil }
func (g *guard) StateName() string             { return "run_directory" }
func (g *guard) Restore(json.RawMessage) error { return nil }

// State fails where a checkpoint would not be one of this run.
func (g *guard) State() (json.RawMessage, error) { return nil, g.check() }

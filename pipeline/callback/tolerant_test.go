package callback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/residual-go/residual/pipeline"
)

// fragile fails on purpose, and counts what it hears.
type fragile struct {
	handle, close error
	events        int
	closed        []error
}

func (f *fragile) Handle(context.Context, pipeline.Event) error {
	f.events++
	return f.handle
}

func (f *fragile) Close(runErr error) error {
	f.closed = append(f.closed, runErr)
	return f.close
}

func TestTolerant(t *testing.T) {
	full, gone := errors.New("the disk is full"), errors.New("the folder is gone")
	stop := fmt.Errorf("enough: %w", pipeline.ErrStop)
	for name, test := range map[string]struct {
		handle, close error
		events        int // of 3
		warnings      []error
		returned      error
	}{
		"all is well":             {events: 3},
		"an event fails":          {handle: full, events: 1, warnings: []error{full}},
		"the end fails":           {close: gone, events: 3, warnings: []error{gone}},
		"both fail":               {handle: full, close: gone, events: 1, warnings: []error{full}},
		"it ends the run":         {handle: stop, events: 3, returned: stop},
		"it ends the run and how": {handle: stop, close: gone, events: 3, warnings: []error{gone}, returned: stop},
	} {
		t.Run(name, func(t *testing.T) {
			inner := &fragile{handle: test.handle, close: test.close}
			var warnings []error
			c := &Tolerant{Callback: inner, Warn: func(err error) { warnings = append(warnings, err) }}
			for range 3 {
				if err := c.Handle(context.Background(), pipeline.Step{}); err != test.returned {
					t.Errorf("Handle = %v, want %v", err, test.returned)
				}
			}
			end := errors.New("how the run ended")
			if err := c.Close(end); err != nil {
				t.Errorf("Close = %v", err)
			}
			if inner.events != test.events || len(inner.closed) != 1 || inner.closed[0] != end {
				t.Errorf("it heard of %d events and of the end %v, want %d events", inner.events, inner.closed, test.events)
			}
			if fmt.Sprint(warnings) != fmt.Sprint(test.warnings) {
				t.Errorf("warnings %v, want %v", warnings, test.warnings)
			}
			if err := (&Tolerant{Callback: inner}).Close(nil); err != nil {
				t.Errorf("without Warn Close = %v", err)
			}
		})
	}
}

// The state of a callback goes through; that it has none, or that it fails, does
// not end a checkpoint.
func TestTolerantKeepsState(t *testing.T) {
	dir := t.TempDir()
	var warned []error
	warn := func(err error) { warned = append(warned, err) }
	csv := &Tolerant{Callback: &CSV{Dir: dir}, Warn: warn}
	if err := csv.Handle(context.Background(), pipeline.Begin{}); err != nil {
		t.Fatal(err)
	}
	state, err := csv.State()
	if err != nil || state == nil || csv.StateName() != "csv" {
		t.Errorf("state %s of %q, %v", state, csv.StateName(), err)
	}
	_ = csv.Close(nil)
	if state, err := csv.State(); state != nil || err != nil || len(warned) != 1 {
		t.Errorf("of a file that is closed: %s, %v, warnings %v", state, err, warned)
	}
	if state, err := csv.State(); state != nil || err != nil || len(warned) != 1 {
		t.Errorf("after a failure: %s, %v, warnings %v", state, err, warned)
	}
	plain := &Tolerant{Callback: &Progress{Out: io.Discard}, Warn: warn}
	if state, err := plain.State(); state != nil || err != nil || plain.StateName() != "" || plain.Restore(nil) != nil {
		t.Errorf("of a callback without one: %s, %v", state, err)
	}
	again := &Tolerant{Callback: &CSV{Dir: dir}, Warn: warn}
	if err := again.Restore([]byte("no state")); err != nil || len(warned) != 2 {
		t.Errorf("%v, warnings %v", err, warned)
	}
}

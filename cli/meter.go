package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
)

// meter shows how far the reading of data is: on a terminal on one line that is
// rewritten, elsewhere as a line now and then. What is over within a second is
// not shown.
type meter struct {
	out      io.Writer
	terminal bool
	next     time.Time // when to show again
	dirty    bool      // the terminal's line holds something
}

func newMeter(c *cli.Context) *meter {
	m := &meter{out: c.App.ErrWriter, terminal: isTerminal(c.App.ErrWriter), next: time.Now().Add(time.Second)}
	if c.Bool(quietFlag.Name) {
		m.out = io.Discard
	}
	return m
}

func (m *meter) show(p dataset.Progress) {
	now := time.Now()
	if now.Before(m.next) {
		return
	}
	text := p.Doing + ": " + amount(p.Done, p.Unit)
	if p.Total > 0 {
		text = fmt.Sprintf("%s: %d %% of %s", p.Doing, 100*p.Done/p.Total, amount(p.Total, p.Unit))
	}
	if m.terminal {
		m.next, m.dirty = now.Add(100*time.Millisecond), true
		fmt.Fprintf(m.out, "\r\x1b[K%s", text)
		return
	}
	m.next = now.Add(10 * time.Second)
	fmt.Fprintln(m.out, text)
}

// clear empties the line again.
func (m *meter) clear() {
	if m.dirty {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.dirty = false
	}
}

func amount(n int64, unit string) string {
	if unit == "bytes" {
		return formatBytes(n)
	}
	return formatCount(int(n)) + " " + unit
}

package cli

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/callback"
	"github.com/residual-go/residual/pipeline/dataset"
)

// meter shows how far the reading or writing of data is.
type meter struct{ callback.Meter }

func newMeter(c *cli.Context) *meter {
	m := &meter{callback.Meter{Out: c.App.ErrWriter}}
	if c.Bool(quietFlag.Name) {
		m.Out = io.Discard
	}
	return m
}

func (m *meter) show(p dataset.Progress) {
	m.Show(callback.Work{
		Doing: p.Doing, Done: p.Done, Total: p.Total,
		Amount: func(n int64) string { return amount(n, p.Unit) },
	})
}

func amount(n int64, unit string) string {
	if unit == "bytes" {
		return formatBytes(n)
	}
	return formatCount(int(n)) + " " + unit
}

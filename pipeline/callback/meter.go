package callback

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Meter shows how far work outside of a run is, such as a download: on a
// terminal as a bar that changes in place, elsewhere as a plain line now and
// then. Work that is over within a second is not shown.
type Meter struct {
	Out io.Writer // nil means os.Stderr

	now    func() time.Time // time.Now but in tests
	screen *screen
	work   Work
	pace   pace
	last   time.Time // the last call
	next   time.Time // when to show again
}

// Work is how far something is.
type Work struct {
	Doing       string // such as "download cifar-10-binary.tar.gz"
	Done, Total int64  // a Total of 0 is not known
	// Amount writes so much of the work for people, such as "162.60 MB".
	Amount func(int64) string
}

const meterQuiet = time.Second // at first

// Show shows the work if that is due.
func (m *Meter) Show(w Work) {
	m.start()
	now := m.now()
	if w.Doing != m.work.Doing || w.Done < m.work.Done { // other work, or it began anew
		m.pace = pace{}
	} else {
		m.pace.add(int(w.Done-m.work.Done), now.Sub(m.last))
	}
	m.work, m.last = w, now
	switch {
	case now.Before(m.next):
	case m.screen.live():
		m.next = now.Add(liveEvery)
		m.screen.show(w.live(m.pace, m.screen.width()))
	default:
		m.next = now.Add(plainEvery)
		m.screen.keep(w.plain())
	}
}

// Close takes the bar away again.
func (m *Meter) Close() {
	if m.screen != nil && m.screen.used > 0 {
		m.screen.keep()
	}
}

func (m *Meter) start() {
	if m.screen != nil {
		return
	}
	m.screen = newScreen(cmp.Or[io.Writer](m.Out, os.Stderr))
	if m.now == nil {
		m.now = time.Now
	}
	m.next = m.now().Add(meterQuiet)
}

// plain writes the work as a line of a log.
func (w Work) plain() string {
	if w.Total <= 0 {
		return w.Doing + ": " + w.Amount(w.Done)
	}
	return fmt.Sprintf("%s: %d %% of %s", w.Doing, w.percent(), w.Amount(w.Total))
}

// live writes the work with a bar into at most width columns. Where that is too
// few, what matters least goes first.
func (w Work) live(p pace, width int) string {
	verb, _, _ := strings.Cut(w.Doing, " ")
	rate := field(p.rate() >= 1, w.Amount(int64(p.rate()))+"/s", len("1023.99 KB/s"))
	if w.Total <= 0 {
		return longest(width, strings.TrimRight(w.plain()+"  "+rate, " "), w.plain(), verb+": "+w.Amount(w.Done))
	}
	percent, of := fmt.Sprintf("%3d %%", w.percent()), " of "+w.Amount(w.Total)
	left := ""
	if p.rate() > 0 {
		left = clock(time.Duration(float64(w.Total-w.Done)/p.rate()*float64(time.Second))) + " left"
	}
	for _, l := range []struct {
		doing, text string
	}{
		{w.Doing, percent + of + "  " + rate + "  " + left},
		{w.Doing, percent + of + "  " + left},
		{w.Doing, percent + "  " + left},
		{verb, percent + "  " + left},
		{verb, percent},
	} {
		if room := width - len(l.doing) - len(" [] ") - len(l.text); room >= minBar {
			bar := pass{batch: int(w.Done), batches: int(w.Total)}.bar(min(room, maxBar))
			return strings.TrimRight(l.doing+" ["+bar+"] "+l.text, " ")
		}
	}
	percent = strings.TrimSpace(percent)
	return longest(width, verb+" "+percent, percent)
}

func (w Work) percent() int64 { return 100 * min(w.Done, w.Total) / w.Total }

package callback

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// terminal is as much of a terminal as Progress uses: it wraps, and it knows
// carriage return, newline, cursor up and the two ways of erasing.
type terminal struct {
	columns  int
	rows     [][]byte
	row, col int
	widest   int // columns that were ever used
}

var control = regexp.MustCompile(`^\x1b\[([0-9]*)([A-Z])`)

func (v *terminal) Write(p []byte) (int, error) {
	for text := string(p); text != ""; {
		if text[0] != '\x1b' {
			v.put(text[0])
			text = text[1:]
			continue
		}
		m := control.FindStringSubmatch(text)
		v.control(m[1], m[2])
		text = text[len(m[0]):]
	}
	return len(p), nil
}

func (v *terminal) control(number, name string) {
	v.line()
	switch name {
	case "K":
		v.rows[v.row] = v.rows[v.row][:min(v.col, len(v.rows[v.row]))]
	case "J":
		v.rows[v.row] = v.rows[v.row][:min(v.col, len(v.rows[v.row]))]
		v.rows = v.rows[:v.row+1]
	case "A":
		v.row = max(0, v.row-1)
	default:
		panic(fmt.Sprintf("unknown control sequence %s%s", number, name))
	}
}

func (v *terminal) put(c byte) {
	switch c {
	case '\r':
		v.col = 0
		return
	case '\n':
		v.row, v.col = v.row+1, 0
		v.line()
		return
	}
	if v.col == v.columns {
		v.row, v.col = v.row+1, 0
	}
	line := v.line()
	for len(*line) <= v.col {
		*line = append(*line, ' ')
	}
	(*line)[v.col] = c
	v.col++
	v.widest = max(v.widest, v.col)
}

func (v *terminal) line() *[]byte {
	for len(v.rows) <= v.row {
		v.rows = append(v.rows, nil)
	}
	return &v.rows[v.row]
}

// resize makes the terminal narrower, wrapping its last line as most do.
func (v *terminal) resize(columns int) {
	v.columns = columns
	last := v.rows[len(v.rows)-1]
	v.rows = v.rows[:len(v.rows)-1]
	v.row, v.col = len(v.rows), 0
	for _, c := range last {
		v.put(c)
	}
}

func (v *terminal) String() string {
	var b strings.Builder
	for _, row := range v.rows {
		b.WriteString(strings.TrimRight(string(row), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// on returns a Progress that takes v for its terminal, with the script's clock.
func (v *terminal) on(clock *clockwork) *Progress {
	return &Progress{now: clock.now, screen: &screen{out: v, columns: func() int { return v.columns }}}
}

func TestScreenReplacesALineThatWasWrappedByAResize(t *testing.T) {
	v := &terminal{columns: 40}
	s := &screen{out: v, columns: func() int { return v.columns }}
	s.keep("what was there before")
	s.show(strings.Repeat("x", 37))
	v.resize(10)
	s.show("short")
	s.keep("the end")
	if got, want := v.String(), "what was there before\nthe end\n"; got != want {
		t.Errorf("screen shows\n%swant\n%s", got, want)
	}
}

func TestScreenErasesTheRestOfALongerLine(t *testing.T) {
	v := &terminal{columns: 40}
	s := &screen{out: v, columns: func() int { return v.columns }}
	s.show("a long line of words")
	s.show("a short one")
	if got := v.String(); got != "a short one\n" {
		t.Errorf("screen shows %q", got)
	}
}

func TestScreenLeavesRoomForCtrlC(t *testing.T) {
	for columns, want := range map[int]int{0: 0, 1: 1, 3: 1, 50: 47, 80: 77} {
		s := &screen{columns: func() int { return columns }}
		if got := s.width(); got != want {
			t.Errorf("width on %d columns = %d, want %d", columns, got, want)
		}
	}
}

package callback

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// screen is a terminal whose last line changes in place.
type screen struct {
	out     io.Writer
	columns func() int // 0 where out is no terminal
	used    int        // columns of the line that stands there
}

// newScreen finds out whether out is a terminal.
func newScreen(out io.Writer) *screen {
	s := &screen{out: out, columns: func() int { return 0 }}
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return s
	}
	s.columns = func() int {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil || width <= 0 {
			return 80 // a terminal that does not know its size
		}
		return width
	}
	return s
}

// live says whether out is a terminal.
func (s *screen) live() bool { return s.columns() > 0 }

// width returns how long a line may be, 0 if there is no limit. The last
// columns stay free for the terminal's echo of a Ctrl-C.
func (s *screen) width() int {
	if !s.live() {
		return 0
	}
	return max(1, s.columns()-len("^C")-1)
}

// show replaces the live line.
func (s *screen) show(line string) {
	s.print(s.back() + line + "\x1b[K")
	s.used = len(line)
}

// keep replaces the live line by lines that stay.
func (s *screen) keep(lines ...string) {
	back := ""
	if s.used > 0 {
		back = s.back() + "\x1b[K"
	}
	s.print(back + strings.Join(append(lines, ""), "\n"))
	s.used = 0
}

// back returns what moves the cursor to the begin of the live line. Terminals
// that have become narrower have wrapped it.
func (s *screen) back() string {
	columns := s.columns()
	if columns == 0 || s.used <= columns {
		return "\r"
	}
	return "\r" + strings.Repeat("\x1b[A", (s.used-1)/columns) + "\x1b[J"
}

// print writes all at once, so that nothing flickers. A terminal that has
// gone away is no reason to end a run.
func (s *screen) print(text string) { _, _ = io.WriteString(s.out, text) }

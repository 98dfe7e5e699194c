package callback

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close(); _ = terminal.Close() })
	return keyboard, terminal
}

func setColumns(t *testing.T, f *os.File, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

func TestScreenAsksTheTerminalForItsWidth(t *testing.T) {
	t.Setenv("TERM", "xterm")
	_, tty := openTerminal(t)
	s := newScreen(tty)
	for columns, want := range map[uint16]int{120: 120, 50: 50, 0: 80} {
		setColumns(t, tty, columns)
		if got := s.columns(); got != want {
			t.Errorf("columns = %d of %d, want %d", got, columns, want)
		}
	}
}

func TestScreenKnowsWhatIsNoTerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, tty := openTerminal(t)
	t.Setenv("TERM", "dumb")
	for name, out := range map[string]io.Writer{"file": file, "writer": io.Discard, "dumb terminal": tty} {
		if newScreen(out).live() {
			t.Errorf("a %s is taken for a terminal", name)
		}
	}
}

func TestProgressOnARealTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	keyboard, tty := openTerminal(t)
	setColumns(t, tty, 80)
	v := &terminal{columns: 80}
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(v, keyboard) }) // ends with an error when tty is closed

	clock := &clockwork{at: time.Unix(1e9, 0)}
	p := &Progress{Out: tty, now: clock.now}
	s := cifar
	s.stopAfter = 101
	_ = p.Close(s.play(p, clock))
	_ = tty.Close()
	reader.Wait()
	want := "Epoch 1/3 [>      ] 100/782  loss 2.0415  acc 0.1935  42.7 img/s  17m03s left\n"
	if got := v.String(); got != want {
		t.Errorf("screen shows\n%qwant\n%q", got, want)
	}
}

// Nothing here has a colour. NO_COLOR (https://no-color.org) asks for that, not
// for a terminal without bars.
func TestTerminalsGetNoColours(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("COLORTERM", "truecolor")
	for _, noColor := range []string{"", "1"} {
		t.Setenv("NO_COLOR", noColor)
		keyboard, tty := openTerminal(t)
		setColumns(t, tty, 80)
		var written bytes.Buffer
		var reader sync.WaitGroup
		reader.Go(func() { _, _ = io.Copy(&written, keyboard) })

		clock := &clockwork{at: time.Unix(1e9, 0)}
		p := &Progress{Out: tty, now: clock.now}
		_ = p.Close(cifar.play(p, clock))
		m := &Meter{Out: tty, now: clock.now}
		fetch(m, clock, 162, 20)
		m.Close()
		_ = tty.Close()
		reader.Wait()
		if !bytes.Contains(written.Bytes(), []byte("[==")) {
			t.Errorf("with NO_COLOR=%s there is no bar", noColor)
		}
		if colour := regexp.MustCompile(`\x1b\[[0-9;]*m`).Find(written.Bytes()); colour != nil {
			t.Errorf("with NO_COLOR=%s there is %q", noColor, colour)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeProc makes a directory as /proc is, of the lines that stat files have.
func writeProc(t *testing.T, lines ...string) string {
	t.Helper()
	proc := t.TempDir()
	for _, line := range lines {
		pid, _, _ := strings.Cut(line, " ")
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"stat": line + "\n", "status": "Name:\tx\nVmHWM:\t    2048 kB\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return proc
}

func TestAProcessIsCountedWithItsDescendants(t *testing.T) {
	proc := writeProc(t,
		"10 (server) S 1 5 5 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 99 1000 10",
		"20 (a (b) c) S 10 5 5 0 -1 4194560 1 2 3 4 7 0 0 0 20 0 1 0 99 1000 10",
		"30 (server) S 20 5 5 0 -1 4194560 1 2 3 4 5 0 0 0 20 0 1 0 99 1000 10",
		"40 (stranger) S 1 5 5 0 -1 4194560 1 2 3 4 900 0 0 0 20 0 1 0 99 1000 10",
	)
	got, err := readUsed(proc, 10)
	if want := (used{ticks: 100 + 20 + 3 + 1 + 7 + 5, rssKB: 3 * 2048}); got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := readUsed(proc, 50); err == nil {
		t.Error("a process that is not there was read")
	}
}

func TestALineThatIsNoStatIsAnError(t *testing.T) {
	for _, line := range []string{"10 server S 1", "10 (server) S 1 5", "10 )server( S 1"} {
		if got, err := readUsed(writeProc(t, line), 10); err == nil {
			t.Errorf("%q was read as %+v", line, got)
		}
	}
}

func TestUsageIsWhatCameBetweenTwoReadings(t *testing.T) {
	before, after := used{ticks: 100, rssKB: 1024}, used{ticks: 150, rssKB: 3072}
	if got, want := *after.since(before, 10), (usage{CPU: 0.5, CPUPerRequest: 50_000, RSS: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := after.since(before, 0); got.CPUPerRequest != 500_000 {
		t.Errorf("without a request: %+v", got)
	}
}

func TestTheWindowIsMeasured(t *testing.T) {
	if got, err := measureUsage(0, time.Now(), window{})(1); got != nil || err != nil {
		t.Errorf("of no process: %+v, %v", got, err)
	}
	if got, err := measureUsage(os.Getpid(), time.Now(), window{})(1); err != nil || got.RSS == 0 {
		t.Errorf("of this process: %+v, %v", got, err)
	}
	if got, err := measureUsage(1<<30, time.Now(), window{})(1); err == nil {
		t.Errorf("of a process that is not there: %+v", got)
	}
}

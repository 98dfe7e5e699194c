package modeltest

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// Footprint is what this process holds.
type Footprint struct{ ResidentKB, Goroutines, Descriptors int }

// FootprintNow frees what the collector can free, and looks. It skips a test
// where there is no /proc.
func FootprintNow(t testing.TB) Footprint {
	t.Helper()
	for range 2 { // what the first one finalizes the second one frees
		runtime.GC()
	}
	debug.FreeOSMemory()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("there is no /proc here")
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return Footprint{kb, runtime.NumGoroutine(), len(descriptors)}
}

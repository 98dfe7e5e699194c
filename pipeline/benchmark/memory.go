package benchmark

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
)

// Memory is the most that the process held in memory at once.
type Memory struct {
	Bytes int64 // 0 where the system does not tell
	// SinceStart says that it is of the whole life of the process, because the
	// system does not let it be measured anew.
	SinceStart bool
}

// Linux keeps the mark in one file and forgets it over another: proc(5).
const (
	statusFile = "/proc/self/status"
	forgetFile = "/proc/self/clear_refs"
)

// watchMemory lets the system forget what the process held before, once what can
// be given back is.
func watchMemory() Memory {
	debug.FreeOSMemory()
	return Memory{SinceStart: os.WriteFile(forgetFile, []byte("5\n"), 0) != nil}
}

func (m *Memory) stop() {
	status, err := os.ReadFile(statusFile)
	if err == nil {
		m.Bytes = highWaterMark(status)
	}
}

// highWaterMark reads the line "VmHWM:    1234 kB"; 0 if there is none.
func highWaterMark(status []byte) int64 {
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[0]) != "VmHWM:" || string(fields[2]) != "kB" {
			continue
		}
		if kB, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil && kB > 0 && kB < 1<<50 {
			return kB * 1024
		}
	}
	return 0
}

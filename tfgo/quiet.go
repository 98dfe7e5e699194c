package tfgo

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"
)

// LogLevelVariable is TensorFlow's variable for its log: 0 shows all, 3 only what
// ends the process. A program or user that sets it sees what they asked for.
const LogLevelVariable = "TF_CPP_MIN_LOG_LEVEL"

// logWanted tells whether the user has set the level, which quietly does later.
var logWanted = sync.OnceValue(func() bool {
	_, set := os.LookupEnv(LogLevelVariable)
	return set
})

// quietly runs load with TensorFlow's log turned off. What it would say comes
// back as errors anyway.
//
// The level is not yet in force while the library's own initialisers run, so
// their lines are caught: standard error goes to memory, and all but those
// lines is passed on afterwards.
func quietly(load func() error) error {
	if logWanted() {
		return load()
	}
	os.Setenv(LogLevelVariable, "3")
	memory, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC)
	if err != nil {
		return load()
	}
	caught := os.NewFile(uintptr(memory), "stderr")
	defer caught.Close()
	saved, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return load()
	}
	if err := unix.Dup3(memory, 2, 0); err != nil {
		unix.Close(saved)
		return load()
	}
	// Should the library end the process, Go says so where people see it.
	stderr := os.NewFile(uintptr(saved), "stderr")
	debug.SetCrashOutput(stderr, debug.CrashOptions{})
	defer func() {
		debug.SetCrashOutput(nil, debug.CrashOptions{})
		unix.Dup3(saved, 2, 0)
		stderr.Close()
		passOn(caught)
	}()
	return load()
}

// startLine matches what TensorFlow's initialisers log.
var startLine = regexp.MustCompile(`^([IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log messages before absl)`)

func passOn(caught *os.File) {
	if _, err := caught.Seek(0, io.SeekStart); err != nil {
		return
	}
	text, err := io.ReadAll(caught)
	if err != nil {
		return
	}
	for line := range bytes.Lines(text) {
		if !startLine.Match(line) {
			os.Stderr.Write(line)
		}
	}
}

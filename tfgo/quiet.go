package tfgo

// #include "quiet.h"
import "C"

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

// flagsGiven tells whether the user has set one of XLA's variables: a wrong flag in it
// ends the process by _exit, after a line that would be lost.
var flagsGiven = sync.OnceValue(func() bool { return os.Getenv(xlaFlags)+os.Getenv("XLA_FLAGS") != "" })

// quietly runs load with TensorFlow's log turned off. What it would say comes
// back as errors anyway.
//
// The level is not yet in force while the library's own initialisers run, so
// their lines are caught: standard error goes to memory, and all but those
// lines is passed on afterwards. All are, should the library abort.
func quietly(load func() error) error {
	if logWanted() {
		return load()
	}
	os.Setenv(LogLevelVariable, "3")
	if flagsGiven() {
		return load()
	}
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
	stderr := os.NewFile(uintptr(saved), "stderr")
	debug.SetCrashOutput(stderr, debug.CrashOptions{})
	C.tfgo_catch(C.int(memory), C.int(saved))
	defer func() {
		C.tfgo_release()
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

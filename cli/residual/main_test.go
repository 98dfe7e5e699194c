package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// mainVariable makes the program of the test binary.
const mainVariable = "RESIDUAL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is the command line, alone or as the first process of a namespace, as a
// container has it.
func program(t *testing.T, first bool, environment []string, words ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	modeltest.Dir(t, modeltest.Foreign) // finds TensorFlow
	command := exec.Command(os.Args[0], words...)
	if first {
		command = exec.Command("unshare", append([]string{"--pid", "--fork", "--mount-proc", "--kill-child", os.Args[0]}, words...)...)
		if out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
			t.Skipf("no namespace can be made: %v: %s", err, out)
		}
	}
	command.Env = append(os.Environ(), append(environment, mainVariable+"=1")...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	return command, &stderr
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	exit, ok := err.(*exec.ExitError)
	if err != nil && !ok {
		t.Fatal(err)
	}
	if err == nil {
		return 0
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// A crash is no wrong usage, also where the kernel spares the process its signal.
func TestExitCodes(t *testing.T) {
	for _, first := range []bool{false, true} {
		for _, test := range []struct {
			words       []string
			environment []string
			want        int
			says        string
		}{
			{[]string{"--version"}, nil, 0, ""},
			{[]string{"nosuch"}, nil, 2, "no command"},
			{[]string{"doctor", "--url", "http://127.0.0.1:1"}, nil, 1, "refused"},
			// TensorFlow's own check of this variable aborts.
			{[]string{"doctor"}, []string{"TF_NUM_INTRAOP_THREADS=-5"}, 134, "SIGABRT"},
		} {
			command, stderr := program(t, first, test.environment, test.words...)
			if code := exitCode(t, command.Run()); code != test.want || !strings.Contains(stderr.String(), test.says) {
				t.Errorf("first process: %t: residual %v ends with %d, want %d: %.500s", first, test.words, code, test.want, stderr)
			}
		}
	}
}

// Signals come to the program, which ends as it does without an init.
func TestSignalsArePassedOn(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, first := range []bool{false, true} {
		for _, number := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			command, stderr := program(t, first, nil, "doctor", "--url", "http://"+silent.Addr().String())
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			connection, err := silent.Accept() // it waits for an answer
			if err != nil {
				t.Fatal(err)
			}
			receiver := command.Process.Pid
			if first {
				receiver = childOf(t, receiver)
			}
			if err := syscall.Kill(receiver, number); err != nil {
				t.Fatal(err)
			}
			if code := exitCode(t, command.Wait()); code != 128+int(number) {
				t.Errorf("first process: %t: after %v it ends with %d: %s", first, number, code, stderr)
			}
			connection.Close()
		}
	}
}

// childOf is the only child of a process.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	for range 100 {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
		if child, wrong := strconv.Atoi(strings.TrimSpace(string(children))); err == nil && wrong == nil {
			return child
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("there is no child of ", pid)
	return 0
}

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// runAsInit runs the program as a child, passes on signals, and returns how the child
// ended: its exit code, or 128 and the number of the signal. ok is false where no child
// can be started, as without /proc.
//
// It is for the first process of a container, which the kernel spares the signals that
// would end it, SIGABRT of a crash among them, and which is the parent of all that loses
// its own.
func runAsInit() (code int, ok bool) {
	program, err := os.Executable()
	if err != nil {
		return 0, false
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	child := exec.Command(program)
	child.Args = os.Args
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	stdin := int(os.Stdin.Fd())
	// A group of its own: a terminal's Ctrl-C comes to it once.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: term.IsTerminal(stdin), Ctty: stdin}
	if err := child.Start(); err != nil {
		signal.Reset()
		return 0, false
	}
	go func() {
		for received := range signals {
			if number := received.(syscall.Signal); number != unix.SIGCHLD && number != unix.SIGURG && number != unix.SIGPIPE {
				_ = unix.Kill(child.Process.Pid, number)
			}
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err != nil || pid != child.Process.Pid: // interrupted, or an orphan
			continue
		case status.Signaled():
			return 128 + int(status.Signal()), true
		}
		return status.ExitStatus(), true
	}
}

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// What is the first process of a container is spared by the kernel the signals that
// would end it, SIGABRT of a crash among them, and is the parent of all that loses its
// own. So the program is a child there, of one that passes on signals and ends as the
// child does: with its exit code, or 128 and the number of the signal that ended it. It is
// false where no child can be started, as without /proc.
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

package tfgo

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// startingThreads calls what may start threads of TensorFlow, so that they are not
// interrupted by Go's CPU profiler: its signal, SIGPROF, is handled on the stack of
// the thread that it hits, and with TensorFlow's that has damaged the heap. A thread
// begins with those signals blocked that its maker has blocked.
func startingThreads(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var profiling, before unix.Sigset_t
	const bits = 64
	profiling.Val[(int(unix.SIGPROF)-1)/bits] |= 1 << ((int(unix.SIGPROF) - 1) % bits)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &profiling, &before); err != nil {
		return start() // nobody need profile
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	return start()
}

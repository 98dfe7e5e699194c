package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// listener is a TCP listener that can be closed without losing a connection. The
// kernel takes connections before Accept does; those that nobody has accepted when
// the socket is closed are reset, and the requests that are in them are lost.
type listener struct {
	*net.TCPListener
	late     chan net.Conn // what the kernel had taken when it was told to take no more
	refusing chan struct{} // closed when it was told
	closed   chan struct{}
	once     sync.Once
}

// mostLate is more than the kernel keeps (net.core.somaxconn).
const mostLate = 1 << 16

func listenTCP(address string) (*listener, error) {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &listener{
		TCPListener: tcp.(*net.TCPListener), late: make(chan net.Conn, mostLate), refusing: make(chan struct{}), closed: make(chan struct{}),
	}, nil
}

// Accept is net.Listener's. After refuse it returns what had come before.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.TCPListener.Accept()
	if err == nil {
		return conn, nil
	}
	select {
	case <-l.refusing:
	default:
		return nil, err
	}
	select {
	case conn := <-l.late:
		return conn, nil
	default:
	}
	select {
	case conn := <-l.late:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// refuse lets the kernel refuse further connections, and waits until Accept has
// returned all that it had taken.
func (l *listener) refuse(ctx context.Context) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return fmt.Errorf("refuse connections: %w", err)
	}
	close(l.refusing)
	var files []int
	if err := raw.Control(func(fd uintptr) { files = emptyQueue(int(fd)) }); err != nil {
		return fmt.Errorf("refuse connections: %w", err)
	}
	for _, fd := range files {
		file := os.NewFile(uintptr(fd), "connection")
		if conn, err := net.FileConn(file); err == nil {
			l.late <- conn
		}
		file.Close() // conn has a descriptor of its own
	}
	for len(l.late) > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// emptyQueue accepts what the kernel has, and tells it in the next system call to
// take no more.
func emptyQueue(fd int) (files []int) {
	for len(files) < mostLate {
		file, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil { // EAGAIN: there is none
			break
		}
		files = append(files, file)
	}
	_ = unix.Shutdown(fd, unix.SHUT_RD)
	return files
}

// connections knows which connections of an http.Server are about to ask something,
// or have asked. http.Server.Shutdown drops a request that it has read in the moment
// when it is called.
type connections struct {
	mu     sync.Mutex
	states map[net.Conn]http.ConnState
}

// set is http.Server.ConnState's.
func (c *connections) set(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(c.states, conn)
		return
	}
	if c.states == nil {
		c.states = map[net.Conn]http.ConnState{}
	}
	c.states[conn] = state
}

func (c *connections) are(state http.ConnState) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(slices.Collect(maps.Values(c.states)), state)
}

// silence is how long a new connection may take to ask something.
const silence = time.Second

// wait waits until none has a request, and none is new and may yet send one.
func (c *connections) wait(ctx context.Context) error {
	for begun := time.Now(); c.are(http.StateActive) || c.are(http.StateNew) && time.Since(begun) < silence; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

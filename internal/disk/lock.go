package disk

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrLocked is in the chain of the error of TryLock where another process holds
// the file.
var ErrLocked = errors.New("another process holds the lock")

// Lock is a file that this process alone holds. The kernel lets go of it when
// the process ends, however it ends: a file that is left over locks nobody out.
type Lock struct{ file *os.File }

// TryLock takes the lock file at path, which is made if needed, and writes to
// it who holds it, one line. Where another process holds the lock, holder is
// the line that it wrote. errors.ErrUnsupported is in the chain of the error
// where the file system has no locks.
func TryLock(path, line string) (lock *Lock, holder string, err error) {
	for range 100 { // each time that it was removed, which cannot go on for ever
		if lock, holder, err = tryLock(path, line); !errors.Is(err, errGone) {
			break
		}
	}
	return lock, holder, err
}

// errGone says that the file that was locked is no longer the one at its path:
// who held it before has removed it.
var errGone = errors.New("the lock file was removed")

func tryLock(path, line string) (_ *Lock, holder string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) // a cache's may be shared by users
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := flock(file); err != nil {
		data := make([]byte, 500)
		n, _ := file.Read(data)
		holder, _, _ := strings.Cut(string(data[:n]), "\n")
		return nil, holder, fmt.Errorf("%s: %w", path, err)
	}
	lock := &Lock{file}
	if err := lock.Check(); err != nil {
		return nil, "", err
	}
	if err := file.Truncate(0); err != nil {
		return nil, "", err
	}
	if _, err := file.WriteString(line + "\n"); err != nil {
		return nil, "", err
	}
	return lock, "", nil
}

// Check tells whether the file that is held is still the one at its path: it may
// have been removed, or a folder above it moved.
func (l *Lock) Check() error {
	if l == nil {
		return nil
	}
	held, err := l.file.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(l.file.Name()); err != nil || !os.SameFile(held, there) {
		return fmt.Errorf("%s: %w", l.file.Name(), errGone)
	}
	return nil
}

// Close lets go of the lock. The file stays. A nil Lock holds nothing.
func (l *Lock) Close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}

// lockOpened locks what is at path, a directory too. File systems that have no
// locks have nobody to keep out either.
func lockOpened(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := flock(file); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := (&Lock{file}).Check(); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

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
	for {
		lock, holder, err := tryLock(path, line)
		if !errors.Is(err, errGone) {
			return lock, holder, err
		}
	}
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
	held, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	if there, err := os.Lstat(path); err != nil || !os.SameFile(held, there) {
		return nil, "", fmt.Errorf("%s: %w", path, errGone)
	}
	if err := file.Truncate(0); err != nil {
		return nil, "", err
	}
	if _, err := file.WriteString(line + "\n"); err != nil {
		return nil, "", err
	}
	return &Lock{file}, "", nil
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
	return file, nil
}

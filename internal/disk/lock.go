package disk

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrLocked is in the chain of the error of TryLock where another process holds
// the file.
var ErrLocked = errors.New("another process holds it")

// Lock is a file that this process alone holds. The kernel lets go of it when
// the process ends, however it ends: a file that is left over locks nobody out.
type Lock struct{ file *os.File }

// TryLock takes the lock file at path, which is made if needed, and writes to
// it who holds it, one line. Where another process holds the lock, holder is
// the line that it wrote.
func TryLock(path, line string) (lock *Lock, holder string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) // a cache's may be shared by users
	if err != nil {
		return nil, "", err
	}
	if err := flock(file); err != nil {
		data := make([]byte, 500)
		n, _ := file.Read(data)
		holder, _, _ := strings.Cut(string(data[:n]), "\n")
		return nil, holder, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteString(line + "\n")
	}
	if err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	return &Lock{file}, "", nil
}

// Close lets go of the lock. The file stays.
func (l *Lock) Close() error { return l.file.Close() }

// lockOpened locks what is at path, a directory too. File systems that have no
// locks have nobody to keep out either.
func lockOpened(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := flock(file); err != nil && !isUnsupported(err) {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

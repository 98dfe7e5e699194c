package callback

import (
	"errors"
	"fmt"
	"os"
)

// journal is a file that only grows. Each write is one call of the system and
// there is no buffer: a write takes microseconds, a reader sees every one at
// once, and a program that is killed loses none. A nil journal has no file.
type journal struct {
	file *os.File
	size int64
	err  error // the first: after it, which may have left half a write, nothing more is written
}

// mark is how far a journal had come.
type mark struct {
	Bytes int64 `json:"bytes"`
}

// newJournal makes a file, which must not exist.
func newJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{file: file}, nil
}

// reopenJournal takes a file back to a mark: what was written after it is cut
// off.
func reopenJournal(path string, m mark) (*journal, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() < m.Bytes {
		err = fmt.Errorf("%s has %d bytes, fewer than the %d that the run had written", path, info.Size(), m.Bytes)
	}
	if err == nil {
		err = file.Truncate(m.Bytes)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &journal{file: file, size: m.Bytes}, nil
}

func (j *journal) write(data []byte) error {
	if j.err == nil {
		var n int
		n, j.err = j.file.Write(data)
		j.size += int64(n)
	}
	return j.err
}

// mark brings what was written to the disk.
func (j *journal) mark() (mark, error) {
	if j.err != nil {
		return mark{}, j.err
	}
	return mark{j.size}, j.file.Sync()
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}

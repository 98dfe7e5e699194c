// Package checkpoint keeps the states of a run on disk, each whole or not at
// all, and tells a whole one from a damaged one.
//
// # Basics
//
// A Store is a folder with a directory for each state, named after the run's
// steps so far. Save fills one and gives it its name when all of it is on the
// disk; Newest finds the last one that is whole:
//
//	store := checkpoint.Store{Dir: "runs/a/checkpoints"}
//	path, err := store.Save(391, func(dir string) error { … })
//	newest, damaged, err := store.Newest()
//
// # The format
//
// Beside what was filled in, a directory step-00000391 holds a MANIFEST: the
// line "residual checkpoint 1", then for each other file, sorted by name, its
// SHA-256 in hexadecimal, its bytes and its name, separated by spaces. It is
// written last. docs/checkpoint.md has the whole picture.
//
// # Caveats
//
// A store belongs to one process at a time: the run's lock sees to that.
package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/residual-go/residual/internal/disk"
)

// Store is a folder of checkpoints. It is made when the first one is saved.
type Store struct{ Dir string }

// Checkpoint is a directory in a store.
type Checkpoint struct {
	Step int
	Path string
}

// ErrNone is in the chain of Newest's error where there is no checkpoint that
// is whole.
var ErrNone = errors.New("no checkpoint is whole")

const stepPrefix = "step-"

// Save makes the checkpoint of a step, in place of one that is there already.
// fill gets an empty directory to write to. Whenever the process ends, all
// checkpoints before this one are as they were.
func (s Store) Save(step int, fill func(dir string) error) (Checkpoint, error) {
	saved := s.at(step)
	err := disk.Replace(saved.Path, func(draft string) error {
		if err := fill(draft); err != nil {
			return err
		}
		return writeManifest(draft)
	})
	if err != nil {
		return Checkpoint{}, fmt.Errorf("save checkpoint of step %d: %w", step, err)
	}
	return saved, nil
}

func (s Store) at(step int) Checkpoint {
	return Checkpoint{step, filepath.Join(s.Dir, fmt.Sprintf("%s%08d", stepPrefix, step))}
}

// List returns the checkpoints, the newest first, without looking into them.
func (s Store) List() ([]Checkpoint, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var found []Checkpoint
	for _, entry := range entries {
		if step, ok := stepOf(entry.Name()); ok {
			found = append(found, s.at(step))
		}
	}
	slices.SortFunc(found, func(a, b Checkpoint) int { return b.Step - a.Step })
	return found, nil
}

// stepOf reads a checkpoint's name as Save writes it.
func stepOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, stepPrefix)
	if !ok {
		return 0, false
	}
	step, err := strconv.Atoi(digits)
	return step, err == nil && step >= 0 && fmt.Sprintf("%08d", step) == digits
}

// Size adds up the files of a checkpoint, whole or not, in bytes, and says when
// it was saved.
func (c Checkpoint) Size() (bytes int64, saved time.Time, err error) {
	err = filepath.WalkDir(c.Path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			bytes += info.Size()
		}
		if info.ModTime().After(saved) {
			saved = info.ModTime()
		}
		return nil
	})
	return bytes, saved, err
}

// Newest returns the newest checkpoint that Verify and accept have nothing
// against, and what they have against newer ones. accept may be nil.
func (s Store) Newest(accept func(Checkpoint) error) (newest Checkpoint, damaged []error, err error) {
	all, err := s.List()
	if err != nil {
		return Checkpoint{}, nil, err
	}
	for _, c := range all {
		err := c.Verify()
		if err == nil && accept != nil {
			err = accept(c)
		}
		if err == nil {
			return c, damaged, nil
		}
		damaged = append(damaged, err)
	}
	if len(all) == 0 {
		return Checkpoint{}, nil, fmt.Errorf("%s: %w: there is none", s.Dir, ErrNone)
	}
	return Checkpoint{}, damaged, fmt.Errorf("%s: %w", s.Dir, ErrNone)
}

// Prune removes all checkpoints but the newest keep that Check has nothing
// against, counted from the one of step last, and those of the steps in spare.
// Later ones than last are of a course that the run has left: it has gone on
// from one before them.
func (s Store) Prune(last, keep int, spare ...int) error {
	all, err := s.List()
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Step <= last && keep > 0 && c.Check() == nil {
			keep--
			continue
		}
		if c.Step <= last && slices.Contains(spare, c.Step) {
			continue
		}
		if err := disk.Remove(c.Path); err != nil {
			return fmt.Errorf("remove old checkpoint: %w", err)
		}
	}
	return nil
}

// Sweep removes what processes that were killed have left in the store.
func (s Store) Sweep() error {
	if err := disk.Sweep(s.Dir); err != nil {
		return fmt.Errorf("sweep checkpoints: %w", err)
	}
	return nil
}

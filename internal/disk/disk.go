// Package disk writes directories that are there whole or not at all, whatever
// becomes of the process or the machine in between, and locks them.
//
// # Basics
//
// A directory is filled under another name, a draft's, brought to the disk, and
// then renamed:
//
//	err := disk.Create("models/resnet50", func(draft string) error {
//		return os.WriteFile(filepath.Join(draft, "a"), data, 0o644)
//	})
//
// # Caveats
//
// A process that is killed leaves its draft behind. The next Create or Replace
// of the same path removes it, and Sweep does so for a whole folder. Temporary
// does so for its own.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// DraftPrefix begins the names of drafts.
const DraftPrefix = ".residual-"

// Create makes a directory at path, which must not exist; its parents are made.
// fill gets an empty directory to write to. fs.ErrExist is in the chain of the
// error where something is at path.
func Create(path string, fill func(draft string) error) error {
	path = filepath.Clean(path)
	if err := free(path); err != nil {
		return err
	}
	return place(path, fill, func(draft string) error {
		if err := free(path); err != nil { // a rename takes the place of an empty directory
			return err
		}
		return os.Rename(draft, path)
	})
}

// Replace is Create for a path at which something may be: whoever looks sees
// the old one or the new.
func Replace(path string, fill func(draft string) error) error {
	path = filepath.Clean(path)
	return place(path, fill, func(draft string) error {
		err := os.Rename(draft, path)
		if err == nil || !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTDIR) { // a directory, or a file
			return err
		}
		if err := exchange(draft, path); err != nil {
			return err
		}
		// The draft is now what was there before. A process that ends here
		// leaves it for Sweep.
		return os.RemoveAll(draft)
	})
}

// Remove removes a directory such that no part of it is left under its name.
func Remove(path string) error {
	path = filepath.Clean(path)
	draft, err := os.MkdirTemp(filepath.Dir(path), DraftPrefix+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(draft, filepath.Base(path))); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return os.RemoveAll(draft)
}

func free(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	return nil
}

func place(path string, fill, rename func(draft string) error) (err error) {
	parent := filepath.Dir(path)
	undoParents, err := MakeParents(path)
	if err != nil {
		return err
	}
	if err := sweep(parent, DraftPrefix+filepath.Base(path)+"-"); err != nil {
		undoParents()
		return err
	}
	draft := filepath.Join(parent, DraftPrefix+filepath.Base(path)+"-"+strconv.FormatUint(rand.Uint64(), 36))
	if err := os.Mkdir(draft, 0o755); err != nil { // MkdirTemp would not ask the umask
		undoParents()
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(draft))
			undoParents()
		}
	}()
	// As long as it is locked, nobody sweeps it away.
	lock, err := lockOpened(draft)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := fill(draft); err != nil {
		return err
	}
	if err := syncTree(draft); err != nil {
		return err
	}
	if err := rename(draft); err != nil {
		return err
	}
	return Sync(parent)
}

// MakeParents makes the directories that a path lacks. undo removes them again,
// but for those in which there is something.
func MakeParents(path string) (undo func(), err error) {
	var made []string // outermost first
	for parent := filepath.Dir(filepath.Clean(path)); ; parent = filepath.Dir(parent) {
		if _, err := os.Lstat(parent); err == nil || parent == filepath.Dir(parent) {
			break
		}
		made = append([]string{parent}, made...)
	}
	undo = func() {
		for i := len(made) - 1; i >= 0; i-- {
			os.Remove(made[i])
		}
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(path)), 0o755); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

// Sweep removes from a folder what processes that were killed have left there.
// Drafts of processes that are running stay.
func Sweep(folder string) error { return sweep(folder, DraftPrefix) }

func sweep(folder, prefix string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		var lock *os.File // until all of it is gone
		if entry.IsDir() {
			if lock, err = lockOpened(path); err != nil { // in use, or gone
				continue
			}
		}
		errs = append(errs, os.RemoveAll(path))
		if lock != nil {
			lock.Close()
		}
	}
	return errors.Join(errs...)
}

// Temporary makes a directory among the system's temporary files, until remove is
// called. What killed processes left there for the same purpose goes.
func Temporary(purpose string) (dir string, remove func(), err error) {
	prefix := DraftPrefix + purpose + "-"
	_ = sweep(os.TempDir(), prefix) // other users' stay
	if dir, err = os.MkdirTemp("", prefix); err != nil {
		return "", nil, err
	}
	lock, err := lockOpened(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(dir))
	}
	return dir, func() { os.RemoveAll(dir); lock.Close() }, nil
}

// Sync brings a file's bytes, or a directory's names, to the disk.
func Sync(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// syncTree brings all files and directories under dir to the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return Sync(path)
	})
}

// exchangeInTurn is for file systems that cannot exchange two names at once. A
// process that ends in the middle leaves nothing under the name b.
func exchangeInTurn(a, b string) error {
	aside := a + ".old"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Rename(aside, b))
	}
	return os.Rename(aside, a)
}

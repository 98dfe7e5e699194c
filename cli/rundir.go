package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/google/renameio/v2"
)

// runDir is where a training run writes (see README: a run directory).
type runDir string

func (r runDir) config() string { return filepath.Join(string(r), "config.json") }
func (r runDir) plots() string  { return filepath.Join(string(r), "plots") }
func (r runDir) curve() string  { return filepath.Join(r.plots(), "training.png") }
func (r runDir) model() string  { return filepath.Join(string(r), "model", "1") }
func (r runDir) String() string { return string(r) }
func (r runDir) remove() error  { return os.RemoveAll(string(r)) }

// checkFree refuses a directory that exists, and a disk without room for what
// the run will write.
func (r runDir) checkFree(size int64) error {
	if _, err := os.Lstat(string(r)); err == nil {
		return fmt.Errorf("make run directory: %s exists; --out must be a new directory", r)
	}
	parent := filepath.Dir(filepath.Clean(string(r)))
	for {
		_, err := os.Stat(parent)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || parent == filepath.Dir(parent) {
			break
		}
		parent = filepath.Dir(parent)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(parent, &disk); err != nil {
		return fmt.Errorf("make run directory: look at the disk of %s: %w", parent, err)
	}
	const other = 16 << 20 // pictures, tables
	if free := int64(disk.Bavail) * disk.Bsize; free < size+other {
		return fmt.Errorf("make run directory: no disk space: %s has %s free, the run needs %s", parent, formatBytes(free), formatBytes(size+other))
	}
	return nil
}

// create makes the directory with its config.json.
func (r runDir) create(config any) error {
	if err := os.MkdirAll(filepath.Dir(string(r)), 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	if err := os.Mkdir(string(r), 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err == nil {
		err = renameio.WriteFile(r.config(), append(data, '\n'), 0o644)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write run's config: %w", err), r.remove())
	}
	return nil
}

// runOf returns the run directory that a model's path stands for.
func runOf(path string) (runDir, bool) {
	run := runDir(path)
	if _, err := os.Stat(run.config()); err != nil {
		return "", false
	}
	_, err := os.Stat(filepath.Join(path, "model"))
	return run, err == nil
}

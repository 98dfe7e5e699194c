package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/residual-go/residual/internal/disk"
)

// runDir is where a training run writes (see README: a run directory).
type runDir string

func (r runDir) config() string      { return filepath.Join(string(r), "config.json") }
func (r runDir) plots() string       { return filepath.Join(string(r), "plots") }
func (r runDir) curve() string       { return filepath.Join(r.plots(), "training.png") }
func (r runDir) model() string       { return filepath.Join(string(r), "model", "1") }
func (r runDir) tensorboard() string { return filepath.Join(string(r), "tensorboard") }
func (r runDir) String() string      { return string(r) }

// checkFree refuses a directory that exists, and a disk without room for what
// the run will write.
func (r runDir) checkFree(size int64) error {
	if err := checkNew(string(r)); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	parent := nearest(string(r))
	free, err := freeSpace(parent)
	if err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	const other = 16 << 20 // pictures, tables
	if free < size+other {
		return fmt.Errorf("make run directory: no disk space: %s has %s free, the run needs %s", parent, formatBytes(free), formatBytes(size+other))
	}
	return nil
}

// create makes the directory with its config.json, and its parents. remove
// takes away again what it made.
func (r runDir) create(config any) (remove func() error, err error) {
	undoParents, err := disk.MakeParents(string(r))
	if err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	if err := os.Mkdir(string(r), 0o755); err != nil {
		undoParents()
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	remove = func() error {
		err := os.RemoveAll(string(r))
		undoParents()
		return err
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err == nil {
		err = renameio.WriteFile(r.config(), append(data, '\n'), 0o644)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write run's config: %w", err), remove())
	}
	return remove, nil
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

package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/savedmodel"
)

// runDir is where a training run writes (see docs/run.md).
type runDir string

func (r runDir) config() string      { return filepath.Join(string(r), "config.json") }
func (r runDir) plots() string       { return filepath.Join(string(r), "plots") }
func (r runDir) curve() string       { return filepath.Join(r.plots(), "training.png") }
func (r runDir) model() string       { return filepath.Join(string(r), "model", "1") }
func (r runDir) graph() string       { return filepath.Join(string(r), graphName) }
func (r runDir) checkpoints() string { return filepath.Join(string(r), checkpointsName) }
func (r runDir) tensorboard() string { return filepath.Join(string(r), "tensorboard") }
func (r runDir) wandb() string       { return filepath.Join(string(r), "wandb") }
func (r runDir) String() string      { return string(r) }

// progress is how far the run in a directory has come.
type progress int

const (
	notBegun   progress = iota // no run: nothing is there, or what a start that was killed has left
	unfinished                 // it has a config.json
	finished                   // it has its model
)

// progress looks at what is there. A directory that is something else is an
// error.
func (r runDir) progress() (progress, error) {
	entries, err := os.ReadDir(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(string(r)); err == nil { // a link to nowhere
			return notBegun, fmt.Errorf("%s exists; --out must be a new directory, or a run's", r)
		}
		return notBegun, nil
	}
	if errors.Is(err, syscall.ENOTDIR) {
		if _, err := os.Lstat(string(r)); err != nil { // below a file: checkPlace says so
			return notBegun, nil
		}
		return notBegun, fmt.Errorf("%s exists, a file; --out must be a new directory, or a run's", r)
	}
	if err != nil {
		return notBegun, err
	}
	if _, err := os.Stat(r.config()); err != nil {
		for _, entry := range entries {
			if !r.isLeftOver(entry.Name()) {
				return notBegun, fmt.Errorf("%s exists and holds %s, but no run; --out must be a new directory, or a run's", r, entry.Name())
			}
		}
		return notBegun, nil
	}
	if _, err := os.Stat(filepath.Join(r.model(), "saved_model.pb")); err == nil {
		return finished, nil
	}
	if _, err := os.Lstat(r.model()); err == nil {
		return notBegun, fmt.Errorf("%s is in the place of the run's model and is none: remove it", r.model())
	}
	return unfinished, nil
}

const (
	lockFile        = ".lock"
	graphName       = "graph"
	checkpointsName = "checkpoints"
)

// isLeftOver tells whether a start that was killed can have left a file.
func (r runDir) isLeftOver(name string) bool {
	if name == checkpointsName {
		saved, err := os.ReadDir(r.checkpoints())
		return err == nil && len(saved) == 0
	}
	return name == lockFile || name == graphName || strings.HasPrefix(name, disk.DraftPrefix) || isTemporary(name)
}

// isTemporary tells whether a file was being written when a process was killed,
// by its name: renameio's for the files of a run.
func isTemporary(name string) bool { return temporary.MatchString(name) }

var temporary = regexp.MustCompile(`^\.(config\.json|training\.(png|svg))\d+$`)

// lock keeps other processes out until it is closed. Where the file system has
// no locks, nothing does.
func (r runDir) lock() (*disk.Lock, error) {
	host, _ := os.Hostname()
	lock, holder, err := disk.TryLock(filepath.Join(string(r), lockFile),
		fmt.Sprintf("process %d on %s since %s", os.Getpid(), host, time.Now().Format(time.DateTime)))
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, nil
	case errors.Is(err, disk.ErrLocked):
		return nil, &inUseError{r, holder}
	case err != nil:
		return nil, fmt.Errorf("lock run directory: %w", err)
	}
	return lock, nil
}

// inUseError says who is in a run directory.
type inUseError struct {
	dir    runDir
	holder string
}

func (e *inUseError) Error() string {
	return fmt.Sprintf("%s is in use: %s trains there; wait for its end, or stop it", e.dir, cmp.Or(e.holder, "another process"))
}

func (e *inUseError) Unwrap() error { return disk.ErrLocked }

// checkPlace refuses a directory that cannot be made or written to.
func (r runDir) checkPlace() error {
	if err := checkParent(filepath.Join(string(r), "run")); err != nil {
		return fmt.Errorf("write run directory: %w", err)
	}
	return nil
}

// checkFree refuses a disk without room for what the run will write.
func (r runDir) checkFree(size int64) error {
	place := nearest(filepath.Join(string(r), "run"))
	free, err := disk.Free(place)
	if err != nil {
		return fmt.Errorf("write run directory: %w", err)
	}
	const other = 16 << 20 // pictures, tables
	if free < size+other {
		return fmt.Errorf("write run directory: no disk space: %s has %s free, the run needs %s", place, formatBytes(free), formatBytes(size+other))
	}
	return nil
}

// make makes the directory and its parents, for this process alone, or takes
// one in which no run has begun. remove takes away again all that is in it.
func (r runDir) make() (lock *disk.Lock, remove func() error, err error) {
	undoParents, err := disk.MakeParents(string(r))
	if err != nil {
		return nil, nil, fmt.Errorf("make run directory: %w", err)
	}
	err = os.Mkdir(string(r), 0o755)
	existed := errors.Is(err, fs.ErrExist)
	if err != nil && !existed {
		undoParents()
		return nil, nil, fmt.Errorf("make run directory: %w", err)
	}
	if lock, err = r.lock(); err != nil {
		return nil, nil, err
	}
	remove = func() error {
		// The lock goes last: until then nobody else takes the directory.
		err := errors.Join(r.empty(), os.Remove(filepath.Join(string(r), lockFile)))
		if !existed {
			err = errors.Join(err, os.Remove(string(r)))
			undoParents()
		}
		return err
	}
	if state, err := r.progress(); err != nil || state != notBegun { // somebody was faster
		return nil, nil, errors.Join(fmt.Errorf("make run directory: another process has begun a run in %s at the same time", r), err, lock.Close())
	}
	return lock, remove, r.empty()
}

// empty removes all that is in the directory but the lock.
func (r runDir) empty() error {
	entries, err := os.ReadDir(string(r))
	if err != nil {
		return fmt.Errorf("empty run directory: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if entry.Name() != lockFile {
			errs = append(errs, os.RemoveAll(filepath.Join(string(r), entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// begin writes the graph, and then the config, which makes a run of the
// directory.
func (r runDir) begin(info *savedmodel.Info, config runConfig) error {
	if err := disk.Create(r.graph(), info.WriteGraph); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	// That it is missing later says that checkpoints were lost.
	if err := os.Mkdir(r.checkpoints(), 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return r.writeConfig(config)
}

func (r runDir) writeConfig(config runConfig) error {
	data, err := json.MarshalIndent(config, "", "  ")
	if err == nil {
		err = renameio.WriteFile(r.config(), append(data, '\n'), 0o644, renameio.WithTempDir(string(r)))
	}
	if err != nil {
		return fmt.Errorf("write run's config: %w", err)
	}
	return nil
}

// sweep removes what processes that were killed have left.
func (r runDir) sweep() error {
	var errs []error
	for _, folder := range []string{string(r), r.plots(), filepath.Dir(r.model())} {
		if err := disk.Sweep(folder); err != nil {
			errs = append(errs, err)
			continue
		}
		entries, _ := os.ReadDir(folder) // Sweep has read it, too
		for _, entry := range entries {
			if isTemporary(entry.Name()) {
				errs = append(errs, os.Remove(filepath.Join(folder, entry.Name())))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep run directory: %w", err)
	}
	return nil
}

// rewind removes what a run has written that has no checkpoint.
func (r runDir) rewind() error {
	for _, name := range []string{r.steps(), r.metrics(), r.plots(), r.tensorboard(), r.wandb()} {
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("start run again: %w", err)
		}
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

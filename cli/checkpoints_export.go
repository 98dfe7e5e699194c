package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/checkpoint"
	"github.com/residual-go/residual/savedmodel"
)

type exportedCheckpoint struct {
	Run   string `json:"run"`
	Step  int    `json:"step"`
	Model string `json:"model"`
}

func exportCheckpoint(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "it takes one checkpoint, a step, last or best, not %s", formatNumber(c.NArg(), "argument"))
	}
	run, out := runDir(c.String(fromName)), outPath(c)
	switch {
	case run == "":
		return usagef(c, "--%s is missing: it is a run directory", fromName)
	case out == "":
		return usagef(c, "--out is missing: it is the model directory to make")
	}
	which := c.Args().First()
	if _, err := strconv.Atoi(which); err != nil && which != "last" && which != "best" {
		return usagef(c, "a checkpoint is a step, last or best, not %q", which)
	}
	if err := checkNew(out); err != nil {
		return err
	}
	if _, err := run.stat(); err != nil {
		return fmt.Errorf("export checkpoint: %w", err)
	}
	chosen, err := choose(c, checkpoint.Store{Dir: run.checkpoints()}, which)
	if err != nil {
		return fmt.Errorf("export checkpoint: %w", err)
	}
	if err := disk.Create(out, func(draft string) error { return run.assemble(chosen, draft) }); err != nil {
		return fmt.Errorf("export checkpoint: %w", err)
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, exportedCheckpoint{run.String(), chosen.Step, out})
	}
	return printLine(c, "%s is the model of step %d of %s", out, chosen.Step, run)
}

// choose finds a checkpoint that is whole.
func choose(c *cli.Context, store checkpoint.Store, which string) (*pipeline.Saved, error) {
	step, err := strconv.Atoi(which)
	if err != nil {
		last, damaged, err := pipeline.LastSaved(store.Dir)
		switch {
		case err != nil:
			return nil, errors.Join(append([]error{err}, damaged...)...)
		case which == "last":
			for _, err := range damaged {
				warn(c, "%v; taking step %d", err, last.Step)
			}
			return last, nil
		case last.Best == nil:
			return nil, fmt.Errorf("%s: none is the best yet: no epoch was finished", store.Dir)
		case last.Best.Step == last.Step:
			return last, nil
		}
		step = last.Best.Step
	}
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, one := range all {
		if one.Step == step {
			if err := one.Verify(); err != nil {
				return nil, err
			}
			return pipeline.ReadSaved(one)
		}
		steps = append(steps, strconv.Itoa(one.Step))
	}
	return nil, fmt.Errorf("%s has no checkpoint of step %d, only %s", store.Dir, step, orNone(strings.Join(steps, ", ")))
}

// assemble makes a SavedModel of the run's graph and a checkpoint's variables.
func (r runDir) assemble(from *pipeline.Saved, dir string) error {
	if _, err := os.Stat(r.graph()); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(r.graph())); err != nil {
		return err
	}
	entries, err := os.ReadDir(from.Path)
	if err != nil {
		return err
	}
	variables := filepath.Join(dir, "variables")
	if err := os.MkdirAll(variables, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		file := filepath.Join(from.Path, entry.Name())
		if !strings.HasPrefix(file, from.Variables()+".") {
			continue
		}
		if err := copyFile(file, filepath.Join(variables, entry.Name())); err != nil {
			return err
		}
	}
	_, err = savedmodel.Inspect(dir)
	return err
}

func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, source)
	return err
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/residual-go/residual/pipeline/plot"
)

func (r runDir) steps() string   { return filepath.Join(string(r), "steps.csv") }
func (r runDir) metrics() string { return filepath.Join(string(r), "metrics.csv") }

// configured returns the run's config.json, as far as it can be read.
func (r runDir) configured() (config runConfig) {
	config, _ = r.loadConfig()
	return config
}

// read reads the course of a run, which may still be under way: the last line
// of a table is left out while it is not whole.
func (r runDir) read(ctx context.Context) (plot.Run, error) {
	var run plot.Run
	steps := figures{key: "step", columns: []string{"loss", "accuracy"}}
	err := steps.read(ctx, r.steps(), func(step int, row []float64) {
		run.Steps = append(run.Steps, plot.Step{Number: step, Loss: row[0], Accuracy: row[1]})
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return run, fmt.Errorf("read run: %w", err)
	}
	if len(run.Steps) == 0 {
		return run, fmt.Errorf("read run: there are no steps in %s yet: draw it when the run has taken one", r.steps())
	}
	epochs := figures{key: "step", columns: []string{"train_loss", "train_accuracy"}, optional: []string{"test_loss", "test_accuracy", "validation_loss", "validation_accuracy"}}
	err = epochs.read(ctx, r.metrics(), func(step int, row []float64) {
		epoch := plot.Epoch{Step: step, Train: plot.Score{Loss: row[0], Accuracy: row[1]}}
		epoch.Test, epoch.Validation = score(row[2], row[3]), score(row[4], row[5])
		run.Epochs = append(run.Epochs, epoch)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // no epoch is whole yet
		return run, fmt.Errorf("read run: %w", err)
	}
	return run, nil
}

// score is nil where nothing stands in a table.
func score(loss, accuracy float64) *plot.Score {
	if math.IsNaN(loss) && math.IsNaN(accuracy) {
		return nil
	}
	return &plot.Score{Loss: loss, Accuracy: accuracy}
}

// stat refuses what is no run directory.
func (r runDir) stat() (os.FileInfo, error) {
	info, err := os.Stat(string(r))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist", r)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file, not a run directory", r)
	}
	for _, file := range []string{r.config(), r.steps()} {
		if _, err := os.Stat(file); err == nil {
			return info, nil
		}
	}
	return nil, fmt.Errorf("%s is not a run directory: it has neither config.json nor steps.csv", r)
}

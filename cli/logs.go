package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/callback"
	"github.com/residual-go/residual/pipeline/plot"
)

const (
	logName       = "log"
	projectName   = "project"
	runNameName   = "name"
	wandbSyncName = "wandb-sync"
)

// The names that --log takes.
const (
	logCSV         = "csv"
	logTensorBoard = "tensorboard"
	logWandB       = "wandb"
)

var logNames = []string{logCSV, logTensorBoard, logWandB}

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: logName, Usage: "also write the run for `NAMES`: tensorboard, wandb, or both with a comma", DefaultText: logCSV},
		&cli.StringFlag{Name: projectName, Usage: "W&B's project `P`", Value: "residual"},
		&cli.StringFlag{Name: runNameName, Usage: "the run's name `N` in W&B", DefaultText: "that of its directory"},
		&cli.BoolFlag{Name: wandbSyncName, Usage: "upload the run when it is over, by wandb sync"},
	}
}

// logs is who a run is written for.
type logs struct {
	names         []string // sorted, each once; csv always
	project, name string   // W&B's; "" without it
	wandb         *callback.WandB
	warnings      []string // of those that failed
}

func (l *logs) has(name string) bool { return slices.Contains(l.names, name) }

// readLogs reads the flags. run is where the run will be.
func readLogs(c *cli.Context, run runDir) (*logs, error) {
	l := &logs{names: []string{logCSV}}
	for _, name := range strings.Split(c.String(logName), ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "" && !c.IsSet(logName):
		case !slices.Contains(logNames, name):
			return nil, usagef(c, "--%s takes names of %s, parted by commas, not %q", logName, strings.Join(logNames, ", "), name)
		case !l.has(name):
			l.names = append(l.names, name)
		}
	}
	slices.Sort(l.names)
	if l.has(logWandB) {
		l.project, l.name = c.String(projectName), c.String(runNameName)
		if !c.IsSet(runNameName) {
			l.name = filepath.Base(run.String())
		}
		if _, err := exec.LookPath(pythonProgram("wandb")); err != nil && c.Bool(wandbSyncName) {
			note(c, "--%s will not upload the run: %s", wandbSyncName, errNoWandB)
		}
		return l, l.check(c)
	}
	for _, name := range []string{projectName, runNameName, wandbSyncName} {
		if c.IsSet(name) {
			return nil, usagef(c, "--%s is for W&B: it needs --%s %s", name, logName, logWandB)
		}
	}
	return l, nil
}

// check refuses what W&B would refuse when the run is uploaded.
func (l *logs) check(c *cli.Context) error {
	const forbidden = `/\#?%:`
	switch {
	case l.project == "" || strings.ContainsAny(l.project, forbidden):
		return usagef(c, "--%s must be a name without any of %s, not %q", projectName, forbidden, l.project)
	case l.name == "":
		return usagef(c, "--%s must not be empty", runNameName)
	case !utf8.ValidString(l.project) || !utf8.ValidString(l.name):
		return usagef(c, "W&B takes names in UTF-8 only, not %q and %q: give --%s", l.project, l.name, runNameName)
	}
	return nil
}

// watchers makes those who watch the run. None of them can end it.
func (t *training) watchers(c *cli.Context, config runConfig) ([]pipeline.Callback, error) {
	watchers := []pipeline.Callback{
		&callback.CSV{Dir: t.site.dir.String()},
		&callback.Curve{Path: t.site.dir.curve(), Title: t.info.Metadata.Name, Before: t.site.course(c.Context)},
	}
	extra, err := t.logWatchers(config)
	if err != nil {
		return nil, err
	}
	watchers = append(watchers, extra...)
	if !c.Bool(quietFlag.Name) {
		watchers = append(watchers, &callback.Progress{Out: c.App.ErrWriter})
	}
	for i, watcher := range watchers {
		watchers[i] = &callback.Tolerant{Callback: watcher, Warn: func(err error) {
			t.logs.warn(c, err.Error()+"; the training itself is not affected")
		}}
	}
	return watchers, nil
}

// warn tells of something that went wrong and does not end the run.
func (l *logs) warn(c *cli.Context, text string) {
	l.warnings = append(l.warnings, text)
	warn(c, "%s", text)
}

// logWatchers are TensorBoard and W&B, where they are wanted.
func (t *training) logWatchers(config runConfig) ([]pipeline.Callback, error) {
	if !t.logs.has(logTensorBoard) && !t.logs.has(logWandB) {
		return nil, nil
	}
	rows, err := previewRows(t.data)
	if err != nil {
		return nil, err
	}
	var preview bytes.Buffer
	if err := plot.Preview(&preview, rows); err != nil {
		return nil, err
	}
	var watchers []pipeline.Callback
	classes := t.info.Metadata.Classes
	if t.logs.has(logTensorBoard) {
		watchers = append(watchers, &callback.TensorBoard{
			Dir: t.site.dir.tensorboard(), HParams: config.hparams(t.info.Metadata.Name), Classes: classes, Preview: preview.Bytes(),
		})
	}
	if t.logs.has(logWandB) {
		all, err := config.fields()
		if err != nil {
			return nil, err
		}
		t.logs.wandb = &callback.WandB{
			Dir: t.site.dir.String(), Project: t.logs.project, Name: t.logs.name, Config: all, Classes: classes, Preview: preview.Bytes(),
		}
		watchers = append(watchers, t.logs.wandb)
	}
	return watchers, nil
}

// hparams are the settings that runs are compared by.
func (r runConfig) hparams(model string) map[string]any {
	return map[string]any{
		"model": model, "recipe": r.Recipe, "loss": r.Loss, "data": r.Data, "epochs": r.Epochs, "batch_size": r.BatchSize, "learning_rate": r.LearningRate,
		"accumulate": r.Accumulate, "upsample_schedule": (*factors)(&r.UpsampleSchedule).String(),
		"schedule": r.Schedule, "warmup": r.Warmup, "plateau": r.Plateau, "early_stopping": r.EarlyStopping, "validation_split": r.ValidationSplit,
		"shuffle": r.Shuffle, "drop_last": r.DropLast, "seed": r.Seed, "limit": r.Limit, "precision": r.Precision,
	}
}

// fields are those of config.json.
func (r runConfig) fields() (map[string]any, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write run's config: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("write run's config: %w", err)
	}
	return fields, nil
}

// logPaths says where the logs are that are not always there.
func (t *training) logPaths() map[string]string {
	paths := map[string]string{}
	if t.logs.has(logTensorBoard) {
		paths[logTensorBoard] = t.site.dir.tensorboard()
	}
	if t.logs.wandb != nil && t.logs.wandb.Path() != "" {
		paths[logWandB] = t.logs.wandb.Path()
	}
	return paths
}

// logRows say how to look at the logs.
func (t *training) logRows() [][]string {
	var rows [][]string
	paths := t.logPaths()
	if path, ok := paths[logTensorBoard]; ok {
		rows = append(rows, []string{logTensorBoard, pythonProgram("tensorboard") + " --logdir " + path})
	}
	if path, ok := paths[logWandB]; ok {
		rows = append(rows, []string{logWandB, pythonProgram("wandb") + " sync " + path})
	}
	return rows
}

// syncWandB uploads the run if that is wanted. What W&B's program says goes to
// standard error; that it failed is a warning, for the run is on disk.
func (t *training) syncWandB(c *cli.Context) {
	if !c.Bool(wandbSyncName) {
		return
	}
	path, ok := t.logPaths()[logWandB]
	if !ok {
		return
	}
	if err := t.upload(c, path); err != nil {
		t.logs.warn(c, fmt.Sprintf("--%s did not upload: %s; the run can be uploaded later: %s sync %s",
			wandbSyncName, err, pythonProgram("wandb"), path))
	}
}

var errNoWandB = errors.New("there is no program `wandb` on the PATH (pip install wandb)")

// pythonProgram is how to call a program that came with Python: by its name
// where that is on the PATH or nowhere, else in the checkout's environment.
func pythonProgram(name string) string {
	if _, err := exec.LookPath(name); err == nil {
		return name
	}
	if root, ok := checkout(); ok {
		path := filepath.Join(root, ".venv", "bin", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}

// upload calls W&B's program in the run directory: it leaves logs of its own
// in the folder wandb where it is called.
func (t *training) upload(c *cli.Context, path string) error {
	if c.Context.Err() != nil {
		return errors.New("the run was stopped")
	}
	program, err := exec.LookPath(pythonProgram("wandb"))
	if err != nil {
		return errNoWandB
	}
	inside, err := filepath.Rel(t.site.dir.String(), path)
	if err != nil {
		return err
	}
	command := exec.CommandContext(c.Context, program, "sync", inside)
	command.Dir = t.site.dir.String()
	command.Stdout, command.Stderr = c.App.ErrWriter, c.App.ErrWriter
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s sync: %w", program, err)
	}
	return nil
}

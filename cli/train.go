package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo"
)

const (
	epochsName       = "epochs"
	learningRateName = "learning-rate"
	noShuffleName    = "no-shuffle"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:      "train",
		Usage:     "train a model and write a run directory",
		UsageText: "residual train --model models/resnet50 --data cifar10 --out runs/first",
		Flags: append([]cli.Flag{
			modelFlag, dataFlag,
			&cli.StringFlag{Name: "out", Usage: "the run directory to make: `DIR`", DefaultText: "runs/<model>-<time>"},
			&cli.IntFlag{Name: epochsName, Usage: "passes over the training data: `N`", DefaultText: "the recipe's"},
			recipeDefault(batchSizeFlag),
			&cli.Float64Flag{Name: learningRateName, Usage: "the step size `RATE`", DefaultText: "the recipe's"},
			&cli.BoolFlag{Name: noShuffleName, Usage: "keep path order in every epoch"},
			seedFlag, limitFlag, precisionFlag, threadsFlag,
		}, append(logFlags(), quietFlag, jsonFlag)...),
		Action: train,
	}
}

// recipeDefault returns the flag for a command in which the model's recipe
// gives its default.
func recipeDefault(flag *cli.IntFlag) *cli.IntFlag {
	changed := *flag
	changed.DefaultText = "the recipe's"
	return &changed
}

// training is what a run of train knows before it begins.
type training struct {
	dir     runDir
	info    *savedmodel.Info
	data    *dataset.Data
	session tfgo.Options
	logs    *logs
	options pipeline.Options
}

// train checks all that can be checked before it makes the run directory.
func train(c *cli.Context) error {
	t, err := planTraining(c)
	if err != nil {
		return err
	}
	model, err := savedmodel.Open(t.info.Dir, t.session)
	if err != nil {
		return err
	}
	defer model.Close()
	if err := model.CheckSave(); err != nil {
		return err
	}
	config := t.config(c)
	if t.options.Callbacks, err = t.callbacks(c, config); err != nil {
		return err
	}
	remove, err := t.dir.create(config)
	if err != nil {
		return err
	}
	result, fitErr := pipeline.Fit(c.Context, model, t.data.Train, t.options)
	if result.Steps == 0 {
		return errors.Join(fitErr, remove())
	}
	if diverged := (*pipeline.NonFiniteError)(nil); errors.As(fitErr, &diverged) {
		t.syncWandB(c)
		return fmt.Errorf("%w; no model was saved, the steps are in %s", fitErr, t.dir)
	}
	// The signal that ended the run must not end the saving of its model.
	if err := model.Save(context.WithoutCancel(c.Context), t.dir.model()); err != nil {
		return saveFailed(fitErr, fmt.Errorf("%w; the steps are in %s", err, t.dir))
	}
	t.syncWandB(c)
	if fitErr != nil {
		note(c, "stopped after step %d; the model as it was then is in %s", result.Steps, t.dir.model())
		if c.Bool(jsonFlag.Name) {
			return errors.Join(fitErr, t.report(c, result))
		}
		return fitErr
	}
	return t.report(c, result)
}

// saveFailed tells of a failed save, after what had ended the run before it. That
// a signal had done so would hide that the model is lost.
func saveFailed(fitErr, saveErr error) error {
	if fitErr == nil || errors.Is(fitErr, context.Canceled) {
		return saveErr
	}
	return fmt.Errorf("%w; %w", fitErr, saveErr)
}

func planTraining(c *cli.Context) (*training, error) {
	t := &training{}
	if err := noArguments(c); err != nil {
		return nil, err
	}
	if err := needFlag(c, modelFlag, dataFlag); err != nil {
		return nil, err
	}
	if err := positive(c, epochsName, batchSizeFlag.Name, limitFlag.Name); err != nil {
		return nil, err
	}
	if err := positiveFloat(c, learningRateName); err != nil {
		return nil, err
	}
	t.dir = runDir(outPath(c))
	if t.dir == "" {
		t.dir = defaultRun(c.String(modelFlag.Name))
	}
	var err error
	if t.logs, err = readLogs(c, t.dir); err != nil {
		return nil, err
	}
	if t.info, t.session, err = inspectModel(c, pipeline.TrainSignature); err != nil {
		return nil, err
	}
	if err := t.dir.checkFree(t.info.Size); err != nil {
		return nil, err
	}
	if t.data, err = openData(c, t.info, dataset.TrainAndTest); err != nil {
		return nil, err
	}
	if t.data.Test != nil {
		if err := needSignatures(t.info, pipeline.EvaluateSignature); err != nil {
			return nil, err
		}
	}
	t.options = t.fitOptions(c)
	return t, nil
}

// defaultRun names a run after its model and the time.
func defaultRun(model string) runDir {
	return runDir(filepath.Join("runs", filepath.Base(filepath.Clean(model))+time.Now().Format("-20060102-150405")))
}

// fitOptions are the flags where given, else the recipe's defaults.
func (t *training) fitOptions(c *cli.Context) pipeline.Options {
	defaults := t.info.Metadata.Defaults
	o := pipeline.Options{
		Epochs:       defaults.Epochs,
		BatchSize:    defaults.BatchSize,
		LearningRate: defaults.LearningRate,
		NoShuffle:    c.Bool(noShuffleName) || t.info.RawMetadata != nil && !defaults.Shuffle,
		Seed:         c.Int64(seedFlag.Name),
		Test:         t.data.Test,
	}
	if t.logs.has(logTensorBoard) || t.logs.has(logWandB) {
		o.Classes = len(t.info.Metadata.Classes)
	}
	if c.IsSet(epochsName) {
		o.Epochs = c.Int(epochsName)
	}
	if c.IsSet(batchSizeFlag.Name) {
		o.BatchSize = c.Int(batchSizeFlag.Name)
	}
	if c.IsSet(learningRateName) {
		o.LearningRate = c.Float64(learningRateName)
	}
	return o.WithDefaults()
}

// trainResult is what --json prints.
type trainResult struct {
	Run             string            `json:"run"`
	Model           string            `json:"model"`
	Epochs          int               `json:"epochs"`
	Steps           int               `json:"steps"`
	Train           pipeline.Metrics  `json:"train"`
	Test            *pipeline.Metrics `json:"test"` // null when nothing was tested
	ImagesPerSecond float64           `json:"images_per_second"`
	Seconds         float64           `json:"seconds"`
	Logs            map[string]string `json:"logs,omitempty"`     // by the names of --log, csv left out
	Warnings        []string          `json:"warnings,omitempty"` // of logs that failed
}

func (t *training) report(c *cli.Context, r pipeline.Result) error {
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, trainResult{
			Run: t.dir.String(), Model: t.dir.model(),
			Epochs: r.Epochs, Steps: r.Steps, Train: r.Train, Test: r.Test,
			ImagesPerSecond: r.ImagesPerSecond, Seconds: r.Duration.Seconds(),
			Logs: t.logPaths(), Warnings: t.logs.warnings,
		})
	}
	rows := [][]string{{"train", scoreText(r.Train)}}
	if r.Test != nil {
		rows = append(rows, []string{"test", scoreText(*r.Test)})
	}
	rows = append(rows,
		[]string{"speed", fmt.Sprintf("%.1f images/s in training, %s in all", r.ImagesPerSecond, r.Duration.Round(time.Second))},
		[]string{"run", t.dir.String()},
		[]string{"curve", t.dir.curve()},
		[]string{"model", t.dir.model()},
	)
	rows = append(rows, t.logRows()...)
	text := table(rows)
	if r.Test != nil {
		text += networkLine(t.info.Metadata.Recipe, *r.Test)
	}
	return printLine(c, "%s", trimEnd(text))
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/savedmodel"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:      "train",
		Usage:     "train a model and write a run directory",
		UsageText: "residual train --model models/resnet50 --data cifar10 --out runs/first",
		Flags: slices.Concat([]cli.Flag{
			modelFlag, dataFlag,
			&cli.StringFlag{Name: "out", Usage: "the run directory to make, or with --resume to go on in: `DIR`", DefaultText: "runs/<model>-<time>"},
			&cli.IntFlag{Name: epochsName, Usage: "passes over the training data: `N`", DefaultText: "the recipe's"},
			recipeDefault(batchSizeFlag),
			&cli.IntFlag{Name: accumulateName, Usage: "update the weights after `N` batches, by their mean gradient; BatchNorm sees each by itself", Value: 1},
			&cli.Float64Flag{Name: learningRateName, Usage: "the step size `RATE`", DefaultText: "the recipe's"},
			&cli.BoolFlag{Name: noShuffleName, Usage: "keep path order in every epoch"},
			&cli.BoolFlag{Name: dropLastName, Usage: "leave out an epoch's last step where it has fewer images than the others"},
			freezeFlag, holdDataFlag, seedFlag, limitFlag,
		}, courseFlags(), checkpointFlags(), logFlags(), sessionFlags(), []cli.Flag{debugFlag, quietFlag, jsonFlag}),
		Action: train,
	}
}

// training is what a run of train knows before it begins.
type training struct {
	site *site
	info *savedmodel.Info
	data *dataset.Data
	// validation was drawn from the training data; nil without --validation-split.
	validation *dataset.Examples
	session    savedmodel.Options
	logs       *logs
	options    pipeline.Options
	features   *featuresResult // nil without --freeze
}

func train(c *cli.Context) error {
	stop, err := withMaxTime(c)
	if err != nil {
		return err
	}
	defer stop()
	err = trainUntil(c)
	var stopped *stoppedError
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(c.Context) == errMaxTime && !(errors.As(err, &stopped) && stopped.further) {
		// Starting it again, as its exit code asks for, would go on for ever.
		return fmt.Errorf("--%s %v was over before the next step: the run has not come any further", maxTimeName, c.Duration(maxTimeName))
	}
	return err
}

// trainUntil trains until the run is over or the command's context is. It checks
// all that can be checked before it makes the run directory.
func trainUntil(c *cli.Context) (err error) {
	askedFor, stop := onSignal(syscall.SIGUSR1)
	defer stop()
	t, err := planTraining(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.site.Close()) }()
	if t.site.finished {
		return t.reportFinished(c)
	}
	t.options.Checkpoints.Now = askedFor
	model, err := openModel(c, t.info, t.session)
	if err != nil {
		return err
	}
	defer model.Close()
	if err := model.CheckSave(); err != nil {
		return err
	}
	config := t.config(c, model)
	trainee, err := traineeOf(c, model)
	if err != nil {
		return err
	}
	if err := t.site.check(c, config, t, trainee); err != nil {
		return err
	}
	examples, closeExamples, err := t.examples(c, model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeExamples()) }()
	if t.options.Hold, err = t.holdsData(c, model, examples); err != nil {
		return err
	}
	config.HoldData = t.options.Hold
	watchers, err := t.watchers(c, config)
	if err != nil {
		return err
	}
	watchers = append(watchers, guard{t.site})
	t.options.Callbacks = append(watchers, t.options.Callbacks...)
	if model.OnGPU() {
		note(c, "computing on the GPU")
	}
	describeSteps(c, t.info, t.options.WithDefaults())
	if err := t.site.prepare(c, t, config); err != nil {
		return err
	}
	result, fitErr := pipeline.Fit(c.Context, trainee, examples, t.options)
	var unsaved *pipeline.UnsavedError
	if fitErr != nil && (!result.Finished || !errors.As(fitErr, &unsaved)) {
		return t.cutShort(c, result, fitErr)
	}
	// A signal that comes now must not end the saving of the model.
	if err := model.Save(context.WithoutCancel(c.Context), t.site.dir.model()); err != nil {
		if unsaved != nil {
			return fmt.Errorf("%w; %w", err, unsaved)
		}
		return fmt.Errorf("%w; the weights are in a checkpoint: free what is in the way and go on with --%s", err, resumeName)
	}
	if unsaved != nil { // the model has all that it had
		t.logs.warn(c, unsaved.Error())
	}
	t.syncWandB(c)
	if result.Epochs < t.options.Epochs {
		note(c, "stopped early: the loss has not fallen for %s; the model is that of the last epoch", formatNumber(c.Int(earlyStoppingName), "epoch"))
	}
	return t.report(c, result, t.site.dir.model())
}

// cutShort tells of a run that has not come to its end.
func (t *training) cutShort(c *cli.Context, result pipeline.Result, fitErr error) error {
	dir := t.site.dir
	if result.Steps == 0 && t.site.remove != nil {
		return errors.Join(fitErr, t.site.remove())
	}
	t.syncWandB(c)
	var (
		diverged *pipeline.NonFiniteError
		unsaved  *pipeline.UnsavedError
	)
	switch {
	case errors.As(fitErr, &diverged):
		return fmt.Errorf("%w; no model was saved, the steps are in %s", fitErr, dir)
	case errors.As(fitErr, &unsaved) && isStop(fitErr):
		return unsaved // that it was told to end would hide what is lost
	case !isStop(fitErr):
		return fitErr
	}
	var err error
	if c.Bool(jsonFlag.Name) {
		err = t.report(c, result, "")
	}
	before := 0
	if t.site.saved != nil {
		before = t.site.saved.Step
	}
	return errors.Join(&stoppedError{fitErr, context.Cause(c.Context), result.Steps, result.Steps > before, dir}, err)
}

// stoppedError is the end of a run that was told to end and can go on.
type stoppedError struct {
	err     error // the context's
	cause   error // the context's
	steps   int
	further bool // than when it was resumed
	dir     runDir
}

func (e *stoppedError) Error() string {
	return fmt.Sprintf("%v after step %d; residual train --out %s --%s goes on from there", e.cause, e.steps, e.dir, resumeName)
}

func (e *stoppedError) Unwrap() error { return e.err }

// planTraining checks all that can be checked without the model. Where it
// returns no error its site is to be closed.
func planTraining(c *cli.Context) (_ *training, err error) {
	t := &training{}
	if c.Args().First() == string(resumeOrStart) {
		return nil, usagef(c, "%q stands alone: write --%s=%s", c.Args().First(), resumeName, resumeOrStart)
	}
	if err := noArguments(c); err != nil {
		return nil, err
	}
	if t.site, err = findSite(c); err != nil {
		return nil, err
	}
	if _, err := targetOf(c); err != nil { // also of a run that is finished
		return nil, errors.Join(err, t.site.Close())
	}
	if t.site.finished {
		return t, nil
	}
	if err := t.plan(c); err != nil {
		return nil, errors.Join(err, t.site.Close())
	}
	return t, nil
}

func (t *training) plan(c *cli.Context) (err error) {
	if dir, ok := ownModel(); ok && !c.IsSet(modelFlag.Name) {
		note(c, "the model is the one that came with the program: %s", dir)
		if err := c.Set(modelFlag.Name, dir); err != nil {
			return err
		}
	}
	if err := needFlag(c, modelFlag, dataFlag); err != nil {
		return err
	}
	if err := positive(c, epochsName, batchSizeFlag.Name, accumulateName, limitFlag.Name, keepName); err != nil {
		return err
	}
	if err := positiveFloat(c, learningRateName); err != nil {
		return err
	}
	if err := checkCourse(c); err != nil {
		return err
	}
	if err := checkFreeze(c); err != nil {
		return err
	}
	if err := oneOf(c, holdDataName, holdDataValues); err != nil {
		return err
	}
	if t.logs, err = readLogs(c, t.site.dir); err != nil {
		return err
	}
	if t.info, t.session, err = inspectModel(c, pipeline.TrainSignature); err != nil {
		return t.site.moved(c, err, modelFlag.Name)
	}
	if err := checkHead(c, t.info); err != nil {
		return err
	}
	if err := checkAccumulation(c, t.info); err != nil {
		return err
	}
	if err := t.site.dir.checkPlace(); err != nil {
		return err
	}
	if err := t.site.dir.checkFree(t.needs(c)); err != nil {
		return err
	}
	if t.data, err = openData(c, t.info, dataset.TrainAndTest); err != nil {
		return t.site.moved(c, err, dataFlag.Name)
	}
	if share := c.Float64(validationSplitName); share > 0 {
		if t.data.Train, t.validation, err = t.data.Train.Split(share, c.Int64(seedFlag.Name)); err != nil {
			return fmt.Errorf("--%s %g: %w", validationSplitName, share, err)
		}
	}
	if t.data.Test != nil || t.validation != nil {
		if err := needSignatures(t.info, pipeline.EvaluateSignature); err != nil {
			return err
		}
	}
	t.options = t.fitOptions(c)
	t.session.Signatures, t.session.Held = t.signatures(c), t.heldSignatures(c)
	return nil
}

// signatures are the functions that the run calls.
func (t *training) signatures(c *cli.Context) []string {
	if c.IsSet(freezeName) {
		return slices.Clone(features.Signatures)
	}
	names := []string{t.options.Signature()}
	if _, ok := t.info.Signature(pipeline.EvaluateSignature); ok { // else nothing is tested
		names = append(names, pipeline.EvaluateSignature)
	}
	return names
}

// needs is what the run directory will take on the disk: the model, its
// checkpoints and the next one beside them, in bytes.
func (t *training) needs(c *cli.Context) int64 {
	if t.site.before != nil { // most of it is there
		return 2 * t.info.Size
	}
	const best, draft = 1, 1
	return t.info.Size * int64(1+c.Int(keepName)+best+draft)
}

// defaultRun names a run after its model and the time.
func defaultRun(model string) runDir {
	return runDir(filepath.Join("runs", filepath.Base(filepath.Clean(model))+time.Now().Format("-20060102-150405")))
}

// trainResult is what --json prints.
type trainResult struct {
	Run             string            `json:"run"`
	Model           string            `json:"model"` // "" while the run is not finished
	Epochs          int               `json:"epochs"`
	Steps           int               `json:"steps"`
	Train           pipeline.Metrics  `json:"train"`
	Finished        bool              `json:"finished"`
	Best            *pipeline.Best    `json:"best"`       // null before the first whole epoch
	Validation      *pipeline.Metrics `json:"validation"` // null without --validation-split
	Test            *pipeline.Metrics `json:"test"`       // null when nothing was tested
	ImagesPerSecond float64           `json:"images_per_second"`
	DataWait        float64           `json:"data_wait"` // the share of the time in training that waited for data, 0 to 1
	Seconds         float64           `json:"seconds"`
	Features        *featuresResult   `json:"features,omitempty"` // with --freeze
	Logs            map[string]string `json:"logs,omitempty"`     // by the names of --log, csv left out
	Warnings        []string          `json:"warnings,omitempty"` // of logs that failed
}

// report prints the result. model is where the model is; "" while there is none.
func (t *training) report(c *cli.Context, r pipeline.Result, model string) error {
	dir := t.site.dir
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, trainResult{
			Run: dir.String(), Model: model, Finished: model != "", Best: r.Best,
			Epochs: r.Epochs, Steps: r.Steps, Train: r.Train, Validation: r.Validation, Test: r.Test,
			ImagesPerSecond: r.ImagesPerSecond, DataWait: r.DataWait, Seconds: r.Duration.Seconds(), Features: t.features,
			Logs: t.logPaths(), Warnings: t.logs.warnings,
		})
	}
	rows := [][]string{{"train", scoreText(r.Train)}}
	if r.Validation != nil {
		rows = append(rows, []string{"validation", scoreText(*r.Validation)})
	}
	if r.Test != nil {
		rows = append(rows, []string{"test", scoreText(*r.Test)})
	}
	if r.Best != nil && r.Best.Epoch < r.Epochs {
		rows = append(rows, []string{"best", fmt.Sprintf("epoch %d, loss %.4f: residual checkpoints export best --from %s --out DIR", r.Best.Epoch, r.Best.Loss, dir)})
	}
	if t.features != nil {
		rows = append(rows, []string{"features", t.features.String()})
	}
	rows = append(rows,
		[]string{"speed", fmt.Sprintf("%.1f images/s in training, %s with tests and checkpoints", r.ImagesPerSecond, r.Duration.Round(time.Second))},
		[]string{"data", formatPercent(r.DataWait) + " of the time in training was waiting for it"},
		[]string{"run", dir.String()},
		[]string{"curve", dir.curve()},
		[]string{"model", model},
	)
	rows = append(rows, t.logRows()...)
	text := table(rows)
	if r.Test != nil {
		text += networkLine(t.info.Metadata.Recipe, *r.Test)
	}
	return printLine(c, "%s", trimEnd(text))
}

// reportFinished reports a run that was finished before, as far as its last
// checkpoint tells of it.
func (t *training) reportFinished(c *cli.Context) error {
	note(c, "%s is finished, there is nothing left to do", t.site.dir)
	t.logs = &logs{}
	t.info = &savedmodel.Info{Metadata: savedmodel.Metadata{Recipe: t.site.before.Recipe}}
	if t.site.saved != nil {
		return t.report(c, t.site.saved.Result(), t.site.dir.model())
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"run": t.site.dir.String(), "model": t.site.dir.model(), "finished": true})
	}
	return printLine(c, "%s", trimEnd(table([][]string{{"run", t.site.dir.String()}, {"model", t.site.dir.model()}})))
}

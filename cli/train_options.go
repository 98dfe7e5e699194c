package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/callback"
)

const (
	epochsName           = "epochs"
	learningRateName     = "learning-rate"
	noShuffleName        = "no-shuffle"
	dropLastName         = "drop-last"
	resumeName           = "resume"
	overrideName         = "override"
	checkpointEveryName  = "checkpoint-every"
	keepName             = "keep"
	maxTimeName          = "max-time"
	validationSplitName  = "validation-split"
	earlyStoppingName    = "early-stopping"
	scheduleName         = "schedule"
	warmupName           = "warmup"
	plateauName          = "plateau"
	accumulateName       = "accumulate"
	upsampleScheduleName = "upsample-schedule"
)

// The names that --schedule takes.
const (
	constantSchedule = "constant"
	cosineSchedule   = "cosine"
	linearSchedule   = "linear"
)

var scheduleNames = []string{constantSchedule, cosineSchedule, linearSchedule}

// courseFlags say how a run goes: its learning rate, its end.
func courseFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: scheduleName, Usage: "let the learning rate fall to 0 over the run: `NAME` is " + strings.Join(scheduleNames, ", "), Value: constantSchedule},
		&cli.IntFlag{Name: warmupName, Usage: "let the learning rate rise over the first `N` steps", DefaultText: "0"},
		&cli.IntFlag{Name: plateauName, Usage: "divide the learning rate by 10 after `N` epochs without less loss", DefaultText: "never"},
		&cli.IntFlag{Name: earlyStoppingName, Usage: "end the run after `N` epochs without less loss", DefaultText: "never"},
		&cli.GenericFlag{Name: upsampleScheduleName, Value: new(factors),
			Usage: "enlarge images by each factor of the `LIST`, such as 3,5,7, for its share of the epochs; tests keep the model's own", DefaultText: "none"},
		&cli.Float64Flag{Name: validationSplitName, Usage: "draw the `SHARE` of the training data, such as 0.1, whose loss says which epoch is the best, instead of that of training", DefaultText: "none"},
	}
}

// checkCourse refuses what courseFlags do not take.
func checkCourse(c *cli.Context) error {
	for _, name := range []string{warmupName, plateauName, earlyStoppingName} { // 0 turns off what a resumed run had
		if n := c.Int(name); n < 0 {
			return usagef(c, "--%s must be at least 0, not %d", name, n)
		}
	}
	if err := oneOf(c, scheduleName, scheduleNames); err != nil {
		return err
	}
	if share := c.Float64(validationSplitName); c.IsSet(validationSplitName) && !(share > 0 && share < 1) {
		return usagef(c, "--%s must be between 0 and 1, not %g", validationSplitName, share)
	}
	return nil
}

// course sets how the run goes, and returns the callbacks that decide on it.
func (t *training) course(c *cli.Context) (schedules []pipeline.Schedule, deciders []pipeline.Callback) {
	switch c.String(scheduleName) {
	case cosineSchedule:
		schedules = append(schedules, pipeline.Cosine())
	case linearSchedule:
		schedules = append(schedules, pipeline.Linear())
	}
	if steps := c.Int(warmupName); steps > 0 {
		schedules = append(schedules, pipeline.Warmup(steps))
	}
	if epochs := c.Int(plateauName); epochs > 0 {
		plateau := &callback.Plateau{Patience: epochs}
		schedules, deciders = append(schedules, plateau), append(deciders, plateau)
	}
	if epochs := c.Int(earlyStoppingName); epochs > 0 {
		deciders = append(deciders, &callback.EarlyStopping{Patience: epochs})
	}
	return schedules, deciders
}

func checkpointFlags() []cli.Flag {
	return []cli.Flag{
		&cli.GenericFlag{Name: resumeName, Value: new(resumeMode),
			Usage: "go on with the run in --out, from its newest checkpoint and with its settings; --resume=auto begins it if there is none"},
		&cli.BoolFlag{Name: overrideName, Usage: "let a resumed run go on with other settings than it began with"},
		&cli.GenericFlag{Name: checkpointEveryName, Value: &interval{every: 10 * time.Minute},
			Usage: "save a checkpoint after so many steps (500) or so much time (10m), besides that of each epoch: `N`"},
		&cli.IntFlag{Name: keepName, Usage: "keep the newest `N` checkpoints, besides the best", Value: 2},
		&cli.DurationFlag{Name: maxTimeName, Usage: "end after `TIME` (55m) with a checkpoint and exit code 75", DefaultText: "none"},
	}
}

// recipeDefault returns the flag for a command in which the model's recipe
// gives its default.
func recipeDefault(flag *cli.IntFlag) *cli.IntFlag {
	changed := *flag
	changed.DefaultText = "the recipe's"
	return &changed
}

// fitOptions are the flags where given, else the recipe's defaults.
func (t *training) fitOptions(c *cli.Context) pipeline.Options {
	defaults := t.info.Metadata.Defaults
	o := pipeline.Options{
		Epochs:       defaults.Epochs,
		BatchSize:    defaults.BatchSize,
		LearningRate: defaults.LearningRate,
		Accumulate:   c.Int(accumulateName),
		NoShuffle:    c.Bool(noShuffleName) || t.info.RawMetadata != nil && !defaults.Shuffle,
		DropLast:     c.Bool(dropLastName),
		Seed:         c.Int64(seedFlag.Name),
		Test:         t.data.Test,
		Validation:   t.validation,
		Checkpoints: &pipeline.Checkpoints{
			Dir:   t.site.dir.checkpoints(),
			Steps: intervalOf(c).steps,
			Every: intervalOf(c).every,
			Keep:  c.Int(keepName),
			Warn:  func(err error) { t.logs.warn(c, fmt.Sprintf("%v; it is tried again later", err)) },
		},
		Resume:           t.site.saved,
		UpsampleSchedule: *factorsOf(c),
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
	o.Schedules, o.Callbacks = t.course(c)
	return o.WithDefaults()
}

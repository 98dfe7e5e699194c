package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo"
)

// setting is a setting of a run as a flag of train.
type setting struct {
	flag    string
	value   string // "" where the flag was not given
	changes bool   // what the run computes
}

// text is the value as people read it.
func (s setting) text() string {
	if s.flag == upsampleScheduleName {
		return cmp.Or(s.value, "none")
	}
	return cmp.Or(s.value, "0")
}

func (r runConfig) settings() []setting {
	float := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	count := func(n int) string { // 0 is the default of a flag that does not take it
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	share := ""
	if r.ValidationSplit > 0 {
		share = float(r.ValidationSplit)
	}
	settings := []setting{
		{modelFlag.Name, r.Model, false}, // these two are known by their fingerprints
		{dataFlag.Name, r.Data, false},
		{epochsName, strconv.Itoa(r.Epochs), true},
		{batchSizeFlag.Name, strconv.Itoa(r.BatchSize), true},
		{accumulateName, strconv.Itoa(r.Accumulate), true},
		{upsampleScheduleName, (*factors)(&r.UpsampleSchedule).String(), true},
		{learningRateName, float(r.LearningRate), true},
		{scheduleName, r.Schedule, true},
		{warmupName, count(r.Warmup), true},
		{plateauName, count(r.Plateau), true},
		{earlyStoppingName, count(r.EarlyStopping), true},
		{validationSplitName, share, false}, // known by its data
		{freezeName, r.Freeze, false},
		{holdDataName, holdText(r.HoldData), true},
		{limitFlag.Name, count(r.Limit), false},
		{noShuffleName, strconv.FormatBool(!r.Shuffle), true},
		{dropLastName, strconv.FormatBool(r.DropLast), true},
		{seedFlag.Name, strconv.FormatInt(r.Seed, 10), true},
		{precisionFlag.Name, r.Precision, true},
		{threadsFlag.Name, strconv.Itoa(r.Threads), true},
		{deviceFlag.Name, r.Device, false}, // a run may go on elsewhere
		{gpuMemoryFlag.Name, r.GPUMemory, false},
		{xlaFlag.Name, strconv.FormatBool(r.XLA), true},
		{checkpointEveryName, r.CheckpointEvery, false},
		{keepName, strconv.Itoa(r.Keep), false},
		{logName, strings.Join(r.Log, ","), false},
	}
	return append(settings, setting{projectName, r.Project, false}, setting{runNameName, r.Name, false})
}

// fill sets the flags that are not given, and returns their names.
func (r runConfig) fill(c *cli.Context) (filled []string, err error) {
	withoutWandB := c.IsSet(logName) && !strings.Contains(c.String(logName), logWandB)
	for _, s := range r.settings() {
		if s.value == "" || c.IsSet(s.flag) || withoutWandB && (s.flag == projectName || s.flag == runNameName) {
			continue
		}
		if s.flag == modelFlag.Name || s.flag == dataFlag.Name {
			s.value = r.find(s.value)
		}
		if err := c.Set(s.flag, s.value); err != nil {
			return nil, fmt.Errorf("read run's config: --%s %q: %w", s.flag, s.value, err)
		}
		filled = append(filled, s.flag)
	}
	return filled, nil
}

// find returns where a path leads to that was given when the run began: from
// here, or else from where that was.
func (r runConfig) find(path string) string {
	there := filepath.Join(r.Directory, path)
	if _, err := os.Stat(path); err == nil || filepath.IsAbs(path) || r.Directory == "" {
		return path
	}
	if _, err := os.Stat(there); err != nil { // also of names such as cifar10
		return path
	}
	return there
}

// changes are the settings that are other than those that a run began with.
type changes []change

type change struct {
	Setting string `json:"setting"` // the flag's name
	Was     string `json:"was"`
	Is      string `json:"is"`
}

func (c change) String() string { return fmt.Sprintf("--%s %s, which was %s", c.Setting, c.Is, c.Was) }

func (c changes) String() string {
	texts := make([]string, len(c))
	for i, change := range c {
		texts[i] = change.String()
	}
	return strings.Join(texts, "; ")
}

func (r runConfig) changes(now runConfig) changes {
	var found changes
	was, is := r.settings(), now.settings()
	for i, s := range was { // both have the same flags in the same order
		if s.changes && is[i].value != s.value {
			found = append(found, change{s.flag, s.text(), is[i].text()})
		}
	}
	return found
}

// given are the settings among the flags that are given that are other than
// those of the run.
func (r runConfig) given(c *cli.Context) changes {
	var found changes
	for _, s := range r.settings() {
		if !s.changes || !c.IsSet(s.flag) {
			continue
		}
		is := fmt.Sprint(c.Value(s.flag))
		if x, ok := c.Value(s.flag).(float64); ok {
			is = strconv.FormatFloat(x, 'g', -1, 64)
		}
		if was := s.text(); was != is {
			found = append(found, change{s.flag, was, is})
		}
	}
	return found
}

// settleAuto sets --hold-data auto and --precision auto to what they stand for in a run
// that goes on: what it began with, wherever it goes on; with --override the precision
// that is fastest now.
func (r runConfig) settleAuto(c *cli.Context) error {
	if c.IsSet(holdDataName) && c.String(holdDataName) == holdAuto {
		if err := c.Set(holdDataName, holdText(r.HoldData)); err != nil {
			return err
		}
	}
	if c.String(precisionFlag.Name) != autoPrecision {
		return nil
	}
	precision := r.Precision
	if c.Bool(overrideName) {
		target, err := targetOf(c)
		if err != nil {
			return err
		}
		fastest, _ := tfgo.FastestPrecision(target)
		precision = string(fastest)
	}
	return c.Set(precisionFlag.Name, precision)
}

// changedSince tells whether settings were changed after a checkpoint of that
// step was saved.
func (r runConfig) changedSince(step int) bool {
	return slices.ContainsFunc(r.Resumed, func(one resumption) bool { return one.Step >= step && len(one.Changed) > 0 })
}

// owns refuses the checkpoint of another run. Its settings must be the run's,
// unless these were changed since.
func (r runConfig) owns(saved *pipeline.Saved) error {
	want := pipeline.Settings{
		Epochs: r.Epochs, BatchSize: r.BatchSize, Accumulate: r.Accumulate, UpsampleSchedule: r.UpsampleSchedule,
		LearningRate: r.LearningRate, Seed: r.Seed, Shuffle: r.Shuffle, DropLast: r.DropLast,
	}
	if !reflect.DeepEqual(saved.Settings, want) {
		return fmt.Errorf("resume run: %s is of another run: its settings are %+v, those in config.json %+v", saved.Path, saved.Settings, want)
	}
	return nil
}

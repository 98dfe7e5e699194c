package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo"
)

// runConfig is a run's config.json.
type runConfig struct {
	Format           int               `json:"format"` // 1
	Started          time.Time         `json:"started"`
	Directory        string            `json:"directory"` // that model and data are relative to, if they are
	Model            string            `json:"model"`
	ModelFingerprint string            `json:"model_fingerprint"` // see savedmodel.Info.Fingerprint
	Recipe           string            `json:"recipe"`            // "" where there is none
	Loss             string            `json:"loss"`              // see savedmodel.Metadata.Loss
	Data             string            `json:"data"`
	Train            splitConfig       `json:"train"`
	Validation       *splitConfig      `json:"validation"` // null when there is none
	Test             *splitConfig      `json:"test"`       // null when nothing is tested
	Epochs           int               `json:"epochs"`
	BatchSize        int               `json:"batch_size"`
	LearningRate     float64           `json:"learning_rate"`
	Schedule         string            `json:"schedule"`
	Warmup           int               `json:"warmup"`           // steps
	Plateau          int               `json:"plateau"`          // epochs; 0 is never
	EarlyStopping    int               `json:"early_stopping"`   // epochs; 0 is never
	ValidationSplit  float64           `json:"validation_split"` // of the training data
	Shuffle          bool              `json:"shuffle"`
	Seed             int64             `json:"seed"`
	Limit            int               `json:"limit"` // 0 is no limit
	Precision        string            `json:"precision"`
	Threads          int               `json:"threads"`
	CheckpointEvery  string            `json:"checkpoint_every"`  // steps, or a time such as 10m
	Keep             int               `json:"keep"`              // checkpoints
	Log              []string          `json:"log"`               // who the run was written for
	Project          string            `json:"project,omitempty"` // W&B's
	Name             string            `json:"name,omitempty"`    // in W&B
	Versions         map[string]string `json:"versions"`
	Resumed          []resumption      `json:"resumed,omitempty"`
}

type splitConfig struct {
	Examples    int    `json:"examples"`
	Fingerprint string `json:"fingerprint"` // SHA-256, see dataset.Examples.Fingerprint
}

// resumption is one time that a run went on.
type resumption struct {
	Time     time.Time            `json:"time"`
	Step     int                  `json:"step"` // after which it went on
	Changed  changes              `json:"changed,omitempty"`
	Versions map[string][2]string `json:"versions,omitempty"` // was, is
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func (t *training) config(c *cli.Context) runConfig {
	directory, _ := os.Getwd() // "" where it was removed
	config := runConfig{
		Format:           1,
		Started:          now(),
		Directory:        directory,
		Model:            t.info.Dir,
		ModelFingerprint: t.info.Fingerprint,
		Recipe:           t.info.Metadata.Recipe,
		Loss:             t.info.Metadata.Loss(),
		Data:             t.data.Name,
		Train:            *splitOf(t.data.Train),
		Validation:       splitOf(t.validation),
		Test:             splitOf(t.data.Test),
		Epochs:           t.options.Epochs,
		BatchSize:        t.options.BatchSize,
		LearningRate:     t.options.LearningRate,
		Schedule:         c.String(scheduleName),
		Warmup:           c.Int(warmupName),
		Plateau:          c.Int(plateauName),
		EarlyStopping:    c.Int(earlyStoppingName),
		ValidationSplit:  c.Float64(validationSplitName),
		Shuffle:          !t.options.NoShuffle,
		Seed:             t.options.Seed,
		Limit:            c.Int(limitFlag.Name),
		Precision:        string(t.session.Precision),
		Threads:          t.session.Threads,
		CheckpointEvery:  intervalOf(c).String(),
		Keep:             t.options.Checkpoints.Keep,
		Log:              t.logs.names,
		Project:          t.logs.project,
		Name:             t.logs.name,
		Versions: map[string]string{
			"residual": version(),
			"go":       runtime.Version(),
			"graft":    moduleVersion(graftModule),
		},
	}
	if config.Threads == 0 {
		config.Threads = runtime.NumCPU()
	}
	if library, err := tfgo.Load(); err == nil {
		config.Versions["tensorflow"] = library.Version
	}
	return config
}

func splitOf(e *dataset.Examples) *splitConfig {
	if e == nil {
		return nil
	}
	return &splitConfig{e.Len(), e.Fingerprint()}
}

// readConfig reads the config of a run that is to go on.
func (r runDir) readConfig() (runConfig, error) {
	var config runConfig
	data, err := os.ReadFile(r.config())
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err == nil {
		err = config.check()
	}
	if err != nil {
		return config, fmt.Errorf("read run's config: %s: %w", r.config(), err)
	}
	return config, nil
}

func (r runConfig) check() error {
	switch {
	case r.Format != 1:
		return fmt.Errorf("its format is %d, this program reads 1", r.Format)
	case r.ModelFingerprint == "":
		return errors.New("the run was begun by an older residual, which kept no checkpoints: it cannot be resumed")
	case r.Epochs < 1 || r.BatchSize < 1 || !(r.LearningRate > 0) || r.Limit < 0 || r.Threads < 1 || r.Keep < 1 ||
		r.Warmup < 0 || r.Plateau < 0 || r.EarlyStopping < 0 || !(r.ValidationSplit >= 0 && r.ValidationSplit < 1):
		return errors.New("some of its numbers are none that a run can have")
	}
	return nil
}

// setting is a setting of a run as a flag of train.
type setting struct {
	flag    string
	value   string // "" where the flag was not given
	changes bool   // what the run computes
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
		{learningRateName, float(r.LearningRate), true},
		{scheduleName, r.Schedule, true},
		{warmupName, count(r.Warmup), true},
		{plateauName, count(r.Plateau), true},
		{earlyStoppingName, count(r.EarlyStopping), true},
		{validationSplitName, share, false}, // known by its data
		{limitFlag.Name, count(r.Limit), false},
		{noShuffleName, strconv.FormatBool(!r.Shuffle), true},
		{seedFlag.Name, strconv.FormatInt(r.Seed, 10), true},
		{precisionFlag.Name, r.Precision, true},
		{threadsFlag.Name, strconv.Itoa(r.Threads), true},
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

// sameInputs refuses another model or other data than the run began with.
func (r runConfig) sameInputs(dir runDir, now runConfig) error {
	if r.ModelFingerprint != now.ModelFingerprint {
		return fmt.Errorf("resume run: %s is not the model that %s began with (%s): its fingerprint is %s, not %s",
			now.Model, dir, r.Model, short(now.ModelFingerprint), short(r.ModelFingerprint))
	}
	for _, split := range []struct {
		name    string
		was, is *splitConfig
	}{{"training", &r.Train, &now.Train}, {"validation", r.Validation, now.Validation}, {"test", r.Test, now.Test}} {
		if split.was.String() != split.is.String() {
			why := ""
			if r.Limit != now.Limit || r.ValidationSplit != now.ValidationSplit {
				why = fmt.Sprintf("; --%s and --%s must stay as they were", limitFlag.Name, validationSplitName)
			}
			return fmt.Errorf("resume run: the %s data of %s is not what %s began with (%s): it is %s, not %s%s",
				split.name, now.Data, dir, r.Data, split.is, split.was, why)
		}
	}
	return nil
}

func (s *splitConfig) String() string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%s with the fingerprint %s", formatNumber(s.Examples, "image"), short(s.Fingerprint))
}

// short is the part of a fingerprint that people compare.
func short(fingerprint string) string { return fingerprint[:min(12, len(fingerprint))] }

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
			found = append(found, change{s.flag, cmp.Or(s.value, "0"), cmp.Or(is[i].value, "0")})
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
		if was := cmp.Or(s.value, "0"); was != is {
			found = append(found, change{s.flag, was, is})
		}
	}
	return found
}

// changedVersions are those on which the bits of a result can depend.
func changedVersions(was, is map[string]string) map[string][2]string {
	changed := map[string][2]string{}
	for _, name := range []string{"tensorflow"} {
		if was[name] != is[name] {
			changed[name] = [2]string{was[name], is[name]}
		}
	}
	return changed
}

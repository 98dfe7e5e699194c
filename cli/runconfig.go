package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/savedmodel"
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
	Accumulate       int               `json:"accumulate"`                  // batches in a step; 1 in configs that do not say it
	UpsampleSchedule []int             `json:"upsample_schedule,omitempty"` // none: the model's own
	LearningRate     float64           `json:"learning_rate"`
	Schedule         string            `json:"schedule"`
	Warmup           int               `json:"warmup"`           // steps
	Plateau          int               `json:"plateau"`          // epochs; 0 is never
	EarlyStopping    int               `json:"early_stopping"`   // epochs; 0 is never
	ValidationSplit  float64           `json:"validation_split"` // of the training data
	Shuffle          bool              `json:"shuffle"`
	DropLast         bool              `json:"drop_last,omitempty"`
	Freeze           string            `json:"freeze,omitempty"`    // the part of the model that is left as it is
	HoldData         bool              `json:"hold_data,omitempty"` // what --hold-data auto stood for
	Seed             int64             `json:"seed"`
	Limit            int               `json:"limit"`                     // 0 is no limit
	Precision        string            `json:"precision"`                 // of the session: --precision, or what auto stood for
	ModelPrecision   string            `json:"model_precision,omitempty"` // of the model's layers, see savedmodel.Metadata.Precision
	Threads          int               `json:"threads"`
	Device           string            `json:"device,omitempty"`      // as --device was given; "" is auto
	GPUMemory        string            `json:"gpu_memory,omitempty"`  // as --gpu-memory was given, or growth
	ComputedOn       string            `json:"computed_on,omitempty"` // cpu or gpu, when the run went on last
	XLA              bool              `json:"xla,omitempty"`
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

// config describes the run, whose model is open.
func (t *training) config(c *cli.Context, model *savedmodel.Model) runConfig {
	computedOn := tfgo.CPUDevice
	if model.OnGPU() {
		computedOn = tfgo.GPUDevice
	}
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
		Accumulate:       t.options.Accumulate,
		UpsampleSchedule: t.options.UpsampleSchedule,
		LearningRate:     t.options.LearningRate,
		Schedule:         c.String(scheduleName),
		Warmup:           c.Int(warmupName),
		Plateau:          c.Int(plateauName),
		EarlyStopping:    c.Int(earlyStoppingName),
		ValidationSplit:  c.Float64(validationSplitName),
		Shuffle:          !t.options.NoShuffle,
		DropLast:         t.options.DropLast,
		Freeze:           c.String(freezeName),
		HoldData:         c.String(holdDataName) == holdOn, // of auto nothing is known yet
		Seed:             t.options.Seed,
		Limit:            c.Int(limitFlag.Name),
		Precision:        string(t.session.Precision),
		ModelPrecision:   t.info.Metadata.Precision,
		Threads:          t.session.Threads,
		Device:           t.session.Target.Device,
		GPUMemory:        c.String(gpuMemoryFlag.Name),
		ComputedOn:       computedOn,
		XLA:              t.session.Target.XLA,
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
	config, err := r.loadConfig()
	if err == nil {
		err = config.check()
	}
	if err != nil {
		return config, fmt.Errorf("read run's config: %s: %w", r.config(), err)
	}
	return config, nil
}

// loadConfig returns as much of config.json as can be read.
func (r runDir) loadConfig() (config runConfig, err error) {
	info, err := os.Stat(r.config())
	if err != nil {
		return config, err
	}
	if !info.Mode().IsRegular() { // reading a pipe could wait for ever
		return config, errors.New("it is not a file")
	}
	data, err := os.ReadFile(r.config())
	if err != nil {
		return config, err
	}
	config.Accumulate = 1
	err = json.Unmarshal(data, &config)
	return config, err
}

func (r runConfig) check() error {
	switch {
	case r.Format != 1:
		return fmt.Errorf("its format is %d, this program reads 1", r.Format)
	case r.ModelFingerprint == "":
		return errors.New("the run was begun by an older residual, which kept no checkpoints: it cannot be resumed")
	case r.Epochs < 1 || r.BatchSize < 1 || r.Accumulate < 1 || !(r.LearningRate > 0) || r.Limit < 0 || r.Threads < 1 || r.Keep < 1 ||
		r.Warmup < 0 || r.Plateau < 0 || r.EarlyStopping < 0 || !(r.ValidationSplit >= 0 && r.ValidationSplit < 1):
		return errors.New("some of its numbers are none that a run can have")
	}
	return nil
}

// sameInputs refuses another model or other data than the run began with.
func (r runConfig) sameInputs(dir runDir, now runConfig) error {
	if r.ModelFingerprint != now.ModelFingerprint {
		return fmt.Errorf("resume run: %s is not the model that %s began with (%s): its fingerprint is %s, not %s",
			now.Model, dir, r.Model, short(now.ModelFingerprint), short(r.ModelFingerprint))
	}
	if r.Freeze != now.Freeze {
		return fmt.Errorf("resume run: --%s must stay as it was: %s began with %s, not %s; to train its model in another way, begin a run with --%s %s",
			freezeName, dir, orNone(r.Freeze), orNone(now.Freeze), modelFlag.Name, dir)
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

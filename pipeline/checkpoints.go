package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/residual-go/residual/pipeline/checkpoint"
)

// Checkpoints says where and when Fit saves the state of a run. Beside what is
// asked for here, one is saved after each epoch, and when a run is cut short.
type Checkpoints struct {
	Dir   string          // the store, see package checkpoint
	Steps int             // one after so many steps since the last; 0 means not by steps
	Every time.Duration   // one when the last was so long ago; 0 means not by time
	Now   <-chan struct{} // a value asks for one after the call of the model under way; may be nil
	Keep  int             // how many of the newest stay, besides the best one; 0 means 2
	// Warn hears of one that could not be saved while the run goes on: there may
	// be room on the disk again the next time. nil means that nobody does.
	Warn func(error)
}

const defaultKeep = 2

// Saver is a Model whose variables, all that it keeps between calls, can be
// saved and restored. Fit needs one for checkpoints.
type Saver interface {
	Model
	// SaveVariables writes files whose names begin with prefix.
	SaveVariables(ctx context.Context, prefix string) error
	RestoreVariables(ctx context.Context, prefix string) error
}

// Stateful is a Callback with a state of its own, which is saved with the run's.
type Stateful interface {
	Callback
	// StateName is the state's name among those of the other callbacks.
	StateName() string
	// State returns what Restore needs, as JSON, when all that was written so far
	// is on the disk; nil where there is nothing to go on from.
	State() (json.RawMessage, error)
	// Restore comes before Begin in a run that is resumed. What was written
	// after that State is undone.
	Restore(state json.RawMessage) error
}

// State is a run between two steps: state.json of a checkpoint. With the
// model's variables and the data it decides all that comes after.
type State struct {
	Format int `json:"format"` // 1

	Step  int  `json:"step"`  // the run's steps so far
	Epoch int  `json:"epoch"` // the one under way, from 1; Epochs+1 after the last
	Batch int  `json:"batch"` // how many of its steps were taken
	Done  bool `json:"done"`  // a callback has ended the run

	Settings     Settings     `json:"settings"`
	Fingerprints Fingerprints `json:"fingerprints"`

	Sums       Sums     `json:"sums"`       // over Batch batches
	Train      Metrics  `json:"train"`      // of the last step's epoch, until then
	Test       *Metrics `json:"test"`       // the last; null when nothing was tested
	Validation *Metrics `json:"validation"` // the same
	Images     int      `json:"images"`     // trained on
	Best       *Best    `json:"best"`       // null before the first epoch's end

	Seconds         float64 `json:"seconds"`          // the run took so far
	TrainingSeconds float64 `json:"training_seconds"` // those spent in steps
	WaitSeconds     float64 `json:"wait_seconds"`     // those of steps that waited for data; 0 in states of before it was counted
	EpochSeconds    float64 `json:"epoch_seconds"`    // the epoch under way took so far

	Callbacks map[string]json.RawMessage `json:"callbacks"` // by StateName
}

const stateFormat = 1

// Settings are the Options that a run is a function of.
type Settings struct {
	Epochs           int     `json:"epochs"`
	BatchSize        int     `json:"batch_size"`
	Accumulate       int     `json:"accumulate"`                  // 1 in states that do not say it
	UpsampleSchedule []int   `json:"upsample_schedule,omitempty"` // none: the model's own
	LearningRate     float64 `json:"learning_rate"`
	Seed             int64   `json:"seed"`
	Shuffle          bool    `json:"shuffle"`
	DropLast         bool    `json:"drop_last,omitempty"`
}

// Fingerprints tell what a run was made of from anything else. They are what
// the methods Fingerprint of its model and data return; "" where there is none.
type Fingerprints struct {
	Model      string `json:"model"`
	Train      string `json:"train"`
	Test       string `json:"test"`
	Validation string `json:"validation"`
}

// Sums are what means over an epoch's examples are made of.
type Sums struct {
	Loss     float64 `json:"loss"`
	Correct  int     `json:"correct"`
	Examples int     `json:"examples"`
}

// Best is the epoch with the least loss. The test never chooses it.
type Best struct {
	Step       int     `json:"step"`
	Epoch      int     `json:"epoch"`
	Loss       float64 `json:"loss"`
	Validation bool    `json:"validation"` // whether the loss is the validation's, not the training's
}

// Saved is a run's state on disk.
type Saved struct {
	Path string // of the checkpoint
	State
}

const (
	stateName     = "state.json"
	variablesName = "variables" // the prefix of the variables' files
)

// Variables is the prefix of the files with the model's variables.
func (s *Saved) Variables() string { return filepath.Join(s.Path, variablesName) }

// ReadSaved reads the state in a checkpoint, which may be damaged elsewhere: see
// Checkpoint.Verify.
func ReadSaved(c checkpoint.Checkpoint) (*Saved, error) {
	saved := &Saved{Path: c.Path}
	path := filepath.Join(c.Path, stateName)
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // reading a pipe could wait for ever
		err = fmt.Errorf("%s is not a file", path)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read state of run: %w", err)
	}
	saved.Settings.Accumulate = 1
	err = json.Unmarshal(data, &saved.State)
	if err == nil {
		err = saved.State.checkOf(c)
	}
	if err != nil {
		return nil, &checkpoint.DamagedError{Checkpoint: c, File: stateName, Reason: err.Error()}
	}
	return saved, nil
}

// checkOf says what no state of that checkpoint can be.
func (s State) checkOf(c checkpoint.Checkpoint) error {
	switch {
	case s.Format != stateFormat:
		return fmt.Errorf("its format is %d, this program reads %d", s.Format, stateFormat)
	case s.Step != c.Step:
		return fmt.Errorf("it is of step %d", s.Step)
	case s.Epoch < 1 || s.Batch < 0:
		return fmt.Errorf("it is in batch %d of epoch %d", s.Batch, s.Epoch)
	case min(s.Seconds, s.TrainingSeconds, s.WaitSeconds, s.EpochSeconds) < 0 || min(s.Images, s.Sums.Examples, s.Sums.Correct) < 0:
		return errors.New("some of its numbers are negative")
	}
	return nil
}

// LastSaved returns the newest state in a store that is whole, and what is
// wrong with newer ones. checkpoint.ErrNone is in the error's chain where there
// is none.
func LastSaved(dir string) (saved *Saved, damaged []error, err error) {
	_, damaged, err = checkpoint.Store{Dir: dir}.Newest(func(c checkpoint.Checkpoint) (err error) {
		saved, err = ReadSaved(c)
		return err
	})
	if err != nil {
		return nil, damaged, err
	}
	return saved, damaged, nil
}

// ChangedError says that a run cannot be resumed with another model or other
// data, with fewer epochs than it has begun, or with another order of the
// examples in the middle of an epoch.
type ChangedError struct{ What, Was, Is string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("resume run: %s is not the same: it was %s, it is %s", e.What, e.Was, e.Is)
}

// UnsavedError says that a run was cut short and its last steps are lost: they
// are in no checkpoint.
type UnsavedError struct {
	Saved   int // the steps that the last checkpoint has; 0 where there is none
	Reached int // the steps of the run
	Err     error
}

func (e *UnsavedError) Error() string {
	kept := fmt.Sprintf("the last checkpoint is of step %d", e.Saved)
	if e.Saved == 0 {
		kept = "there is no checkpoint"
	}
	return fmt.Sprintf("%v: the run was at step %d, and %s", e.Err, e.Reached, kept)
}

func (e *UnsavedError) Unwrap() error { return e.Err }

// Result returns what Fit would return for a run that ends here.
func (s State) Result() Result {
	r := Result{
		Epochs: s.Epoch - 1, Steps: s.Step, Train: s.Train, Test: s.Test, Validation: s.Validation, Best: s.Best,
		Duration: seconds(s.Seconds),
	}
	if s.TrainingSeconds > 0 {
		r.ImagesPerSecond = float64(s.Images) / s.TrainingSeconds
		r.DataWait = s.WaitSeconds / s.TrainingSeconds
	}
	return r
}

// Check holds what a run was against what it would go on with. Fit does so too.
// The error is a *ChangedError.
func (s State) Check(model Model, data Data, o Options) error {
	o = o.WithDefaults()
	now, f := o.settings(), o.fingerprints(model, data)
	for _, part := range []struct{ what, was, is string }{
		{"the model", s.Fingerprints.Model, f.Model},
		{"the training data", s.Fingerprints.Train, f.Train},
		{"the validation data", s.Fingerprints.Validation, f.Validation},
		{"the test data", s.Fingerprints.Test, f.Test},
	} {
		if part.was != part.is {
			return &ChangedError{part.what, cmp.Or(part.was, "none"), cmp.Or(part.is, "none")}
		}
	}
	begun := s.Epoch
	if s.Batch == 0 {
		begun--
	}
	if begun > now.Epochs {
		what := fmt.Sprintf("the number of epochs, of which %d have begun,", begun)
		return &ChangedError{what, fmt.Sprint(s.Settings.Epochs), fmt.Sprint(now.Epochs)}
	}
	if s.Batch == 0 {
		return nil
	}
	for _, part := range []struct {
		what    string
		was, is any
	}{
		{"the batch size", s.Settings.BatchSize, now.BatchSize},
		{"the number of batches in a step", s.Settings.Accumulate, now.Accumulate},
		{"the seed", s.Settings.Seed, now.Seed},
		{"the shuffling", s.Settings.Shuffle, now.Shuffle},
		{"whether the last short step is dropped", s.Settings.DropLast, now.DropLast},
	} {
		if part.was != part.is {
			what := fmt.Sprintf("%s, which can change only between epochs (this is batch %d of epoch %d),", part.what, s.Batch, s.Epoch)
			return &ChangedError{what, fmt.Sprint(part.was), fmt.Sprint(part.is)}
		}
	}
	return nil
}

func (o Options) settings() Settings {
	return Settings{o.Epochs, o.BatchSize, o.Accumulate, o.UpsampleSchedule, o.LearningRate, o.Seed, !o.NoShuffle, o.DropLast}
}

func (o Options) fingerprints(model Model, data Data) Fingerprints {
	f := Fingerprints{Model: fingerprint(model), Train: fingerprint(data)}
	if !isEmpty(o.Test) {
		f.Test = fingerprint(o.Test)
	}
	if !isEmpty(o.Validation) {
		f.Validation = fingerprint(o.Validation)
	}
	return f
}

func fingerprint(of any) string {
	if f, ok := of.(interface{ Fingerprint() string }); ok {
		return f.Fingerprint()
	}
	return ""
}

// keeper saves a run's states. A nil one saves none.
type keeper struct {
	Checkpoints
	store checkpoint.Store
	model Saver
	step  int       // of the last one, or of the last attempt
	when  time.Time // the same
}

func newKeeper(model Model, o Options) (*keeper, error) {
	if o.Checkpoints == nil {
		return nil, nil
	}
	saver, ok := model.(Saver)
	if !ok {
		return nil, errors.New("save checkpoints: the model cannot save its variables")
	}
	k := &keeper{Checkpoints: *o.Checkpoints, model: saver, when: time.Now()}
	k.Keep = cmp.Or(k.Keep, defaultKeep)
	k.store.Dir = k.Dir
	if k.Steps < 0 || k.Every < 0 || k.Keep < 0 {
		return nil, fmt.Errorf("save checkpoints: none of steps %d, time %v and number to keep %d may be negative", k.Steps, k.Every, k.Keep)
	}
	return k, k.store.Sweep()
}

// due tells whether a checkpoint is wanted after a step.
func (k *keeper) due(step int) bool {
	if k == nil || step == k.step {
		return false
	}
	asked := false
	select {
	case _, asked = <-k.Now:
	default:
	}
	return asked || k.Steps > 0 && step-k.step >= k.Steps || k.Every > 0 && time.Since(k.when) >= k.Every
}

// left is how many steps may be taken before one is due by their number; 0 where none
// is.
func (k *keeper) left(step int) int {
	if k == nil || k.Steps == 0 {
		return 0
	}
	return max(1, k.step+k.Steps-step)
}

func (k *keeper) save(ctx context.Context, state State) error {
	defer func() { k.step, k.when = state.Step, time.Now() }()
	_, err := k.store.Save(state.Step, func(dir string) error {
		// What cannot be interrupted should not begin when the context has ended.
		if err := k.model.SaveVariables(context.WithoutCancel(ctx), filepath.Join(dir, variablesName)); err != nil {
			return err
		}
		data, err := json.MarshalIndent(state, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, stateName), append(data, '\n'), 0o644)
	})
	if err != nil {
		return err
	}
	spare := state.Step
	if state.Best != nil {
		spare = state.Best.Step
	}
	return k.store.Prune(state.Step, k.Keep, spare)
}

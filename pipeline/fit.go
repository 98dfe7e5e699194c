package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Result says how a run ended.
type Result struct {
	Finished bool // the run has come to its end, by itself or because a callback stopped it
	Epochs   int  // whole ones
	Steps    int

	Train      Metrics  // of the last epoch, a broken-off one included
	Test       *Metrics // after the last whole epoch; nil when nothing was tested
	Validation *Metrics // the same
	Best       *Best    // nil before the first whole epoch

	Duration        time.Duration
	ImagesPerSecond float64 // in training, waiting for data included, testing not
	DataWait        float64 // the share of the time in training that waited for data, 0 to 1
}

// Fit trains a model for o.Epochs passes over data, evaluates o.Test after
// each, and tells o.Callbacks of every event. With o.Resume it goes on with an
// earlier run, as if that had never been cut short.
//
// Where the last checkpoint cannot be saved, an *UnsavedError is in the error's
// chain, also if the run is finished.
//
// When the run is cut short, Fit returns the context's error beside what was
// reached: the model has the weights after Result.Steps steps, and if there are
// to be checkpoints, that is one.
func Fit(ctx context.Context, model Model, data Data, o Options) (Result, error) {
	f := fit{callbacks: o.Callbacks}
	trainer, err := newTrainer(model, data, o)
	for _, data := range []Data{o.Validation, o.Test} {
		if err == nil && !isEmpty(data) {
			_, err = newEvaluator(model, data, EvaluateOptions{})
		}
	}
	if err == nil {
		f.keeper, err = newKeeper(model, o)
	}
	if err == nil && o.Resume != nil {
		err = f.resume(ctx, trainer, o.Resume)
	}
	if err == nil {
		err = f.run(ctx, trainer)
	}
	for _, c := range o.Callbacks {
		// Each one hears how the run ended, but not that another's end failed.
		if closeErr := c.Close(err); closeErr != nil {
			f.closeErrs = append(f.closeErrs, closeErr)
		}
	}
	return f.result, errors.Join(append([]error{err}, f.closeErrs...)...)
}

// fit is a run of Fit: what it has reached and who watches it.
type fit struct {
	callbacks []Callback
	keeper    *keeper
	result    Result
	images    int           // trained on
	training  time.Duration // spent on them
	waiting   time.Duration // the part of training that waited for data
	closeErrs []error
	unsaved   bool // something has happened since the last checkpoint
	savedStep int  // of the last checkpoint; 0 before the first

	begun, epochBegun time.Time // put back by what a resumed run took before
}

func (f *fit) run(ctx context.Context, t *trainer) error {
	if f.begun.IsZero() {
		f.begun = time.Now()
	}
	defer func() { f.result.Duration = time.Since(f.begun) }()
	t.holding.left = f.keeper.left
	begin := Begin{
		Epochs: t.options.Epochs, Step: t.steps, Epoch: max(1, t.at.epoch), Batches: t.batches(), Examples: t.data.Len(), BatchSize: t.options.stepSize(),
	}
	if !isEmpty(t.options.Test) {
		begin.TestExamples = t.options.Test.Len()
	}
	if !isEmpty(t.options.Validation) {
		begin.ValidationExamples = t.options.Validation.Len()
	}
	err := f.tell(ctx, begin)
	if err == nil {
		err = f.epochs(ctx, t)
	}
	stopped := errors.Is(err, ErrStop)
	if stopped {
		err = nil
	}
	f.result.Finished = err == nil
	if f.keeper == nil || t.broken || t.steps == 0 || !f.unsaved && !stopped {
		return err
	}
	// What was reached must not be lost, whatever it was that ended the run.
	if saveErr := f.save(ctx, t, stopped); saveErr != nil {
		err = errors.Join(err, &UnsavedError{f.savedStep, t.steps, saveErr})
	}
	return err
}

func (f *fit) epochs(ctx context.Context, t *trainer) error {
	if resumed := t.options.Resume; resumed != nil && resumed.Done {
		return nil
	}
	for number := max(1, t.at.epoch); number <= t.options.Epochs; number++ {
		if err := f.epoch(ctx, t, number); err != nil {
			return err
		}
	}
	return nil
}

func (f *fit) epoch(ctx context.Context, t *trainer, number int) error {
	if f.epochBegun.IsZero() {
		f.epochBegun = time.Now()
	}
	var told error // of a callback, since the last call of the model
	for step, err := range t.epoch(ctx, number) {
		if err != nil && (told == nil || errors.Is(told, ErrStop)) {
			return err
		}
		if err != nil {
			return errors.Join(told, err)
		}
		f.add(step)
		told = worse(told, f.tell(ctx, step))
		if step.Ahead > 0 { // the run cannot end, nor be saved, between steps that the model took at once
			continue
		}
		if told != nil {
			return told
		}
		if step.Batch < step.Batches && !t.broken && f.keeper.due(step.Number) { // after an epoch's last, one comes anyway
			f.saveOrWarn(ctx, t)
		}
	}
	epoch := Epoch{Number: number, Step: t.steps, Train: f.result.Train, Training: time.Since(f.epochBegun)}
	if !isEmpty(t.options.Validation) {
		validation, err := f.evaluate(ctx, t, number, true)
		if err != nil {
			return err
		}
		epoch.Validation, f.result.Validation = &validation.Metrics, &validation.Metrics
	}
	if !isEmpty(t.options.Test) {
		test, err := f.evaluate(ctx, t, number, false)
		if err != nil {
			return err
		}
		epoch.Test, f.result.Test = &test.Metrics, &test.Metrics
		epoch.Confusion = test.Confusion
	}
	f.result.Epochs = number
	epoch.Duration = time.Since(f.epochBegun)
	if loss := epoch.Watched(); f.result.Best == nil || loss < f.result.Best.Loss {
		f.result.Best = &Best{Step: t.steps, Epoch: number, Loss: loss, Validation: epoch.Validation != nil}
	}
	t.at, f.epochBegun, f.unsaved = position{epoch: number + 1}, time.Time{}, true
	if err := f.tell(ctx, epoch); err != nil {
		return err
	}
	if f.keeper != nil && !t.broken {
		f.saveOrWarn(ctx, t)
	}
	return nil
}

// resume takes model, callbacks and counts back to where a run was.
func (f *fit) resume(ctx context.Context, t *trainer, from *Saved) error {
	if err := from.Check(t.model, t.data, t.options); err != nil {
		return err
	}
	f.result, f.savedStep = from.Result(), from.Step
	saver, ok := t.model.(Saver)
	if !ok {
		return errors.New("resume run: the model cannot restore its variables")
	}
	if err := saver.RestoreVariables(ctx, from.Variables()); err != nil {
		return fmt.Errorf("resume run: %w", err)
	}
	for _, c := range f.callbacks {
		s, ok := c.(Stateful)
		if !ok || from.Callbacks[s.StateName()] == nil {
			continue
		}
		if err := s.Restore(from.Callbacks[s.StateName()]); err != nil {
			return fmt.Errorf("resume run: %w", err)
		}
	}
	t.steps = from.Step
	t.at = position{from.Epoch, from.Batch, mean{from.Sums.Loss, from.Sums.Correct, from.Sums.Examples}}
	f.images, f.training, f.waiting = from.Images, seconds(from.TrainingSeconds), seconds(from.WaitSeconds)
	f.begun = time.Now().Add(-seconds(from.Seconds))
	f.epochBegun = time.Now().Add(-seconds(from.EpochSeconds))
	if f.keeper != nil {
		f.keeper.step = from.Step
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// saveOrWarn saves the run's state while the run goes on.
func (f *fit) saveOrWarn(ctx context.Context, t *trainer) {
	if err := f.save(ctx, t, false); err != nil && f.keeper.Warn != nil {
		f.keeper.Warn(err)
	}
}

func (f *fit) save(ctx context.Context, t *trainer, done bool) error {
	state := State{
		Format: stateFormat,
		Step:   t.steps, Epoch: t.at.epoch, Batch: t.at.batch, Done: done,
		Settings: t.options.settings(), Fingerprints: t.options.fingerprints(t.model, t.data),
		Sums:  Sums{t.at.sofar.lossSum, t.at.sofar.correct, t.at.sofar.examples},
		Train: f.result.Train, Test: f.result.Test, Validation: f.result.Validation, Images: f.images, Best: f.result.Best,
		Seconds: time.Since(f.begun).Seconds(), TrainingSeconds: f.training.Seconds(), WaitSeconds: f.waiting.Seconds(),
		Callbacks: map[string]json.RawMessage{},
	}
	if !f.epochBegun.IsZero() {
		state.EpochSeconds = time.Since(f.epochBegun).Seconds()
	}
	for _, c := range f.callbacks {
		s, ok := c.(Stateful)
		if !ok {
			continue
		}
		own, err := s.State()
		if err != nil {
			return fmt.Errorf("save checkpoint of step %d: %w", t.steps, err)
		}
		if own != nil {
			state.Callbacks[s.StateName()] = own
		}
	}
	if err := f.keeper.save(ctx, state); err != nil {
		return err
	}
	f.unsaved, f.savedStep = false, t.steps
	return nil
}

// isEmpty tells whether there is nothing to evaluate. A *dataset.Examples that
// is nil, as Data.Test is where there is no test split, has no examples.
func isEmpty(data Data) bool { return data == nil || data.Len() == 0 }

func (f *fit) add(step Step) {
	f.unsaved = true
	f.images += step.Examples
	f.training += step.Duration
	f.waiting += step.Wait
	f.result.Steps = step.Number
	f.result.Train = step.Mean
	if f.training > 0 {
		f.result.ImagesPerSecond = float64(f.images) / f.training.Seconds()
		f.result.DataWait = f.waiting.Seconds() / f.training.Seconds()
	}
}

// evaluate measures the model on the validation data, or on the test's.
func (f *fit) evaluate(ctx context.Context, t *trainer, epoch int, validation bool) (*Evaluation, error) {
	data, classes := t.options.Test, t.options.Classes
	if validation {
		data, classes = t.options.Validation, 0
	}
	evaluation, err := Evaluate(ctx, t.model, data, EvaluateOptions{
		BatchSize: t.options.BatchSize,
		Classes:   classes,
		OnBatch: func(s TestStep) error {
			s.Epoch, s.Validation = epoch, validation
			return f.tell(ctx, s)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("after step %d: %w", t.steps, err)
	}
	return &evaluation, nil
}

// worse is the first of two errors of callbacks, but a failure outweighs a stop.
func worse(first, second error) error {
	if first == nil || second != nil && errors.Is(first, ErrStop) {
		return second
	}
	return first
}

// tell tells every callback, also after one has asked to stop, so that all
// have seen the same events.
func (f *fit) tell(ctx context.Context, event Event) error {
	var stop error
	for _, c := range f.callbacks {
		err := c.Handle(ctx, event)
		if err != nil && !errors.Is(err, ErrStop) {
			return err
		}
		if err != nil {
			stop = err
		}
	}
	return stop
}

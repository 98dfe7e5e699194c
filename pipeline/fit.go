package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Result says how a run ended.
type Result struct {
	Epochs int // whole ones
	Steps  int

	Train Metrics  // of the last epoch, a broken-off one included
	Test  *Metrics // after the last whole epoch; nil when nothing was tested

	Duration        time.Duration
	ImagesPerSecond float64 // in training, waiting for data included, testing not
}

// Fit trains a model for o.Epochs passes over data, evaluates o.Test after
// each, and tells o.Callbacks of every event.
//
// When the run is cut short, Fit returns the context's error beside what was
// reached: the model has the weights after Result.Steps steps.
func Fit(ctx context.Context, model Model, data Data, o Options) (Result, error) {
	f := fit{callbacks: o.Callbacks}
	trainer, err := newTrainer(model, data, o)
	if err == nil && o.tests() {
		_, err = newEvaluator(model, o.Test, EvaluateOptions{})
	}
	if err == nil {
		err = f.run(ctx, trainer)
	}
	if errors.Is(err, ErrStop) {
		err = nil
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
	result    Result
	images    int           // trained on
	training  time.Duration // spent on them
	closeErrs []error
}

func (f *fit) run(ctx context.Context, t *trainer) error {
	begun := time.Now()
	defer func() { f.result.Duration = time.Since(begun) }()
	begin := Begin{Epochs: t.options.Epochs, Batches: t.batches(), Examples: t.data.Len(), BatchSize: t.options.BatchSize}
	if t.options.tests() {
		begin.TestExamples = t.options.Test.Len()
	}
	if err := f.tell(ctx, begin); err != nil {
		return err
	}
	for number := 1; number <= t.options.Epochs; number++ {
		if err := f.epoch(ctx, t, number); err != nil {
			return err
		}
	}
	return nil
}

func (f *fit) epoch(ctx context.Context, t *trainer, number int) error {
	begun := time.Now()
	for step, err := range t.epoch(ctx, number) {
		if err != nil {
			return err
		}
		f.add(step)
		if err := f.tell(ctx, step); err != nil {
			return err
		}
	}
	epoch := Epoch{Number: number, Step: t.steps, Train: f.result.Train, Training: time.Since(begun)}
	if t.options.tests() {
		test, err := f.test(ctx, t, number)
		if err != nil {
			return err
		}
		epoch.Test, f.result.Test = &test.Metrics, &test.Metrics
		epoch.Confusion = test.Confusion
	}
	f.result.Epochs = number
	epoch.Duration = time.Since(begun)
	return f.tell(ctx, epoch)
}

// tests tells whether there is something to test on. A *dataset.Examples that
// is nil, as Data.Test is where there is no test split, has no examples.
func (o Options) tests() bool { return o.Test != nil && o.Test.Len() > 0 }

func (f *fit) add(step Step) {
	f.images += step.Examples
	f.training += step.Duration
	f.result.Steps = step.Number
	f.result.Train = step.Mean
	f.result.ImagesPerSecond = float64(f.images) / f.training.Seconds()
}

func (f *fit) test(ctx context.Context, t *trainer, epoch int) (*Evaluation, error) {
	evaluation, err := Evaluate(ctx, t.model, t.options.Test, EvaluateOptions{
		BatchSize: t.options.BatchSize,
		Classes:   t.options.Classes,
		OnBatch: func(s TestStep) error {
			s.Epoch = epoch
			return f.tell(ctx, s)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("after step %d: %w", t.steps, err)
	}
	return &evaluation, nil
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

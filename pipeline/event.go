package pipeline

import (
	"context"
	"errors"
	"time"
)

// Event is something that a run tells its callbacks: a Begin, a Step, a
// TestStep or an Epoch.
type Event interface{ isEvent() }

// Begin comes first.
type Begin struct {
	Epochs             int
	Step               int // the run's steps before; not 0 where it is resumed
	Epoch              int // the first that is still to be told of
	Batches            int // of an epoch, a step each
	Examples           int // of an epoch
	TestExamples       int // 0 when nothing is tested
	ValidationExamples int // 0 when there is no validation
	BatchSize          int // examples in a step
}

// Step tells of one batch that was trained on; with Options.Accumulate it is all
// the examples of the step.
type Step struct {
	Number         int // in the run, from 1
	Epoch          int // from 1
	Batch, Batches int // in the epoch, from 1

	Examples     int     // in the batch
	Loss         float64 // mean over the batch, before its update
	Correct      int     // of the batch, before its update
	Accuracy     float64 // Correct as a share of Examples
	GradNorm     float64 // Euclidean norm over all gradients
	LearningRate float64

	Mean     Metrics       // of the epoch so far
	Duration time.Duration // from the end of the step before, waiting for data included
	Wait     time.Duration // the part of Duration that waited for data

	// Ahead is how many further steps are known that the model has taken already, in
	// the same call. They are told of next, with the same Duration, a share of the call's;
	// where one of them has failed, its error comes in its place.
	Ahead int
}

// TestStep tells of one batch that was evaluated.
type TestStep struct {
	Epoch          int  // 0 outside of a run
	Validation     bool // it was of the validation, not of the test
	Batch, Batches int  // from 1
	Mean           Metrics
}

// Epoch tells of a whole pass over the training data.
type Epoch struct {
	Number     int // from 1
	Step       int // the run's steps so far
	Train      Metrics
	Test       *Metrics // nil when nothing is tested
	Validation *Metrics // nil when there is none
	Duration   time.Duration
	Training   time.Duration // the part of Duration before validation and test

	// Confusion is the test's, as Evaluation has it; nil without
	// Options.Classes, without a test, and above MaxConfusion.
	Confusion [][]int
}

// Watched is the loss that decides how good an epoch was: that of the validation
// where there is one, else that of training. A test that decides is no test any
// more.
func (e Epoch) Watched() float64 {
	if e.Validation != nil {
		return e.Validation.Loss
	}
	return e.Train.Loss
}

func (Begin) isEvent()    {}
func (Step) isEvent()     {}
func (TestStep) isEvent() {}
func (Epoch) isEvent()    {}

// Callback watches a run. Callbacks are told of each event in their order in
// Options.
type Callback interface {
	// Handle hears of one event. ErrStop ends the run in good order, any other
	// error ends it as a failure: at once, but with Options.Hold behind the steps that the
	// model has taken already, which are told of all the same.
	Handle(ctx context.Context, event Event) error
	// Close hears of the end, once, however the run ended: with nil after the
	// last epoch or ErrStop, with the context's error when it was cancelled,
	// with the failure otherwise.
	Close(runErr error) error
}

// ErrStop is what a Callback returns to end a run in good order.
var ErrStop = errors.New("stop training")

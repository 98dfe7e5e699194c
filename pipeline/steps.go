package pipeline

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Options says how to train. The zero value trains as the article does.
type Options struct {
	Epochs       int        // 0 means 3
	BatchSize    int        // 0 means 64; the last batch of an epoch may be shorter
	DropLast     bool       // leave out the last step of an epoch where it has fewer examples than the others
	Accumulate   int        // batches whose mean gradient makes a step; 0 means 1, see AccumulateSignature
	LearningRate float64    // 0 means 0.01
	Schedules    []Schedule // what the learning rate is multiplied by in each step; none means nothing
	Seed         int64      // of the shuffling; a run is a function of it
	NoShuffle    bool       // keep the data's own order in every epoch

	// UpsampleSchedule are factors by which the model enlarges images while it
	// trains. Each has the same share of the epochs, in this order: smaller images
	// first cost less. None means the model's own, as in every evaluation.
	UpsampleSchedule []int

	// Validation is evaluated after each epoch, before the test, and chooses the
	// best checkpoint; nil or empty means that the training loss does.
	Validation Data

	Test      Data       // evaluated after each epoch; nil or empty means no test
	Classes   int        // the model's; 0 means that no test counts a confusion matrix
	Callbacks []Callback // told of each event, in this order; used by Fit

	Checkpoints *Checkpoints // saved by Fit; nil means that none are
	Resume      *Saved       // where Fit goes on; nil means at the beginning
}

// WithDefaults returns the options with each zero replaced by what it means.
func (o Options) WithDefaults() Options {
	if o.Epochs == 0 {
		o.Epochs = 3
	}
	if o.BatchSize == 0 {
		o.BatchSize = dataset.DefaultBatchSize
	}
	if o.Accumulate == 0 {
		o.Accumulate = 1
	}
	if o.LearningRate == 0 {
		o.LearningRate = 0.01
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Epochs < 0:
		return fmt.Errorf("check options: epochs must be positive, not %d", o.Epochs)
	case o.BatchSize < 0:
		return fmt.Errorf("check options: batch size must be positive, not %d", o.BatchSize)
	case o.Accumulate < 0:
		return fmt.Errorf("check options: batches to accumulate must be positive, not %d", o.Accumulate)
	case o.BatchSize > math.MaxInt/o.Accumulate:
		return fmt.Errorf("check options: %d batches of %d examples are more than a step can have", o.Accumulate, o.BatchSize)
	case len(o.UpsampleSchedule) > o.Epochs:
		return fmt.Errorf("check options: the upsample schedule %v has more factors than the %d epochs", o.UpsampleSchedule, o.Epochs)
	case slices.ContainsFunc(o.UpsampleSchedule, func(factor int) bool { return factor < 1 }):
		return fmt.Errorf("check options: the factors of the upsample schedule must be positive, not %v", o.UpsampleSchedule)
	case o.Classes < 0:
		return fmt.Errorf("check options: classes must not be negative, not %d", o.Classes)
	case !(float32(o.LearningRate) > 0) || o.LearningRate > math.MaxFloat32:
		return fmt.Errorf("check options: learning rate must be positive and a float32, not %g", o.LearningRate)
	}
	return nil
}

// stepSize is how many examples a step has, but for the last of an epoch.
func (o Options) stepSize() int { return o.BatchSize * o.Accumulate }

// upsample is the factor of an epoch, from 1; 0 is the model's own.
func (o Options) upsample(epoch int) int {
	n := len(o.UpsampleSchedule)
	if n == 0 {
		return 0
	}
	return o.UpsampleSchedule[(epoch-1)*n/o.Epochs]
}

// Signature is what a step calls: TrainSignature or AccumulateSignature.
func (o Options) Signature() string {
	if o.Accumulate > 1 || len(o.UpsampleSchedule) > 0 {
		return AccumulateSignature
	}
	return TrainSignature
}

// NonFiniteError says that a model has diverged: its weights are lost.
type NonFiniteError struct {
	Step     int // of training, from 1; 0 in an evaluation
	Batch    int // of an evaluation, from 1; 0 in training
	Loss     float64
	GradNorm float64 // of training; 0 where it is not known. The loss may be finite: kernels that take the larger of NaN and 0 for a ReLU hide what is lost.
}

func (e *NonFiniteError) Error() string {
	where := fmt.Sprintf("step %d", e.Step)
	if e.Batch > 0 {
		where = fmt.Sprintf("test batch %d", e.Batch)
	}
	what, value := "loss", e.Loss
	if !isNonFinite(value) {
		what, value = "gradient", e.GradNorm
	}
	return fmt.Sprintf("the %s of %s is %g: the model has diverged (a smaller learning rate may help)", what, where, value)
}

// Steps trains a model and yields after every batch. It ends after the last
// epoch or with one error, which may be the context's, a *NonFiniteError, or
// what data or the model returned.
func Steps(ctx context.Context, model Model, data Data, o Options) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		t, err := newTrainer(model, data, o)
		if err != nil {
			yield(Step{}, err)
			return
		}
		for epoch := 1; epoch <= t.options.Epochs; epoch++ {
			for step, err := range t.epoch(ctx, epoch) {
				if !yield(step, err) || err != nil {
					return
				}
			}
		}
	}
}

// trainer holds what lasts longer than an epoch.
type trainer struct {
	model   Model
	data    Data
	options Options
	wants   map[string]bool // the inputs of the signature
	steps   int
	at      position
	broken  bool // a step has failed: nobody knows what the weights are
}

// position is how far an epoch has come.
type position struct {
	epoch, batch int // the epoch, from 1, and how many of its steps were taken
	sofar        mean
}

func newTrainer(model Model, data Data, o Options) (*trainer, error) {
	o = o.WithDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if data.Len() == 0 {
		return nil, fmt.Errorf("train model: there are no examples")
	}
	feeds := []string{ImagesInput, labelsInput, learningRateInput, seedInput}
	if o.Signature() == AccumulateSignature {
		feeds = append(feeds, microBatchSizeInput, UpsampleInput)
	}
	if o.DropLast && data.Len() < o.stepSize() {
		return nil, fmt.Errorf("train model: without the last short step nothing is left of %d examples, a step has %d", data.Len(), o.stepSize())
	}
	sig, err := signature(model, o.Signature(), feeds, []string{lossOutput, correctOutput})
	if err != nil {
		return nil, err
	}
	t := &trainer{model: model, data: data, options: o, wants: map[string]bool{}}
	for _, input := range sig.Inputs {
		t.wants[input.Name] = true
	}
	if len(o.UpsampleSchedule) > 0 && !t.wants[UpsampleInput] {
		return nil, fmt.Errorf("check signature %q: it has no input %q, which an upsample schedule needs", AccumulateSignature, UpsampleInput)
	}
	return t, nil
}

// batches is how many steps an epoch has.
func (t *trainer) batches() int {
	if t.options.DropLast {
		return t.data.Len() / t.options.stepSize()
	}
	return dataset.BatchCount(t.data.Len(), t.options.stepSize())
}

// epoch yields the steps of one pass over the data that are still to be done. A
// cancelled context is always yielded as an error, so that it cannot look like a
// finished epoch.
func (t *trainer) epoch(ctx context.Context, number int) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		if t.at.epoch != number {
			t.at = position{epoch: number}
		}
		order := dataset.BatchOptions{
			Epoch: number, Size: t.options.stepSize(), Start: t.at.batch, Seed: t.options.Seed, NoShuffle: t.options.NoShuffle,
		}
		last := time.Now()
		for batch, err := range t.data.Batches(ctx, order) {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil && t.at.batch == t.batches() {
				break // the last one is dropped
			}
			if err != nil {
				yield(Step{}, err)
				return
			}
			wait := time.Since(last)
			rate := t.rate(number)
			step, err := t.step(ctx, batch, rate)
			if err != nil {
				yield(Step{}, err)
				return
			}
			t.at.batch++
			t.at.sofar.add(step.Loss*float64(step.Examples), step.Correct, step.Examples)
			step.Epoch, step.Batch, step.Batches = number, t.at.batch, t.batches()
			step.Mean, step.Wait, step.Duration = t.at.sofar.metrics(), wait, time.Since(last)
			if !yield(step, nil) {
				return
			}
			last = time.Now() // what the caller did is no part of the next step
		}
		err := ctx.Err()
		if err == nil && t.at.batch != t.batches() {
			err = fmt.Errorf("train epoch %d: the data ended after %d of %d batches", number, t.at.batch, t.batches())
		}
		if err != nil {
			yield(Step{}, err)
		}
	}
}

func (t *trainer) step(ctx context.Context, batch dataset.Batch, rate float64) (_ Step, err error) {
	number := t.steps + 1
	defer func() { t.broken = t.broken || err != nil }()
	seed, err := tensor.Of([]int64{t.options.Seed, int64(number)}, 2)
	if err != nil {
		return Step{}, err
	}
	inputs := map[string]tensor.Tensor{
		ImagesInput:         batch.Images,
		labelsInput:         batch.Labels,
		learningRateInput:   tensor.Scalar(float32(rate)),
		microBatchSizeInput: tensor.Scalar(int64(t.options.BatchSize)),
		UpsampleInput:       tensor.Scalar(int64(t.options.upsample(t.at.epoch))),
		seedInput:           seed,
	}
	maps.DeleteFunc(inputs, func(name string, _ tensor.Tensor) bool { return !t.wants[name] })
	// A step that has begun is not cut short: nobody would know what the weights
	// are.
	outputs, err := t.model.Call(context.WithoutCancel(ctx), t.options.Signature(), inputs)
	if err != nil {
		return Step{}, fmt.Errorf("train step %d: %w", number, err)
	}
	t.steps = number
	r := reader{outputs: outputs}
	n := batch.Labels.Shape()[0]
	step := Step{
		Number:       number,
		Examples:     n,
		Loss:         r.float(lossOutput),
		Correct:      r.count(correctOutput),
		LearningRate: rate,
	}
	step.Accuracy = float64(step.Correct) / float64(n)
	if _, ok := outputs[gradNormOutput]; ok {
		step.GradNorm = r.float(gradNormOutput)
	}
	if r.err != nil {
		return Step{}, fmt.Errorf("train step %d: %w", number, r.err)
	}
	if isNonFinite(step.Loss) || isNonFinite(step.GradNorm) {
		return Step{}, &NonFiniteError{Step: number, Loss: step.Loss, GradNorm: step.GradNorm}
	}
	return step, nil
}

// rate is the learning rate of an epoch's next step. Steps are counted as if all
// epochs had been of the same batch size: a resumed run may have changed it.
func (t *trainer) rate(epoch int) float64 {
	rate := t.options.LearningRate
	for _, s := range t.options.Schedules {
		rate *= s.Factor((epoch-1)*t.batches()+t.at.batch+1, t.options.Epochs*t.batches())
	}
	return rate
}

func isNonFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

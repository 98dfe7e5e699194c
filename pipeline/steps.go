package pipeline

import (
	"context"
	"errors"
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

	Test    Data // evaluated after each epoch; nil or empty means no test
	Classes int  // the model's; 0 means that no test counts a confusion matrix

	// Hold copies the training data into the memory of what computes, once, and takes
	// steps there, several in a call where they are short. The model must be a Holder,
	// such as a savedmodel.Model whose Options.Held has Signature, and the data Whole. Results depend on it at most in the last bits, and not on how
	// many steps a call has. Schedules are asked for all of a call's steps before it.
	Hold bool

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
	holding holding
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
	if o.Hold {
		t.holding, err = newHolding(model, o.Signature(), data)
	}
	return t, err
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
		calls := t.fedCalls
		if t.options.Hold {
			calls = t.heldCalls
		}
		last := time.Now()
		for call, err := range calls(ctx, order) {
			n, duration := len(call.steps), time.Since(last)
			known := n
			if err != nil {
				known++ // the one that has failed
			}
			for i, step := range call.steps {
				t.steps = step.Number
				t.at.batch++
				t.at.sofar.add(step.Loss*float64(step.Examples), step.Correct, step.Examples)
				step.Epoch, step.Batch, step.Batches, step.Ahead = number, t.at.batch, t.batches(), known-1-i
				step.Mean, step.Wait, step.Duration = t.at.sofar.metrics(), call.wait/time.Duration(n), duration/time.Duration(n)
				if !yield(step, nil) {
					return
				}
			}
			if err != nil {
				yield(Step{}, err)
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

// call is what the model was called for once: a step, or with held data several. Of
// them nothing is known yet but what the model returned.
type call struct {
	steps []Step
	wait  time.Duration // for data
}

// fedCalls takes the steps of an epoch that are still to be done, each with a batch of its
// own. Between two of them epoch counts the one before.
func (t *trainer) fedCalls(ctx context.Context, order dataset.BatchOptions) iter.Seq2[call, error] {
	return func(yield func(call, error) bool) {
		last := time.Now()
		for batch, err := range t.data.Batches(ctx, order) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(call{}, err)
				return
			}
			if t.at.batch == t.batches() {
				return // the last one is dropped
			}
			wait := time.Since(last)
			steps, err := t.take(1, batch.Labels.Shape()[0], false, func(inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
				inputs[ImagesInput], inputs[labelsInput] = batch.Images, batch.Labels
				// A step that has begun is not cut short: nobody would know what the
				// weights are.
				return t.model.Call(context.WithoutCancel(ctx), t.options.Signature(), inputs)
			})
			if !yield(call{steps, wait}, err) || err != nil {
				return
			}
			last = time.Now()
		}
	}
}

// take takes the next n steps of so many examples each by one call of the model. What that
// is given are the inputs that are no examples: of the one step, or stacked, of all n.
// Beside an error take returns the steps before the one that has failed.
func (t *trainer) take(n, examples int, stacked bool, call func(map[string]tensor.Tensor) (map[string]tensor.Tensor, error)) (steps []Step, err error) {
	first := t.steps + 1
	what := fmt.Sprintf("train step %d", first)
	if n > 1 {
		what = fmt.Sprintf("train steps %d to %d", first, first+n-1)
	}
	defer func() { t.broken = t.broken || err != nil }()
	rates := make([]float64, n)
	for i := range rates {
		rates[i] = t.rate(t.at.epoch, t.at.batch+i)
	}
	inputs, err := t.inputs(rates, stacked)
	if err != nil {
		return nil, err
	}
	outputs, err := call(inputs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	r := reader{outputs: outputs}
	losses, correct, norms := column[float32](&r, lossOutput, n), column[int64](&r, correctOutput, n), make([]float32, n)
	if _, ok := outputs[gradNormOutput]; ok {
		norms = column[float32](&r, gradNormOutput, n)
	}
	if r.err != nil {
		return nil, fmt.Errorf("%s: %w", what, r.err)
	}
	for i := range n {
		step := Step{
			Number: first + i, Examples: examples, Loss: float64(losses[i]), Correct: int(correct[i]),
			Accuracy: float64(correct[i]) / float64(examples), GradNorm: float64(norms[i]), LearningRate: rates[i],
		}
		if isNonFinite(step.Loss) || isNonFinite(step.GradNorm) {
			return steps, &NonFiniteError{Step: step.Number, Loss: step.Loss, GradNorm: step.GradNorm}
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// inputs are those of the next steps that are no examples, as far as the signature has
// them: of one step, or stacked, a row for each.
func (t *trainer) inputs(rates []float64, stacked bool) (map[string]tensor.Tensor, error) {
	n := len(rates)
	var shape []int
	if stacked {
		shape = []int{n}
	}
	learning, seeds := make([]float32, n), make([]int64, 0, 2*n)
	sizes, factors := make([]int64, n), make([]int64, n)
	for i := range n {
		learning[i] = float32(rates[i])
		seeds = append(seeds, t.options.Seed, int64(t.steps+1+i))
		sizes[i], factors[i] = int64(t.options.BatchSize), int64(t.options.upsample(t.at.epoch))
	}
	var errs [4]error
	inputs := map[string]tensor.Tensor{}
	inputs[learningRateInput], errs[0] = tensor.Of(learning, shape...)
	inputs[seedInput], errs[1] = tensor.Of(seeds, append(slices.Clone(shape), 2)...)
	inputs[microBatchSizeInput], errs[2] = tensor.Of(sizes, shape...)
	inputs[UpsampleInput], errs[3] = tensor.Of(factors, shape...)
	maps.DeleteFunc(inputs, func(name string, _ tensor.Tensor) bool { return !t.wants[name] })
	return inputs, errors.Join(errs[:]...)
}

// rate is the learning rate of an epoch's step behind so many others. Steps are counted
// as if all epochs had been of the same batch size: a resumed run may have changed it.
func (t *trainer) rate(epoch, batch int) float64 {
	rate := t.options.LearningRate
	for _, s := range t.options.Schedules {
		rate *= s.Factor((epoch-1)*t.batches()+batch+1, t.options.Epochs*t.batches())
	}
	return rate
}

func isNonFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

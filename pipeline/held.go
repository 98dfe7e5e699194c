package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Holder is a Model that can hold examples in the memory of what computes it, and run a
// function on them several times in one call. savedmodel.Model is one.
type Holder interface {
	Model
	// Holds returns nil if the other two can be called for a function, otherwise why not.
	Holds(name string) error
	// Hold copies the examples, in the place of those that the function had: of
	// images [N,H,W,C] and labels [N] all rows.
	Hold(ctx context.Context, name string, rows map[string]tensor.Tensor) error
	// CallHeld runs the function once for each row of indexes, int64 [steps,n], one
	// after the other: with the examples at these, and with inputs that have a
	// value for each step. So have the outputs.
	CallHeld(ctx context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error)
}

// Whole is Data that can be had at once. Its batches are those of
// dataset.BatchOptions.Order.
type Whole interface {
	Data
	// All returns all examples in the data's own order. They must not be changed.
	All(ctx context.Context) (images, labels tensor.Tensor, err error)
}

var _ Whole = (*dataset.Examples)(nil)

// holding is a trainer's data in the memory of what computes.
type holding struct {
	model Holder
	data  Whole
	begun bool // the model has the data
	// left is how many steps may be taken behind so many others before a call must end,
	// for what comes then; 0 means any number.
	left func(step int) int
}

func newHolding(model Model, signature string, data Data) (h holding, err error) {
	h.left = func(int) int { return 0 }
	var ok bool
	if h.model, ok = model.(Holder); !ok {
		return h, errors.New("hold data: the model cannot hold examples")
	}
	if err := h.model.Holds(signature); err != nil {
		return h, fmt.Errorf("hold data: %w", err)
	}
	if h.data, ok = data.(Whole); !ok {
		return h, errors.New("hold data: it cannot be had at once")
	}
	return h, nil
}

func (h *holding) begin(ctx context.Context, signature string) error {
	if h.begun {
		return nil
	}
	images, labels, err := h.data.All(ctx)
	if err == nil {
		err = h.model.Hold(ctx, signature, map[string]tensor.Tensor{ImagesInput: images, labelsInput: labels})
	}
	if err != nil {
		return fmt.Errorf("hold data: %w", err)
	}
	h.begun = true
	return nil
}

// heldCalls takes the steps of an epoch that are still to be done on data that the model
// holds, as many in a call as callTime has room for.
func (t *trainer) heldCalls(ctx context.Context, order dataset.BatchOptions) iter.Seq2[call, error] {
	return func(yield func(call, error) bool) {
		if err := t.holding.begin(ctx, t.options.Signature()); err != nil {
			yield(call{}, err)
			return
		}
		examples := order.Order(t.data.Len())
		most := 1 // steps in the next call: nothing is known yet of those of this epoch
		for t.at.batch < t.batches() && ctx.Err() == nil {
			rest := examples[t.at.batch*order.Size:]
			n, size := min(most, t.holding.mayTake(t.steps), len(rest)/order.Size), order.Size
			if n == 0 { // the last, short one
				n, size = 1, len(rest)
			}
			begun := time.Now()
			steps, err := t.takeHeld(ctx, rest[:n*size], n)
			most = stepsIn(callTime, time.Since(begun)/time.Duration(n))
			if !yield(call{steps: steps}, err) || err != nil {
				return
			}
		}
	}
}

// takeHeld takes n steps, which share the chosen examples.
func (t *trainer) takeHeld(ctx context.Context, chosen []int, n int) ([]Step, error) {
	size := len(chosen) / n
	rows := make([]int64, len(chosen))
	for i, example := range chosen {
		rows[i] = int64(example)
	}
	indexes, err := tensor.Of(rows, n, size)
	if err != nil {
		return nil, err
	}
	return t.take(n, size, true, func(inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
		return t.holding.model.CallHeld(context.WithoutCancel(ctx), t.options.Signature(), indexes, inputs)
	})
}

func (h *holding) mayTake(before int) int {
	return cmp.Or(h.left(before), mostSteps)
}

// callTime is how long a call should be: long beside what it costs to begin one, a
// fraction of a millisecond, and short for those who wait for it to end, who look at the
// progress or stop the run.
var callTime = 25 * time.Millisecond

// mostSteps are those of a call at most. savedmodel makes room for as many.
const mostSteps = 64

// stepsIn is how many steps are to be a call of that time.
func stepsIn(call, step time.Duration) int {
	return int(min(max(call/max(step, 1), 1), mostSteps))
}

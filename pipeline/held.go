package pipeline

import (
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
	// Size is how many bytes the images take.
	Size() int64
	// All returns all examples in the data's own order. They must not be changed.
	All(ctx context.Context) (images, labels tensor.Tensor, err error)
}

// holding is a trainer's data in the memory of what computes.
type holding struct {
	model Holder
	data  Whole
	begun bool               // the model has the data
	due   func(step int) int // the steps until a call must end, for what comes then; 0 means any number
	pace  pace
}

func newHolding(model Model, data Data) (h holding, err error) {
	var ok bool
	if h.model, ok = model.(Holder); !ok {
		return h, errors.New("hold data: the model cannot hold examples")
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

// held is fed on data that the model holds.
func (t *trainer) held(ctx context.Context, order dataset.BatchOptions) iter.Seq2[call, error] {
	return func(yield func(call, error) bool) {
		begun := time.Now()
		if err := t.holding.begin(ctx, t.options.Signature()); err != nil {
			yield(call{}, err)
			return
		}
		wait := time.Since(begun) // of the first step
		examples := order.Order(t.data.Len())
		for t.at.batch < t.batches() && ctx.Err() == nil {
			first := t.at.batch * order.Size
			size := min(order.Size, len(examples)-first)
			n := 1
			if size == order.Size {
				n = min(t.holding.steps(t.steps), (len(examples)-first)/size)
			}
			steps, err := t.takeHeld(ctx, examples[first:first+n*size], n)
			if !yield(call{steps, wait}, err) || err != nil {
				return
			}
			wait = 0
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
	return t.take(n, size, []int{n}, func(inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
		begun := time.Now()
		outputs, err := t.holding.model.CallHeld(context.WithoutCancel(ctx), t.options.Signature(), indexes, inputs)
		if size == t.options.stepSize() {
			t.holding.pace.add(time.Since(begun) / time.Duration(n))
		}
		return outputs, err
	})
}

// steps is how many the next call may take, behind so many others.
func (h *holding) steps(before int) int {
	n := h.pace.steps()
	if h.due == nil {
		return n
	}
	if left := h.due(before); left > 0 {
		return min(n, left)
	}
	return n
}

// A call should be long beside what it costs to begin one, a fraction of a millisecond,
// and short for those who wait for it to end: who look at the progress, or stop the run.
const (
	callTime  = 25 * time.Millisecond
	mostSteps = 64 // in a call
)

// pace is how long a step takes.
type pace struct {
	fastest time.Duration // 0 while nothing is known
}

func (p *pace) add(step time.Duration) {
	if p.fastest == 0 || step < p.fastest { // the first one plans the graph
		p.fastest = max(step, 1)
	}
}

// steps is how many make a call.
func (p *pace) steps() int {
	if p.fastest == 0 {
		return 1
	}
	return int(min(max(callTime/p.fastest, 1), mostSteps))
}

package savedmodel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"

	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// withLoops puts into a graph what CallHeld runs.
func (i *Info) withLoops(graph *pb.MetaGraphDef, signatures []string) (map[string]*loop, error) {
	loops := map[string]*loop{}
	for _, name := range signatures {
		l, err := i.findLoop(name)
		if err != nil {
			return nil, fmt.Errorf("call signature %q in a loop: %w", name, err)
		}
		l.add(graph.GetGraphDef())
		loops[name] = l
	}
	return loops, nil
}

// held are the loops of a model, and how many examples each has.
type held struct {
	loops    map[string]*loop
	examples map[string]int
}

// Hold copies examples into the memory of the device that computes a signature,
// one of Options.Held, in the place of those that it had: of each of its inputs whose first
// size is free, such as images [N,H,W,C] and labels [N], the rows of all examples.
// They are no part of what is saved.
func (m *Model) Hold(ctx context.Context, name string, rows map[string]tensor.Tensor) error {
	if err := m.hold(ctx, name, rows); err != nil {
		return fmt.Errorf("hold examples for signature %q: %w", name, err)
	}
	return nil
}

func (m *Model) hold(ctx context.Context, name string, rows map[string]tensor.Tensor) error {
	l, ok := m.held.loops[name]
	if !ok {
		return errNotHeld
	}
	feeds, n := tfgo.Feeds{}, -1
	var assigns []string
	for _, input := range l.public.Inputs {
		value, ok := rows[input.Name]
		switch {
		case !isHeld(input) && ok:
			return fmt.Errorf("%w: %s has no rows", ErrInput, input)
		case !isHeld(input):
			continue
		case !ok:
			return fmt.Errorf("%w: %s is missing", ErrInput, input)
		}
		if err := input.Check(value); err != nil {
			return fmt.Errorf("%w: %w", ErrInput, err)
		}
		if n < 0 {
			n = value.Shape()[0]
		}
		if value.Shape()[0] != n {
			return fmt.Errorf("%w: %s has %d rows, another input has %d", ErrInput, input.Name, value.Shape()[0], n)
		}
		feeds[l.fed(input.Name)+":0"] = value
		assigns = append(assigns, l.assign(input.Name))
	}
	if len(feeds) != len(rows) || len(feeds) == 0 {
		return fmt.Errorf("%w: %d of the %d inputs have rows", ErrInput, len(feeds), len(rows))
	}
	delete(m.held.examples, name)
	if _, err := m.session.Run(ctx, feeds, nil, assigns); err != nil {
		return err
	}
	tfgo.FreeMemory() // what was fed
	m.held.examples[name] = n
	return nil
}

// CallHeld runs a signature once for each row of indexes, int64 [steps,N], one after the
// other: with the examples that Hold was given at these indexes, and with
// inputs for the others of its inputs, such as learning_rate float32 [steps], that have a value for
// each step. Of each output it returns the values of all steps, such as loss float32 [steps].
//
// The variables are the same to the last bit as after as many calls of Call. Where
// an error comes, nobody knows which steps were taken.
func (m *Model) CallHeld(ctx context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	outputs, err := m.callHeld(ctx, name, indexes, inputs)
	if err != nil {
		return nil, fmt.Errorf("call signature %q on held examples: %w", name, err)
	}
	return outputs, nil
}

var errNotHeld = errors.New("the model was not opened to hold examples for it")

func (m *Model) callHeld(ctx context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	l, ok := m.held.loops[name]
	if !ok {
		return nil, errNotHeld
	}
	feeds, err := l.feeds(indexes, inputs, m.held.examples[name])
	if err != nil {
		return nil, err
	}
	if err := m.thaw(); err != nil {
		return nil, err
	}
	fetches := make([]string, len(l.outputs))
	for k := range l.outputs {
		fetches[k] = l.output(k)
	}
	results, err := m.session.Run(ctx, feeds, fetches, nil)
	if err != nil {
		return nil, err
	}
	outputs := make(map[string]tensor.Tensor, len(results))
	for k, output := range l.outputs {
		if outputs[output.spec.Name], err = resize(results[k], indexes.Shape()[0]); err != nil {
			return nil, err
		}
	}
	return outputs, nil
}

// capacityStep is what the rows of a call are filled up to a multiple of: XLA compiles
// the loop anew for other numbers of them.
const capacityStep = 64

func capacityOf(steps int) int { return (steps + capacityStep - 1) / capacityStep * capacityStep }

// resize cuts rows off, or adds rows of zeros.
func resize(t tensor.Tensor, rows int) (tensor.Tensor, error) {
	shape := slices.Clone(t.Shape())
	data := make([]byte, len(t.Bytes())/shape[0]*rows)
	copy(data, t.Bytes())
	shape[0] = rows
	return tensor.FromBytes(t.DType(), data, shape...)
}

// feeds checks what a call takes. A GPU would take zeros for an example that is not there.
func (l *loop) feeds(indexes tensor.Tensor, inputs map[string]tensor.Tensor, examples int) (tfgo.Feeds, error) {
	spec := tensor.Spec{Name: "indexes", DType: tensor.Int64, Shape: []int{tensor.AnySize, tensor.AnySize}}
	if err := spec.Check(indexes); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	steps := indexes.Shape()[0]
	chosen, err := tensor.Values[int64](indexes)
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%w: there are no indexes", ErrInput)
	}
	if least, most := slices.Min(chosen), slices.Max(chosen); least < 0 || most >= int64(examples) {
		return nil, fmt.Errorf("%w: the indexes are from %d to %d, and %d examples are held", ErrInput, least, most, examples)
	}
	capacity := capacityOf(steps)
	size, err := tensor.Of([]int32{int32(capacity)}, 1)
	if err != nil {
		return nil, err
	}
	if indexes, err = resize(indexes, capacity); err != nil {
		return nil, err
	}
	feeds := tfgo.Feeds{l.rows() + ":0": indexes, l.steps() + ":0": tensor.Scalar(int32(steps)), l.capacity() + ":0": size}
	stacked := 0
	for _, input := range l.public.Inputs {
		if isHeld(input) {
			continue
		}
		stacked++
		each := tensor.Spec{Name: input.Name, DType: input.DType, Shape: append([]int{steps}, input.Shape...)}
		value, ok := inputs[input.Name]
		if !ok {
			return nil, fmt.Errorf("%w: %s is missing", ErrInput, each)
		}
		if err := each.Check(value); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInput, err)
		}
		if feeds[l.fed(input.Name)+":0"], err = resize(value, capacity); err != nil {
			return nil, err
		}
	}
	if stacked != len(inputs) {
		return nil, fmt.Errorf("%w: %d inputs have a value for each step, not %d", ErrInput, stacked, len(inputs))
	}
	return feeds, nil
}

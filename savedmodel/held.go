package savedmodel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// held are the loops of a model, and how many examples each has.
type held struct {
	loops    map[string]*loop
	examples map[string]int
	errs     map[string]error // why there is no loop
}

// Holds returns nil if Hold and CallHeld can be called for a signature, one of
// Options.Held; otherwise it says why not.
func (m *Model) Holds(name string) error {
	_, err := m.loop(name)
	return err
}

func (m *Model) loop(name string) (*loop, error) {
	if !slices.Contains(m.options.Held, name) {
		return nil, errors.New("the model was not opened to hold examples for it")
	}
	return m.held.loops[name], m.held.errs[name]
}

// Hold copies examples into the memory of the device that computes a signature, in the
// place of those that it had: of each of its inputs whose first size is free, such as
// images [N,H,W,C] and labels [N], the rows of all examples. They are no part of what
// is saved. Nothing else must run at the same time.
func (m *Model) Hold(ctx context.Context, name string, rows map[string]tensor.Tensor) error {
	if err := m.hold(ctx, name, rows); err != nil {
		return fmt.Errorf("hold examples for signature %q: %w", name, err)
	}
	return nil
}

func (m *Model) hold(ctx context.Context, name string, rows map[string]tensor.Tensor) error {
	l, err := m.loop(name)
	if err != nil {
		return err
	}
	feeds, err := l.feeds(l.held, rows)
	if err != nil {
		return err
	}
	n := rows[l.held[0].Name].Shape()[0]
	for _, input := range l.held {
		if other := rows[input.Name].Shape()[0]; other != n {
			return fmt.Errorf("%w: %s has %d rows, and %s has %d", ErrInput, l.held[0].Name, n, input.Name, other)
		}
	}
	var assigns []string
	for _, input := range l.held {
		assigns = append(assigns, l.assign(input.Name))
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
// other: with the examples that Hold was given at these indexes, and with inputs for the
// others of its inputs, such as learning_rate float32 [steps], that have a value for each
// step. Of each output it returns the values of all steps, such as loss float32 [steps].
//
// It is as if Call had been called for each step, but for the last bits that
// TensorFlow's optimizer may round in another way in a loop. Where an error comes, nobody
// knows which steps were taken. A call is for tens of steps: the outputs of all are copied
// in each.
func (m *Model) CallHeld(ctx context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	outputs, err := m.callHeld(ctx, name, indexes, inputs)
	if err != nil {
		return nil, fmt.Errorf("call signature %q on held examples: %w", name, err)
	}
	return outputs, nil
}

func (m *Model) callHeld(ctx context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	l, err := m.loop(name)
	if err != nil {
		return nil, err
	}
	if err := checkIndexes(indexes, m.held.examples[name]); err != nil {
		return nil, err
	}
	steps := indexes.Shape()[0]
	feeds, err := l.stepFeeds(indexes, steps, inputs)
	if err != nil {
		return nil, err
	}
	if err := m.thaw(); err != nil {
		return nil, err
	}
	fetches := make([]string, len(l.outputs))
	for k, output := range l.outputs {
		fetches[k] = output.tensor
	}
	results, err := m.session.Run(ctx, feeds, fetches, nil)
	if err != nil {
		return nil, err
	}
	outputs := make(map[string]tensor.Tensor, len(results))
	for k, output := range l.outputs {
		if outputs[output.spec.Name], err = resize(results[k], steps); err != nil {
			return nil, err
		}
	}
	return outputs, nil
}

// checkIndexes refuses indexes of examples that are not held. A GPU would take zeros
// for them.
func checkIndexes(indexes tensor.Tensor, examples int) error {
	spec := tensor.Spec{Name: "indexes", DType: tensor.Int64, Shape: []int{tensor.AnySize, tensor.AnySize}}
	if err := spec.Check(indexes); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	chosen, err := tensor.Values[int64](indexes)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return fmt.Errorf("%w: there are no indexes", ErrInput)
	}
	if least, most := slices.Min(chosen), slices.Max(chosen); least < 0 || most >= int64(examples) {
		return fmt.Errorf("%w: the indexes are from %d to %d, and %d examples are held", ErrInput, least, most, examples)
	}
	return nil
}

// stepFeeds are what the loop is fed in a call of so many steps.
func (l *loop) stepFeeds(indexes tensor.Tensor, steps int, inputs map[string]tensor.Tensor) (tfgo.Feeds, error) {
	specs := make([]tensor.Spec, len(l.stepped))
	for k, input := range l.stepped {
		specs[k] = tensor.Spec{Name: input.Name, DType: input.DType, Shape: append([]int{steps}, input.Shape...)}
	}
	feeds, err := l.feeds(specs, inputs)
	if err != nil {
		return nil, err
	}
	feeds[l.rows()+":0"] = indexes
	capacity := capacityOf(steps)
	for name, value := range feeds {
		if feeds[name], err = resize(value, capacity); err != nil {
			return nil, err
		}
	}
	feeds[l.steps()+":0"] = tensor.Scalar(int32(steps))
	feeds[l.capacity()+":0"], err = tensor.Of([]int32{int32(capacity)}, 1)
	return feeds, err
}

// feeds are the values of some of the signature's inputs, which must be there, and no
// others.
func (l *loop) feeds(specs []tensor.Spec, values map[string]tensor.Tensor) (tfgo.Feeds, error) {
	graph := make(map[string]string, len(specs))
	for _, spec := range specs {
		graph[spec.Name] = l.fed(spec.Name) + ":0"
	}
	return signature{public: tensor.Signature{Inputs: specs}, inputs: graph}.feeds(values)
}

// capacityStep is what the rows of a call are filled up to a multiple of: XLA compiles
// the loop anew for other numbers of them. pipeline takes no more steps at once.
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

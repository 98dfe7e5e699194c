package savedmodel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/cpu"

	"github.com/residual-go/residual/savedmodel/frozen"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// freezer keeps the frozen graphs of a model's functions: with the variables as
// constants, BatchNorms part of the convolutions, and oneDNN's weights in its own
// layout. One is made when a function that changes nothing is called first, and
// all are dropped when one is called that changes variables.
type freezer struct {
	mu        sync.Mutex
	functions map[batchKind]*function
}

// batchKind is what a frozen graph may be made for: a signature, and batches of
// few images or of many.
type batchKind struct {
	signature string
	few       bool
}

func (k batchKind) other() batchKind { return batchKind{k.signature, !k.few} }

// function is a signature that was called.
type function struct {
	session *tfgo.Session
	outputs map[string]string // the graph's names of the tensors, by the signature's
	sized   bool              // it is fast for few images only, or for many
	err     error             // why there is no session: the function can only be called as it is
}

// frozen returns a function's frozen graph for a batch such as inputs; nil if
// there can be none.
func (m *Model) frozen(ctx context.Context, name string, s signature, inputs map[string]tensor.Tensor) (*function, error) {
	if m.mayFreeze() != nil {
		return nil, nil
	}
	m.freezer.mu.Lock()
	defer m.freezer.mu.Unlock()
	kind := batchKind{name, s.hasFew(inputs)}
	f, ok := m.freezer.functions[kind]
	if !ok {
		var err error
		if f, err = m.freeze(ctx, s); ctx.Err() != nil {
			return nil, fmt.Errorf("freeze graph: %w", ctx.Err())
		} else if err != nil {
			f = &function{err: err}
		}
		if m.freezer.functions == nil {
			m.freezer.functions = map[batchKind]*function{}
		}
		m.freezer.functions[kind] = f
		if !f.sized {
			m.freezer.functions[kind.other()] = f
		}
	}
	if f.err == nil {
		return f, nil
	}
	return nil, m.freezer.thaw() // for all that is known it changes variables
}

// Frozen returns nil if the last call of a signature ran from a graph of its own,
// see Call, and the next one will; otherwise it says why not.
func (m *Model) Frozen(name string) error {
	if err := m.mayFreeze(); err != nil {
		return err
	}
	m.freezer.mu.Lock()
	defer m.freezer.mu.Unlock()
	f := cmp.Or(m.freezer.functions[batchKind{name, false}], m.freezer.functions[batchKind{name, true}])
	if f == nil {
		return errNotCalled
	}
	return f.err
}

// hasFew tells whether a batch is of few images, by the first input that is no
// scalar.
func (s signature) hasFew(inputs map[string]tensor.Tensor) bool {
	for _, input := range s.public.Inputs {
		if shape := inputs[input.Name].Shape(); len(shape) > 0 {
			return shape[0] <= frozen.FewImages
		}
	}
	return false
}

var errNotCalled = errors.New("it was not called since variables changed")

// thaw drops all frozen graphs.
func (f *freezer) thaw() error {
	var errs []error
	for kind, one := range f.functions {
		if one.err != nil {
			continue
		}
		if other := kind.other(); f.functions[other] == one {
			delete(f.functions, other)
		}
		delete(f.functions, kind)
		errs = append(errs, one.session.Close())
	}
	return errors.Join(errs...)
}

// thaw drops what was made of variables that are to change.
func (m *Model) thaw() error {
	m.freezer.mu.Lock()
	defer m.freezer.mu.Unlock()
	return m.freezer.thaw()
}

// freeze makes the frozen graph of a signature from the variables as they are.
func (m *Model) freeze(ctx context.Context, s signature) (*function, error) {
	if m.options.Precision == tfgo.BFloat16 && !fusesBFloat16() {
		return nil, errors.New("this processor does not compute in bfloat16")
	}
	outputs := make([]string, len(s.public.Outputs))
	for i, output := range s.public.Outputs {
		outputs[i] = s.outputs[output.Name]
	}
	graph, err := frozen.Make(m.info.graph, outputs, frozen.Source{
		Variables: func(names []string) (map[string]tensor.Tensor, error) { return m.variables(ctx, names) },
		Run:       runOnce,
		Fuse:      fuses(),
		BFloat16:  m.options.Precision == tfgo.BFloat16,
	})
	if err != nil {
		return nil, err
	}
	size := len(graph.Def)
	f := &function{outputs: map[string]string{}, sized: graph.Sized}
	for i, output := range s.public.Outputs {
		f.outputs[output.Name] = graph.Outputs[i]
	}
	f.session, err = tfgo.NewSession(graph.Def, tfgo.Options{Threads: m.options.Threads, Target: m.options.Target, Optimized: true})
	if graph.Def = nil; size > largeGraph {
		tfgo.FreeMemory() // several copies of the weights
	}
	return f, err
}

// largeGraph is from how many bytes on giving memory back is worth the tenth of a
// second that it takes.
const largeGraph = 32 << 20

// mayFreeze returns nil if frozen graphs are made at all, and otherwise why not.
func (m *Model) mayFreeze() error {
	if m.options.Plain {
		return errors.New("the model was opened to be called as it is")
	}
	if m.onGPU { // the operations that they are made of are for CPUs
		return errors.New("frozen graphs are for CPUs, and a GPU computes")
	}
	if m.options.Target.XLA {
		return errors.New("XLA compiles the graph as it is")
	}
	return nil
}

var (
	fuses         = sync.OnceValue(func() bool { return tfgo.OneDNN() && frozen.Fuses(runOnce) })
	fusesBFloat16 = sync.OnceValue(func() bool {
		// To ask TensorFlow 2.18 without AVX-512 ends the process.
		return tfgo.OneDNN() && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && frozen.FusesBFloat16(runOnce)
	})
)

// runOnce computes tensors of a graph without inputs.
func runOnce(graph []byte, fetches []string) ([]tensor.Tensor, error) {
	session, err := tfgo.NewSession(graph, tfgo.Options{Target: tfgo.Target{Device: tfgo.CPUDevice}, Optimized: true})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	return session.Run(context.Background(), nil, fetches, nil)
}

// variables reads variables by the names of their handles in the graph.
func (m *Model) variables(ctx context.Context, names []string) (map[string]tensor.Tensor, error) {
	reads := map[string]string{}
	for _, node := range m.info.graph.GetGraphDef().GetNode() {
		if node.GetOp() == "ReadVariableOp" {
			reads[node.GetInput()[0]] = node.GetName() + ":0"
		}
	}
	fetches := make([]string, len(names))
	for i, name := range names {
		if fetches[i] = reads[name]; fetches[i] == "" {
			return nil, fmt.Errorf("the graph does not read the variable %s by itself", name)
		}
	}
	values, err := m.session.Run(ctx, nil, fetches, nil)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]tensor.Tensor, len(names))
	for i, name := range names {
		byName[name] = values[i]
	}
	return byName, nil
}

// Package savedmodel calls the functions of a SavedModel by name.
//
// # Basics
//
// Open loads a directory; Model.Call runs one of its signatures, and Model.Save
// writes a directory of the same kind with the weights as they are then:
//
//	model, err := savedmodel.Open("models/resnet50", savedmodel.Options{})
//	defer model.Close()
//	out, err := model.Call(ctx, "serving_default", map[string]tensor.Tensor{"images": images})
//
// A model that was opened with Options.Held takes several steps in one call, on
// examples that Model.Hold was given once: Model.CallHeld.
//
// Inspect says what is in a directory from its files alone, without TensorFlow.
//
// # Caveats
//
// Every call is checked against the signature first, because TensorFlow ends
// the process over some wrong shapes. Calls of signatures that change variables
// must not run at the same time as others, nor must Hold.
package savedmodel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"

	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Options says how to open a model. The zero value is fine.
type Options struct {
	// Threads is how many threads compute one operation, and how many
	// operations compute at once; 0 means one for each core. Results depend on
	// it in the last bits. The first session of a process decides for all.
	Threads int
	// Precision is that of convolutions and matrix products; variables stay
	// float32. The zero value is float32.
	Precision tfgo.Precision
	// Target is what computes. The zero value is a GPU where TensorFlow can use one.
	Target tfgo.Target
	// Plain lets every function run as it is in the file. Otherwise those that
	// change nothing are made faster when they are called on a CPU, see Model.Call.
	Plain bool
	// Signatures are the functions that will be called; nil stands for all. Others
	// are not loaded: of a large model with many, that takes seconds.
	Signatures []string
	// Held are those of the signatures that CallHeld will call: for pipeline.Options.Hold
	// what its Signature returns, such as "train". Where a loop cannot be
	// made for them the model is opened all the same, see Model.Holds.
	Held []string
}

// ErrInput is in the chain of errors about inputs that a signature does not
// take.
var ErrInput = errors.New("wrong input")

// Model is a loaded SavedModel.
type Model struct {
	info    *Info
	session *tfgo.Session
	options Options
	onGPU   bool
	freezer freezer
	held    held
}

// Open loads the model in dir, which may be all that Resolve takes.
func Open(dir string, o Options) (*Model, error) {
	info, err := Inspect(dir)
	if err != nil {
		return nil, err
	}
	return info.Open(o)
}

// Open loads the model that was inspected.
func (i *Info) Open(o Options) (*Model, error) {
	for _, name := range o.Held {
		if o.Signatures != nil && !slices.Contains(o.Signatures, name) {
			return nil, fmt.Errorf("open model: %q is to hold examples and is not among the signatures %s", name, strings.Join(o.Signatures, ", "))
		}
	}
	for _, name := range slices.Concat(o.Signatures, o.Held) {
		if _, ok := i.signatures[name]; !ok {
			return nil, fmt.Errorf("open model: %s has no signature %q, only %s", i.Dir, name, strings.Join(i.SignatureNames(), ", "))
		}
	}
	session, held, err := i.load(o)
	if err != nil {
		return nil, err
	}
	onGPU, err := session.OnGPU()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open model: %w", err), session.Close())
	}
	return &Model{info: i, session: session, options: o, onGPU: onGPU, held: held}, nil
}

// Close frees the model's memory.
func (m *Model) Close() error { return errors.Join(m.thaw(), m.session.Close()) }

// OnGPU tells whether a GPU computes the model.
func (m *Model) OnGPU() bool { return m.onGPU }

// Info returns what the model's files say.
func (m *Model) Info() *Info { return m.info }

// Fingerprint is Info's.
func (m *Model) Fingerprint() string { return m.info.Fingerprint }

// Signature describes a function; false if the model has none of that name, or
// was not opened for it.
func (m *Model) Signature(name string) (tensor.Signature, bool) {
	if !m.has(name) {
		return tensor.Signature{}, false
	}
	return m.info.Signature(name)
}

// SignatureDef returns what the model's file says of a function; nil if there is
// none of that name. It must not be changed.
func (m *Model) SignatureDef(name string) *pb.SignatureDef {
	return m.info.graph.GetSignatureDef()[name]
}

func (m *Model) has(name string) bool {
	return m.options.Signatures == nil || slices.Contains(m.options.Signatures, name)
}

// Call runs a signature and returns all its outputs by name. The context is
// looked at before the run, which cannot be stopped.
//
// A signature that changes no variable is run from a graph of its own, in which
// variables are constants and BatchNorms are folded into the convolutions:
// float32 results differ by 1e-5 at most, of probabilities. That graph is made,
// in a second for a hundred megabytes, at the first call and at the first one
// after the variables were changed. It takes the memory of the variables twice.
func (m *Model) Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	call, err := m.prepare(ctx, name, inputs)
	if err != nil {
		return nil, fmt.Errorf("call signature %q: %w", name, err)
	}
	results, err := call.session.Run(ctx, call.feeds, call.fetches, nil)
	if err != nil {
		return nil, fmt.Errorf("call signature %q: %w", name, err)
	}
	outputs := make(map[string]tensor.Tensor, len(results))
	for i, output := range call.outputs {
		outputs[output.Name] = results[i]
	}
	return outputs, nil
}

// call is what a signature's run needs.
type call struct {
	session *tfgo.Session
	feeds   tfgo.Feeds
	fetches []string
	outputs []tensor.Spec // of the fetches
}

func (m *Model) prepare(ctx context.Context, name string, inputs map[string]tensor.Tensor) (*call, error) {
	s, ok := m.info.signatures[name]
	if !ok {
		return nil, fmt.Errorf("%s has only %s", m.info.Dir, strings.Join(m.info.SignatureNames(), ", "))
	}
	if !m.has(name) {
		return nil, fmt.Errorf("the model was opened for %s only", strings.Join(m.options.Signatures, ", "))
	}
	feeds, err := s.feeds(inputs)
	if err != nil {
		return nil, err
	}
	session, names := m.session, s.outputs
	f, err := m.frozen(ctx, name, s, inputs)
	if err != nil {
		return nil, err
	}
	if f != nil {
		session, names = f.session, f.outputs
	}
	c := &call{session, feeds, make([]string, len(s.public.Outputs)), s.public.Outputs}
	for i, output := range s.public.Outputs {
		c.fetches[i] = names[output.Name]
	}
	return c, nil
}

// signature joins what a caller sees with the names in the graph.
type signature struct {
	public          tensor.Signature
	inputs, outputs map[string]string // the graph's names of the tensors
}

func (s signature) feeds(inputs map[string]tensor.Tensor) (tfgo.Feeds, error) {
	feeds := make(tfgo.Feeds, len(inputs))
	for _, want := range s.public.Inputs {
		input, ok := inputs[want.Name]
		if !ok {
			return nil, fmt.Errorf("%w: %s is missing", ErrInput, want)
		}
		if err := want.Check(input); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInput, err)
		}
		feeds[s.inputs[want.Name]] = input
	}
	for name := range inputs {
		if _, ok := tensor.Find(s.public.Inputs, name); !ok {
			return nil, fmt.Errorf("%w: there is no %q, only %s", ErrInput, name, strings.Join(tensor.Names(s.public.Inputs), ", "))
		}
	}
	return feeds, nil
}

package tfgo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	tf "github.com/wamuir/graft/tensorflow"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Session is a loaded graph with its variables. Run may be called from several
// goroutines.
type Session struct {
	graph   *tf.Graph
	session *tf.Session
}

// Feeds maps the names of graph tensors, such as "train_images:0", to values.
type Feeds map[string]tensor.Tensor

// LoadSavedModel opens the SavedModel in dir that is tagged "serve" and
// restores its variables.
func LoadSavedModel(dir string, o Options) (*Session, error) {
	if _, err := Load(); err != nil {
		return nil, err
	}
	config, err := o.config()
	if err != nil {
		return nil, fmt.Errorf("configure session: %w", err)
	}
	var model *tf.SavedModel
	load := func() error {
		return startingThreads(func() error {
			model, err = tf.LoadSavedModel(dir, []string{"serve"}, &tf.SessionOptions{Config: config})
			return err
		})
	}
	// The first run of a process, which restores the variables here, logs what
	// no level holds back in some versions of TensorFlow.
	loaded := false
	firstLoad.Do(func() {
		loaded = true
		err = quietly(load)
	})
	if !loaded {
		err = load()
	}
	if err != nil {
		return nil, fmt.Errorf("load saved model %s: %w", dir, err)
	}
	session := &Session{graph: model.Graph, session: model.Session}
	if err := session.checkTarget(o.Target); err != nil {
		return nil, errors.Join(fmt.Errorf("load saved model %s: %w", dir, err), session.Close())
	}
	return session, nil
}

var firstLoad sync.Once

// NewSession opens a serialized GraphDef; nil is one without operations. Its
// variables, if it has any, have no values yet.
func NewSession(graph []byte, o Options) (*Session, error) {
	if _, err := Load(); err != nil {
		return nil, err
	}
	config, err := o.config()
	if err != nil {
		return nil, fmt.Errorf("configure session: %w", err)
	}
	var session *Session
	err = startingThreads(func() error {
		session, err = openGraph(graph, config)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := session.checkTarget(o.Target); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return session, nil
}

func openGraph(graph, config []byte) (*Session, error) {
	g := tf.NewGraph()
	if len(graph) > 0 {
		if err := g.Import(graph, ""); err != nil {
			return nil, fmt.Errorf("import graph: %w", &runError{err})
		}
	}
	session, err := tf.NewSession(g, &tf.SessionOptions{Config: config})
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return &Session{graph: g, session: session}, nil
}

// Close frees the session's variables. It waits for calls of Run.
func (s *Session) Close() error { return s.session.Close() }

// Run computes the tensors named in fetches, and runs the operations named in
// targets. The context is looked at before the run, which cannot be stopped.
func (s *Session) Run(ctx context.Context, feeds Feeds, fetches, targets []string) ([]tensor.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cFeeds, cFetches, err := s.tensors(feeds, fetches)
	if err != nil {
		return nil, err
	}
	cTargets := make([]*tf.Operation, len(targets))
	for i, name := range targets {
		if cTargets[i] = s.graph.Operation(name); cTargets[i] == nil {
			return nil, fmt.Errorf("find operation: the graph has no %q", name)
		}
	}
	var results []*tf.Tensor
	err = startingThreads(func() (err error) { // the first run does
		results, err = s.session.Run(cFeeds, cFetches, cTargets)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("run graph: %w", &runError{err})
	}
	return fromC(fetches, results)
}

// tensors finds what is fed and fetched in the graph, and hands the values to C.
func (s *Session) tensors(feeds Feeds, fetches []string) (map[tf.Output]*tf.Tensor, []tf.Output, error) {
	values := make(map[tf.Output]*tf.Tensor, len(feeds))
	for name, value := range feeds {
		output, err := s.output(name)
		if err != nil {
			return nil, nil, err
		}
		if values[output], err = toC(value); err != nil {
			return nil, nil, fmt.Errorf("feed %s: %w", name, err)
		}
	}
	outputs := make([]tf.Output, len(fetches))
	for i, name := range fetches {
		output, err := s.output(name)
		if err != nil {
			return nil, nil, err
		}
		outputs[i] = output
	}
	return values, outputs, nil
}

// TensorFlow ends its errors with a trace of the nodes, a line each.
var nodes = regexp.MustCompile(`(?s)\n\s*\[\[.*?\{\{node ([^}]+)\}\}.*`)

// runError says in one line what TensorFlow says in several.
type runError struct{ err error }

func (e *runError) Error() string {
	return strings.ReplaceAll(nodes.ReplaceAllString(e.err.Error(), " (operation ${1})"), "\n", "; ")
}

func (e *runError) Unwrap() error { return e.err }

// Has tells whether the graph has a tensor of that name.
func (s *Session) Has(name string) bool {
	_, err := s.output(name)
	return err == nil
}

// output finds a graph tensor by its name, "operation:index".
func (s *Session) output(name string) (tf.Output, error) {
	operation, index := name, 0
	if head, tail, ok := strings.Cut(name, ":"); ok {
		var err error
		if index, err = strconv.Atoi(tail); err != nil {
			return tf.Output{}, fmt.Errorf("find tensor: %q is not operation:index", name)
		}
		operation = head
	}
	op := s.graph.Operation(operation)
	if op == nil || index < 0 || index >= op.NumOutputs() {
		return tf.Output{}, fmt.Errorf("find tensor: the graph has no %q", name)
	}
	return op.Output(index), nil
}

func toC(t tensor.Tensor) (*tf.Tensor, error) {
	if t.DType() == tensor.String {
		if len(t.Shape()) != 0 {
			return nil, fmt.Errorf("string tensors of shape %v are not supported, only []", t.Shape())
		}
		return tf.NewTensor(t.Strings()[0])
	}
	if t.DType() == tensor.BFloat16 || t.DType() == tensor.Float16 {
		return nil, fmt.Errorf("%s tensors cannot be fed", t.DType()) // graft panics
	}
	shape := make([]int64, len(t.Shape()))
	for i, dim := range t.Shape() {
		shape[i] = int64(dim)
	}
	spend(len(t.Bytes()))
	return tf.ReadTensor(tf.DataType(t.DType()), shape, bytes.NewReader(t.Bytes()))
}

func fromC(names []string, values []*tf.Tensor) ([]tensor.Tensor, error) {
	tensors := make([]tensor.Tensor, len(values))
	for i, value := range values {
		t, err := fromC1(value)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", names[i], err)
		}
		tensors[i] = t
	}
	return tensors, nil
}

func fromC1(value *tf.Tensor) (tensor.Tensor, error) {
	dtype := tensor.DType(value.DataType())
	shape := make([]int, len(value.Shape()))
	for i, dim := range value.Shape() {
		shape[i] = int(dim)
	}
	if dtype == tensor.String {
		text, ok := value.Value().(string)
		if !ok {
			return tensor.Tensor{}, fmt.Errorf("string tensors of shape %v are not supported, only []", shape)
		}
		return tensor.Text(text), nil
	}
	var data bytes.Buffer
	if _, err := value.WriteContentsTo(&data); err != nil {
		return tensor.Tensor{}, err
	}
	spend(data.Len())
	return tensor.FromBytes(dtype, data.Bytes(), shape...)
}

// graft frees a tensor's C memory in a finalizer, and Go's collector cannot see
// that memory: it would wait while gigabytes pile up. So the bytes handed to C
// are counted, and each time they come to budget the collector is called.
const budget = 64 << 20

var spent atomic.Int64

func spend(bytes int) {
	if spent.Add(int64(bytes)) > budget {
		spent.Store(0)
		runtime.GC()
	}
}

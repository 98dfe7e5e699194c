package serving

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	serving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Version is a model that can be served under a name and a number.
type Version struct {
	Name   string
	Number int64
	Model  pipeline.Model
	// Classes are the names of what it tells apart, in label order; nil means that they
	// are numbered.
	Classes []string
	// Close frees the model when nobody uses it any more; nil means that there is
	// nothing to free.
	Close func() error
}

func (v Version) String() string { return fmt.Sprintf("%s, version %d", v.Name, v.Number) }

// state is TensorFlow Serving's.
type state = serving.ModelVersionStatus_State

// version is one that was loaded, or is to be.
type version struct {
	Version
	batchers  map[string]*Batcher // by signature
	signature string              // that is meant where none is named
	images    *imagefile.Shape    // of those it classifies; nil where it is no classifier

	// The rest is the table's.
	state state
	err   error          // why it is not there
	uses  sync.WaitGroup // requests
	gone  chan struct{}  // closed when it has ended
}

// close frees what belongs to a version. Requests that wait are answered first,
// while the context lasts.
func (v *version) close(ctx context.Context) error {
	var errs []error
	for _, b := range v.batchers {
		errs = append(errs, b.Close(ctx))
	}
	if v.Close != nil {
		errs = append(errs, v.Close())
	}
	return errors.Join(errs...)
}

// batcher finds a function; "" is the one that a request without a name means.
func (v *version) batcher(name string) (*Batcher, error) {
	if name == "" {
		name = v.signature
	}
	b, ok := v.batchers[name]
	if !ok {
		return nil, errorf(ErrInput, "Serving signature name: %q not found in signature def", name)
	}
	return b, nil
}

// table holds the versions of all models.
type table struct {
	mu     sync.Mutex
	models map[string]*entry
	closed bool // no version comes any more
}

// entry is what there is of a name.
type entry struct {
	versions map[int64]*version
	labels   map[string]int64
}

// which says which version a request wants: the newest one, if it says nothing.
type which struct {
	number *int64
	label  string
}

func (w which) of(name string) string {
	switch {
	case w.number != nil:
		return fmt.Sprintf("Specific(%s, %d)", name, *w.number)
	case w.label != "":
		return fmt.Sprintf("Label(%s, %s)", name, w.label)
	}
	return fmt.Sprintf("Latest(%s)", name)
}

// readNumber reads a version's number as it stands in a path.
func readNumber(text string) (which, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 {
		return which{}, errorf(ErrInput, "failed to convert version: %s to numeric", text)
	}
	return which{number: &number}, nil
}

// acquire finds a version that can be asked. Its uses must be Done afterwards.
func (t *table) acquire(name string, w which) (*version, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.models[name]
	if !ok {
		return nil, errorf(ErrNotFound, "Servable not found for request: %s", w.of(name))
	}
	var found *version
	switch {
	case w.label != "":
		number, ok := e.labels[w.label]
		if !ok {
			return nil, errorf(ErrInput, "Unrecognized servable version label: %s", w.label)
		}
		found = e.versions[number]
	case w.number != nil:
		found = e.versions[*w.number]
	default:
		found = e.newest()
	}
	if found == nil || found.state != serving.ModelVersionStatus_AVAILABLE {
		return nil, errorf(ErrNotFound, "Servable not found for request: %s", w.of(name))
	}
	found.uses.Add(1)
	return found, nil
}

// newest is the highest version that can be asked; nil if there is none.
func (e *entry) newest() *version {
	number := int64(math.MinInt64)
	for n, v := range e.versions {
		if v.state == serving.ModelVersionStatus_AVAILABLE && n > number {
			number = n
		}
	}
	return e.versions[number]
}

// entry finds what there is of a name, or makes it.
func (t *table) entry(name string) *entry {
	e, ok := t.models[name]
	if !ok {
		e = &entry{versions: map[int64]*version{}, labels: map[string]int64{}}
		t.models[name] = e
	}
	return e
}

// fail notes why a version could not even be opened.
func (t *table) fail(name string, number int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entry(name); e.versions[number] == nil || e.versions[number].state == serving.ModelVersionStatus_END {
		e.versions[number] = &version{Version: Version{Name: name, Number: number}, state: serving.ModelVersionStatus_END, err: err, gone: make(chan struct{})}
	}
}

// begin puts a version in the table that is about to be loaded.
func (t *table) begin(v *version) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	e := t.entry(v.Name)
	if old, ok := e.versions[v.Number]; ok && old.state != serving.ModelVersionStatus_END {
		return fmt.Errorf("%s is there already, and %s", v.Version, strings.ToLower(old.state.String()))
	}
	v.state = serving.ModelVersionStatus_LOADING
	e.versions[v.Number] = v
	return nil
}

// publish lets requests find a version that has been loaded.
func (t *table) publish(v *version) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	v.state = serving.ModelVersionStatus_AVAILABLE
	return nil
}

// end notes that a version has ended, and why if it should not have.
func (t *table) end(v *version, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v.state, v.err = serving.ModelVersionStatus_END, err
	v.batchers, v.Model, v.Version.Close = nil, nil, nil // for the collector
	close(v.gone)
}

// close lets no version come any more, and returns those that have not ended.
func (t *table) close() []*version {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	var left []*version
	for _, e := range t.models {
		for _, v := range e.versions {
			if v.state != serving.ModelVersionStatus_END {
				left = append(left, v)
			}
		}
	}
	return left
}

// retire takes a version out of use; false if it was not in use.
func (t *table) retire(name string, number int64) (*version, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.models[name]
	if e == nil || e.versions[number] == nil || e.versions[number].state != serving.ModelVersionStatus_AVAILABLE {
		return nil, false
	}
	v := e.versions[number]
	v.state = serving.ModelVersionStatus_UNLOADING
	return v, true
}

// forget drops what is known of versions that have ended, but for the newest ones.
func (t *table) forget(name string) {
	const remembered = 8
	t.mu.Lock()
	defer t.mu.Unlock()
	ended := []int64{}
	for number, v := range t.models[name].versions {
		if v.state == serving.ModelVersionStatus_END {
			ended = append(ended, number)
		}
	}
	slices.Sort(ended)
	for _, number := range ended[:max(0, len(ended)-remembered)] {
		delete(t.models[name].versions, number)
	}
}

// versionStatus is what is known of a version.
type versionStatus struct {
	name    string
	number  int64
	state   state
	err     error
	labels  []string
	waiting int // images, if it can be asked
}

func (s versionStatus) available() bool { return s.state == serving.ModelVersionStatus_AVAILABLE }

func (s versionStatus) version() string { return strconv.FormatInt(s.number, 10) }

// statuses lists the versions of a model, the newest first.
func (t *table) statuses(name string) []versionStatus {
	return slices.DeleteFunc(t.allStatuses(), func(s versionStatus) bool { return s.name != name })
}

// allStatuses lists the versions of all models.
func (t *table) allStatuses() []versionStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []versionStatus
	for _, model := range slices.Sorted(maps.Keys(t.models)) {
		e := t.models[model]
		numbers := slices.Sorted(maps.Keys(e.versions))
		slices.Reverse(numbers)
		for _, number := range numbers {
			s := versionStatus{name: model, number: number, state: e.versions[number].state, err: e.versions[number].err}
			if s.available() {
				for _, b := range e.versions[number].batchers {
					s.waiting += b.Waiting()
				}
			}
			for _, label := range slices.Sorted(maps.Keys(e.labels)) {
				if e.labels[label] == number {
					s.labels = append(s.labels, label)
				}
			}
			found = append(found, s)
		}
	}
	return found
}

// ready tells whether there are models, and each has a version that can be asked.
func (t *table) ready() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.models {
		if e.newest() == nil {
			return false
		}
	}
	return len(t.models) > 0
}

// Announce says that a model is to come: the server is not ready before.
func (s *Server) Announce(name string) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.table.entry(name)
}

// Load serves a version, once it is warm and has answered one request well; the
// versions that are served go on meanwhile. Whatever happens, the server sees to
// it that v.Close is called.
func (s *Server) Load(ctx context.Context, v Version) error {
	begun := time.Now()
	if v.Model == nil || v.Name == "" || v.Number < 0 {
		return fmt.Errorf("load model: it needs a model, a name and a number from 0 on, not %v, %q and %d", v.Model, v.Name, v.Number)
	}
	one := &version{Version: v, gone: make(chan struct{})}
	if err := s.table.begin(one); err != nil {
		if v.Close != nil {
			err = errors.Join(err, v.Close())
		}
		return fmt.Errorf("load model: %w", err)
	}
	s.options.Log.Info("warming up", "model", v.Name, "version", v.Number)
	err := s.prepare(ctx, one)
	largest := 0
	if err == nil {
		largest = one.batchers[one.signature].MaxBatch()
		err = s.table.publish(one)
	}
	if err != nil {
		err = fmt.Errorf("load model %s: %w", v, errors.Join(err, one.close(ctx)))
		s.table.end(one, err)
		return err
	}
	s.options.Log.Info("serving", "model", v.Name, "version", v.Number, "max_batch", largest, "warm_up_seconds", time.Since(begun).Seconds())
	return nil
}

// prepare makes the batchers of a version, warms it up and checks an answer.
func (s *Server) prepare(ctx context.Context, v *version) error {
	v.batchers, v.signature = map[string]*Batcher{}, s.options.Signatures[0]
	if slices.Contains(s.options.Signatures, pipeline.PredictSignature) {
		v.signature = pipeline.PredictSignature
	}
	for _, name := range s.options.Signatures {
		o := s.options.Batch
		o.Signature, o.OnBatch = name, s.metrics.onBatch(v.Name)
		b, err := NewBatcher(v.Model, o)
		if err != nil {
			return err
		}
		v.batchers[name] = b
		if err := b.Warm(ctx); err != nil {
			return err
		}
		if err := b.checkAnswer(ctx); err != nil {
			return err
		}
	}
	return v.findImages()
}

// findImages finds out whether a version classifies images, and of which size.
func (v *version) findImages() error {
	b, ok := v.batchers[pipeline.PredictSignature]
	if !ok {
		return nil
	}
	shape, err := pipeline.PredictShape(v.Model)
	if err != nil {
		return nil // it is asked for tensors only
	}
	images := imagefile.Shape{Height: shape[0], Width: shape[1], Channels: shape[2]}
	if images.Check() != nil {
		return nil
	}
	probabilities, _ := tensor.Find(b.signature.Outputs, pipeline.ProbabilitiesOutput)
	if len(probabilities.Shape) != 2 || probabilities.DType != tensor.Float32 || probabilities.Shape[1] < 1 {
		return nil
	}
	classes := probabilities.Shape[1]
	if v.Classes == nil {
		for label := range classes {
			v.Classes = append(v.Classes, strconv.Itoa(label))
		}
	}
	if len(v.Classes) != classes {
		return fmt.Errorf("it tells %d classes apart, and %d are named", classes, len(v.Classes))
	}
	v.images = &images
	return nil
}

// Unload takes a version out of use, answers the requests that have come for it
// while the context lasts, and closes its model.
func (s *Server) Unload(ctx context.Context, name string, number int64) error {
	v, ok := s.table.retire(name, number)
	if !ok {
		return fmt.Errorf("unload model %s, version %d: %w", name, number, ErrNotFound)
	}
	unused := make(chan struct{})
	go func() {
		v.uses.Wait()
		close(unused)
	}()
	select {
	case <-unused:
	case <-ctx.Done():
	}
	err := v.close(ctx) // those that wait get ErrClosed if the context has ended
	<-unused
	s.table.end(v, nil)
	s.table.forget(name)
	s.options.Log.Info("unloaded", "model", name, "version", number)
	return err
}

// SetLabels gives names to versions of a model, in place of those it had.
func (s *Server) SetLabels(name string, labels map[string]int64) error {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	e, ok := s.table.models[name]
	if !ok {
		return fmt.Errorf("label versions of %s: %w", name, ErrNotFound)
	}
	for label, number := range labels {
		if v := e.versions[number]; v == nil || v.state != serving.ModelVersionStatus_AVAILABLE {
			return fmt.Errorf("label versions of %s: version %d for %q: %w", name, number, label, ErrNotFound)
		}
	}
	e.labels = maps.Clone(labels)
	return nil
}

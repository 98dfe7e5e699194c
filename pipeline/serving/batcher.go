package serving

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

// BatchOptions says how requests are joined. The zero value is fine.
type BatchOptions struct {
	// Signature is the function that is called; "" means serving_default.
	Signature string
	// MaxBatch is how many images are computed at once at most; 0 means 64, or fewer if
	// Warm finds that they take longer than a second: larger batches gain nothing
	// then, and those who come next wait longer.
	MaxBatch int
	// MaxWaiting is how many images may wait; 0 means 256. A request that finds nobody
	// waiting is taken, however large it is.
	MaxWaiting int
	// MaxLinger is how long a worker that is free waits for a batch to become full.
	// 0, which is best where requests come one after the other, means not at all:
	// batches are of what has come while the worker was busy.
	MaxLinger time.Duration
	// Workers is how many batches are computed at once; 0 means one, which has all
	// cores.
	Workers int
	// OnBatch hears of each batch that the model computed, from the goroutine that
	// computed it: how many images it had, and how long it took.
	OnBatch func(images int, took time.Duration)
}

const (
	defaultMaxBatch = 64
	longBatch       = time.Second            // see BatchOptions.MaxBatch
	coldBatch       = 250 * time.Millisecond // see Warm
	leastMaxBatch   = 8                      // that Warm finds
)

func (o BatchOptions) withDefaults() BatchOptions {
	o.Signature = cmp.Or(o.Signature, pipeline.PredictSignature)
	o.MaxBatch = cmp.Or(o.MaxBatch, defaultMaxBatch)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 256)
	o.Workers = cmp.Or(o.Workers, 1)
	if o.OnBatch == nil {
		o.OnBatch = func(int, time.Duration) {}
	}
	return o
}

func (o BatchOptions) check() error {
	for _, field := range []struct {
		name  string
		value int
	}{{"MaxBatch", o.MaxBatch}, {"MaxWaiting", o.MaxWaiting}, {"Workers", o.Workers}} {
		if field.value < 1 {
			return fmt.Errorf("check batch options: %s must be positive, not %d", field.name, field.value)
		}
	}
	if o.MaxLinger < 0 {
		return fmt.Errorf("check batch options: MaxLinger must not be negative, but is %v", o.MaxLinger)
	}
	return nil
}

// Batcher joins calls of a model's function into batches. Its methods may be
// called from several goroutines.
type Batcher struct {
	model     pipeline.Model
	options   BatchOptions
	signature tensor.Signature
	joins     bool // calls are joined, rather than only put in a row
	adapts    bool // Warm decides how large batches are

	mu      sync.Mutex
	sizes   []int     // that batches may have, descending
	changed sync.Cond // of the queue, or closed
	queue   []*request
	waiting int // images in the queue
	closed  bool
	alarm   *time.Timer // when a lingering worker looks again; nil if none lingers
	workers sync.WaitGroup
}

// request is one call.
type request struct {
	ctx     context.Context
	inputs  tensors
	kind    string // only calls of one kind are joined
	count   int    // of images; 1 where calls are not joined
	arrived time.Time
	taken   int // images that batches have taken
	missing int // images without a result
	results []result
	outputs tensors
	err     error         // instead
	done    chan struct{} // closed when there are outputs or an error
}

// result is what a batch gave for some images of a request.
type result struct {
	first   int
	outputs tensors
}

// part is some images of a request, in a batch.
type part struct {
	*request
	first, count int
}

// NewBatcher starts the workers. Calls are joined if all inputs and outputs of
// the function begin with a free dimension, that of the images; otherwise they are
// computed one after the other.
func NewBatcher(model pipeline.Model, o BatchOptions) (*Batcher, error) {
	adapts := o.MaxBatch == 0
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	sig, ok := model.Signature(o.Signature)
	if !ok {
		return nil, fmt.Errorf("find signature %q: %w", o.Signature, pipeline.ErrNoSignature)
	}
	for _, s := range slices.Concat(sig.Inputs, sig.Outputs) {
		if s.DType.Size() == 0 {
			return nil, fmt.Errorf("check signature %q: %s: tensors of that type are not served", o.Signature, s)
		}
	}
	b := &Batcher{model: model, options: o, signature: sig, joins: joinable(sig), adapts: adapts, sizes: batchSizes(o.MaxBatch)}
	b.changed.L = &b.mu
	for range o.Workers {
		b.workers.Go(b.work)
	}
	return b, nil
}

// batchSizes are the sizes of batches: few, since a model plans its work anew for
// each that it sees first, and none far from the next.
func batchSizes(most int) []int {
	sizes := []int{most}
	for power := 1; power <= most; power *= 2 {
		sizes = append(sizes, power)
		if half := power + power/2; power > 1 && half <= most {
			sizes = append(sizes, half)
		}
	}
	slices.SortFunc(sizes, func(a, b int) int { return b - a })
	return slices.Compact(sizes)
}

// Warm computes batches of all sizes, the smallest first, so that no request waits
// for what a model does only once. It stops where a batch takes a quarter of a
// second: what is done once adds little to that. Where images may have several
// sizes, it does nothing.
func (b *Batcher) Warm(ctx context.Context) error {
	sizes := slices.Clone(b.sizes)
	slices.Reverse(sizes)
	for i, n := range sizes {
		took, ok, err := b.measure(ctx, n)
		if !ok || err != nil {
			return err
		}
		if took < coldBatch && n < sizes[len(sizes)-1] {
			continue
		}
		if perImage := took / time.Duration(n); b.adapts {
			b.limit(int(longBatch / max(perImage, 1)))
		}
		if took > coldBatch && i > 0 {
			return nil
		}
	}
	return nil
}

// measure computes a batch of so many images, twice if the first time was long. ok
// is false if it is not known what an image is like.
func (b *Batcher) measure(ctx context.Context, n int) (took time.Duration, ok bool, err error) {
	for range 2 {
		inputs, ok, err := zeros(b.signature.Inputs, n)
		if !ok || err != nil {
			return 0, false, err
		}
		begun := time.Now()
		if _, err := b.model.Call(ctx, b.options.Signature, inputs); err != nil {
			return 0, false, fmt.Errorf("warm up with %d images: %w", n, err)
		}
		if took = time.Since(begun); took < coldBatch {
			break
		}
	}
	return took, true, nil
}

// limit leaves out the sizes of batches above most.
func (b *Batcher) limit(most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = slices.DeleteFunc(b.sizes, func(size int) bool { return size > max(most, leastMaxBatch) })
}

// MaxBatch returns how many images are computed at once at most.
func (b *Batcher) MaxBatch() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sizes[0]
}

// Waiting returns how many images wait.
func (b *Batcher) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// full returns ErrOverloaded if a call would be refused now.
func (b *Batcher) full() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting < b.options.MaxWaiting {
		return nil
	}
	return b.overloaded()
}

func (b *Batcher) overloaded() error {
	return fmt.Errorf("%w: %d images wait, of at most %d", ErrOverloaded, b.waiting, b.options.MaxWaiting)
}

// Predict returns the probabilities for images, uint8 [N,H,W,C]: a row for each,
// a column for each class. It is Call for models of that signature.
func (b *Batcher) Predict(ctx context.Context, images tensor.Tensor) ([][]float32, error) {
	outputs, err := b.Call(ctx, tensors{pipeline.ImagesInput: images})
	if err != nil {
		return nil, err
	}
	if len(images.Shape()) == 0 {
		return nil, errorf(ErrInput, "predict: images have shape %v, not [N,H,W,C]", images.Shape())
	}
	return pipeline.Probabilities(outputs, images.Shape()[0])
}

// Call calls the function with inputs by name and returns its outputs.
// ErrOverloaded, ErrClosed and ErrInput may be in the error's chain, and the
// context's error where that ended first. The inputs' memory must not be changed
// afterwards: where the context has ended, a batch may still read it.
func (b *Batcher) Call(ctx context.Context, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	r, err := b.newRequest(ctx, inputs)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	if r.count == 0 {
		outputs, ok, err := zeros(b.signature.Outputs, 0)
		if err == nil && !ok {
			err = fmt.Errorf("predict: %w: there is no image", ErrInput)
		}
		return outputs, err
	}
	if err := b.enqueue(r); err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	select {
	case <-r.done:
		return r.outputs, r.err
	case <-ctx.Done():
		b.drop(r)
		return nil, fmt.Errorf("predict: %w", context.Cause(ctx))
	}
}

func (b *Batcher) newRequest(ctx context.Context, inputs tensors) (*request, error) {
	for _, s := range b.signature.Inputs {
		input, ok := inputs[s.Name]
		if !ok {
			return nil, errorf(ErrInput, "%s is missing", s)
		}
		if err := s.Check(input); err != nil {
			return nil, ofKind(ErrInput, err)
		}
	}
	if len(inputs) > len(b.signature.Inputs) {
		return nil, errorf(ErrInput, "there are only the inputs %s", strings.Join(tensor.Names(b.signature.Inputs), ", "))
	}
	r := &request{ctx: ctx, inputs: inputs, count: 1, arrived: time.Now(), done: make(chan struct{})}
	if b.joins {
		var err error
		if r.count, err = rowsOf(inputs); err != nil {
			return nil, err
		}
		r.kind = b.kindOf(inputs)
	}
	r.missing = r.count
	return r, nil
}

// kindOf tells calls apart whose images have different sizes.
func (b *Batcher) kindOf(inputs tensors) string {
	var kind strings.Builder
	for _, s := range b.signature.Inputs {
		if slices.Contains(s.Shape[1:], tensor.AnySize) {
			fmt.Fprint(&kind, inputs[s.Name].Shape()[1:])
		}
	}
	return kind.String()
}

func (b *Batcher) enqueue(r *request) error {
	if err := r.ctx.Err(); err != nil {
		return context.Cause(r.ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case b.waiting > 0 && b.waiting+r.count > b.options.MaxWaiting:
		return b.overloaded()
	}
	b.queue = append(b.queue, r)
	b.waiting += r.count
	b.changed.Signal()
	return nil
}

// drop takes out of the queue what of a request is still there.
func (b *Batcher) drop(r *request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(r)
}

func (b *Batcher) remove(r *request) {
	if i := slices.Index(b.queue, r); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
		b.waiting -= r.count - r.taken
	}
}

// Close refuses further requests and waits until those that have come are
// answered. If the context ends before, the ones that still wait get ErrClosed.
func (b *Batcher) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	if b.alarm != nil {
		b.alarm.Stop()
	}
	b.changed.Broadcast()
	b.mu.Unlock()
	drained := make(chan struct{})
	go func() {
		b.workers.Wait()
		close(drained)
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	left := b.queue
	b.queue, b.waiting = nil, 0
	for _, r := range left {
		r.fail(ErrClosed)
	}
	b.mu.Unlock()
	<-drained
	return fmt.Errorf("close batcher: %d requests were not answered: %w", len(left), context.Cause(ctx))
}

// work computes batches until the batcher is closed and nothing waits.
func (b *Batcher) work() {
	for {
		parts := b.next()
		if parts == nil {
			return
		}
		begun := time.Now()
		n, err := b.compute(parts)
		if err == nil {
			b.options.OnBatch(n, time.Since(begun))
		}
	}
}

// next waits for a batch; nil says that there will be none.
func (b *Batcher) next() []part {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.waiting > 0 && !b.lingers():
			return b.take()
		case b.waiting == 0 && b.closed:
			return nil
		}
		b.changed.Wait()
	}
}

// joinableWithFirst is how many images wait that can be in a batch with the first
// request; 1 where calls are not joined.
func (b *Batcher) joinableWithFirst() int {
	n := 0
	for _, r := range b.queue {
		if r.kind == b.queue[0].kind {
			n += r.count - r.taken
		}
		if !b.joins || n >= b.sizes[0] {
			break
		}
	}
	return n
}

// lingers tells whether a batch may still become larger, and sees to it that the
// worker looks again when it has waited long enough.
func (b *Batcher) lingers() bool {
	if b.options.MaxLinger == 0 || !b.joins || b.closed || b.joinableWithFirst() >= b.sizes[0] {
		return false
	}
	left := b.options.MaxLinger - time.Since(b.queue[0].arrived)
	if left <= 0 {
		return false
	}
	if b.alarm == nil {
		b.alarm = time.AfterFunc(left, func() {
			b.mu.Lock() // until the worker waits: it would miss what comes before
			defer b.mu.Unlock()
			b.alarm = nil
			b.changed.Broadcast()
		})
	}
	return true
}

// take takes as many images as one of the sizes has, of requests in their order
// and of the first one's kind.
func (b *Batcher) take() []part {
	available, kind := b.joinableWithFirst(), b.queue[0].kind
	left := b.sizes[slices.IndexFunc(b.sizes, func(size int) bool { return size <= available })]
	b.waiting -= left
	var parts []part
	b.queue = slices.DeleteFunc(b.queue, func(r *request) bool {
		if left == 0 || r.kind != kind {
			return false
		}
		n := min(r.count-r.taken, left)
		parts = append(parts, part{r, r.taken, n})
		r.taken += n
		left -= n
		return r.taken == r.count
	})
	if b.waiting > 0 { // another worker may be free
		b.changed.Signal()
	}
	return parts
}

// compute answers the parts of a batch.
func (b *Batcher) compute(parts []part) (n int, err error) {
	for _, p := range parts {
		n += p.count
	}
	outputs, err := b.call(parts)
	b.mu.Lock()
	defer b.mu.Unlock()
	for first := 0; len(parts) > 0; parts = parts[1:] {
		p := parts[0]
		own := outputs
		if err == nil && p.count < n {
			own, err = rows(outputs, first, p.count)
		}
		first += p.count
		if err != nil {
			b.remove(p.request)
			p.fail(err)
			continue
		}
		p.results = append(p.results, result{p.first, own})
		if p.missing -= p.count; p.missing == 0 && p.err == nil {
			p.finish()
		}
	}
	return n, err
}

// call computes a batch.
func (b *Batcher) call(parts []part) (tensors, error) {
	inputs := make([]tensors, len(parts))
	for i, p := range parts {
		inputs[i] = p.inputs
		if p.count < p.request.count {
			var err error
			if inputs[i], err = rows(p.inputs, p.first, p.count); err != nil {
				return nil, err
			}
		}
	}
	joined, err := concat(inputs)
	if err != nil {
		return nil, err
	}
	return b.model.Call(context.Background(), b.options.Signature, joined)
}

// finish joins the results, which several workers may have found.
func (r *request) finish() {
	slices.SortFunc(r.results, func(a, b result) int { return cmp.Compare(a.first, b.first) })
	outputs := make([]tensors, len(r.results))
	for i, result := range r.results {
		outputs[i] = result.outputs
	}
	joined, err := concat(outputs)
	if err != nil {
		r.fail(err)
		return
	}
	r.outputs = joined
	close(r.done)
}

func (r *request) fail(err error) {
	if r.err == nil {
		r.err = err
		close(r.done)
	}
}

// checkAnswer asks for one image without anything on it. The answer must be as the
// signature says, and made of numbers. Where images may have several sizes, it
// asks for nothing.
func (b *Batcher) checkAnswer(ctx context.Context) error {
	inputs, ok, err := zeros(b.signature.Inputs, 1)
	if !ok || err != nil {
		return err
	}
	outputs, err := b.Call(ctx, inputs)
	if err != nil {
		return fmt.Errorf("check an answer: %w", err)
	}
	for _, s := range b.signature.Outputs {
		output := outputs[s.Name]
		if err := s.Check(output); err != nil {
			return fmt.Errorf("check an answer: %w", err)
		}
		if values, err := tensor.Values[float32](output); err == nil && slices.ContainsFunc(values, isNotFinite) {
			return fmt.Errorf("check an answer: %q is not made of finite numbers: its training has diverged", s.Name)
		}
	}
	return nil
}

func isNotFinite(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }

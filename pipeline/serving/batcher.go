package serving

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

// BatchOptions says how requests are joined. The zero value is fine.
type BatchOptions struct {
	// MaxBatch is how many images are computed at once at most; 0 means 64.
	MaxBatch int
	// MaxWaiting is how many images may wait; 0 means 16 batches. A request that
	// finds nobody waiting is taken, however large it is.
	MaxWaiting int
	// MaxLinger is how long a worker that is free waits for a batch to become full.
	// 0, which is best where requests come one after the other, means not at all:
	// batches are of what has come while the worker was busy.
	MaxLinger time.Duration
	// Workers is how many batches are computed at once; 0 means one, which has all
	// cores.
	Workers int
	// OnBatch hears of each batch, from the goroutine that computed it: how many
	// images it had, and how long it took.
	OnBatch func(images int, took time.Duration)
}

func (o BatchOptions) withDefaults() BatchOptions {
	o.MaxBatch = cmp.Or(o.MaxBatch, 64)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 16*o.MaxBatch)
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

// Batcher joins requests into batches. Its methods may be called from several
// goroutines.
type Batcher struct {
	model   pipeline.Model
	options BatchOptions
	shape   []int // of an image
	sizes   []int // that batches may have, descending

	mu      sync.Mutex
	changed sync.Cond // of the queue, or closed
	queue   []*request
	waiting int // images in the queue
	closed  bool
	workers sync.WaitGroup
}

// request is what one call of Predict asks for.
type request struct {
	ctx     context.Context
	images  []byte
	count   int // of images
	arrived time.Time
	taken   int           // images that batches have taken
	missing int           // images without a result
	rows    [][]float32   // the results
	err     error         // instead
	done    chan struct{} // closed when there is a result or an error
}

// part is some images of a request, in a batch.
type part struct {
	*request
	first, count int
}

// NewBatcher starts the workers. The model must give probabilities, float32
// [N,classes], for images, uint8 [N,H,W,C].
func NewBatcher(model pipeline.Model, o BatchOptions) (*Batcher, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	shape, err := pipeline.PredictShape(model)
	if err != nil {
		return nil, err
	}
	b := &Batcher{model: model, options: o, shape: shape, sizes: batchSizes(o.MaxBatch)}
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

// Warm computes a batch of each size, the largest first, so that no request waits
// for what a model does only once.
func (b *Batcher) Warm(ctx context.Context) error {
	for _, n := range b.sizes {
		images, err := tensor.FromBytes(tensor.Uint8, make([]byte, n*b.imageSize()), append([]int{n}, b.shape...)...)
		if err != nil {
			return err
		}
		if _, err := pipeline.Predict(ctx, b.model, images); err != nil {
			return fmt.Errorf("warm up with %d images: %w", n, err)
		}
	}
	return nil
}

// Waiting returns how many images wait.
func (b *Batcher) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// Predict returns the probabilities for images, uint8 [N,H,W,C]: a row for each.
// ErrOverloaded and ErrClosed may be in the error's chain, and the context's
// error where that ended first.
func (b *Batcher) Predict(ctx context.Context, images tensor.Tensor) ([][]float32, error) {
	if images.DType() != tensor.Uint8 || len(images.Shape()) != 1+len(b.shape) || !slices.Equal(images.Shape()[1:], b.shape) {
		return nil, fmt.Errorf("predict: images are %v %v, the model takes uint8 %v", images.DType(), images.Shape(), append([]int{tensor.AnySize}, b.shape...))
	}
	r := &request{
		ctx: ctx, images: images.Bytes(), count: images.Shape()[0], missing: images.Shape()[0],
		rows: make([][]float32, images.Shape()[0]), arrived: time.Now(), done: make(chan struct{}),
	}
	if r.count == 0 {
		return r.rows, nil
	}
	if err := b.enqueue(r); err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	select {
	case <-r.done:
		return r.rows, r.err
	case <-ctx.Done():
		b.drop(r)
		return nil, fmt.Errorf("predict: %w", context.Cause(ctx))
	}
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
		return fmt.Errorf("%w: %d, of at most %d", ErrOverloaded, b.waiting, b.options.MaxWaiting)
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

// lingers tells whether a batch may still become larger, and sees to it that the
// worker looks again when it has waited long enough.
func (b *Batcher) lingers() bool {
	if b.options.MaxLinger == 0 || b.closed || b.waiting >= b.options.MaxBatch {
		return false
	}
	left := b.options.MaxLinger - time.Since(b.queue[0].arrived)
	if left <= 0 {
		return false
	}
	time.AfterFunc(left, func() {
		b.mu.Lock() // until the worker waits: it would miss what comes before
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})
	return true
}

// take takes as many images as one of the sizes has, of requests in their order.
func (b *Batcher) take() []part {
	size := b.sizes[slices.IndexFunc(b.sizes, func(size int) bool { return size <= b.waiting })]
	b.waiting -= size
	var parts []part
	for size > 0 {
		r := b.queue[0]
		n := min(r.count-r.taken, size)
		parts = append(parts, part{r, r.taken, n})
		r.taken += n
		size -= n
		if r.taken == r.count {
			b.queue = b.queue[1:]
		}
	}
	if b.waiting > 0 { // another worker may be free
		b.changed.Signal()
	}
	return parts
}

// compute answers the parts of a batch.
func (b *Batcher) compute(parts []part) (n int, err error) {
	size := b.imageSize()
	var pixels []byte
	for _, p := range parts {
		n += p.count
		own := p.images[p.first*size : (p.first+p.count)*size]
		if len(parts) == 1 {
			pixels = own
		} else {
			pixels = append(pixels, own...)
		}
	}
	images, err := tensor.FromBytes(tensor.Uint8, pixels, append([]int{n}, b.shape...)...)
	var rows [][]float32
	if err == nil {
		rows, err = pipeline.Predict(context.Background(), b.model, images)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range parts {
		if err != nil {
			b.remove(p.request)
			p.fail(err)
			continue
		}
		copy(p.rows[p.first:], rows[:p.count])
		rows = rows[p.count:]
		if p.missing -= p.count; p.missing == 0 && p.err == nil {
			close(p.done)
		}
	}
	return n, err
}

func (r *request) fail(err error) {
	if r.err == nil {
		r.err = err
		close(r.done)
	}
}

func (b *Batcher) imageSize() int {
	size := 1
	for _, side := range b.shape {
		size *= side
	}
	return size
}

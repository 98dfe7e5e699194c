package features

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Source is the data that features are computed of, such as *dataset.Examples.
type Source interface {
	pipeline.Data
	// Label returns the class of example i.
	Label(i int) int
	// Fingerprint tells the data from any other, but for what it does not look
	// into: Modified tells that from what it was before it was changed.
	Fingerprint() string
	Modified() string
}

// Rows are the features of a split's examples, in the orders that the examples
// themselves come in. The Images of their batches are float32 [n,features].
type Rows struct {
	Path     string // of the file that they are in
	Computed bool   // by this process; false where they were there already

	source Source
	width  int    // features of an example
	array  *array // of all
}

var _ pipeline.Whole = (*Rows)(nil)

// Len returns the number of examples.
func (r *Rows) Len() int { return r.source.Len() }

// Fingerprint is that of the examples.
func (r *Rows) Fingerprint() string { return r.source.Fingerprint() }

// Size is how many bytes all features take.
func (r *Rows) Size() int64 { return int64(r.Len()) * int64(r.width*tensor.Float32.Size()) }

// All returns a copy of all features, float32 [N,features], and labels, int64 [N].
func (r *Rows) All(context.Context) (features, labels tensor.Tensor, err error) {
	batch, err := r.gather(dataset.BatchOptions{NoShuffle: true}.Order(r.Len()))
	return batch.Images, batch.Labels, err
}

// Close gives the file back. Rows must not be used any more then; the batches
// that they gave may.
func (r *Rows) Close() error { return r.array.Close() }

// Batches returns the batches of one epoch in order, the examples in each those
// that dataset.Examples.Batches has in it.
func (r *Rows) Batches(ctx context.Context, o dataset.BatchOptions) iter.Seq2[dataset.Batch, error] {
	size := cmp.Or(o.Size, dataset.DefaultBatchSize)
	return func(yield func(dataset.Batch, error) bool) {
		if size < 0 || o.Start < 0 {
			yield(dataset.Batch{}, fmt.Errorf("read features: neither size %d nor start %d may be negative", size, o.Start))
			return
		}
		order, count := o.Order(r.Len()), dataset.BatchCount(r.Len(), size)
		for index := o.Start; index < count; index++ {
			batch, err := r.gather(order[index*size : min((index+1)*size, len(order))])
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(dataset.Batch{}, err)
				return
			}
			batch.Epoch, batch.Index, batch.Count = o.Epoch, index, count
			if !yield(batch, nil) {
				return
			}
		}
	}
}

// gather copies the rows of the chosen examples.
func (r *Rows) gather(chosen []int) (batch dataset.Batch, err error) {
	features, err := r.array.rows(chosen, r.width*tensor.Float32.Size())
	if err != nil {
		return dataset.Batch{}, fmt.Errorf("read features: %w", err)
	}
	labels := make([]int64, len(chosen))
	for i, example := range chosen {
		labels[i] = int64(r.source.Label(example))
	}
	batch.Examples = chosen
	if batch.Images, err = tensor.FromBytes(tensor.Float32, features, len(chosen), r.width); err != nil {
		return dataset.Batch{}, err
	}
	batch.Labels, err = tensor.Of(labels, len(chosen))
	return batch, err
}

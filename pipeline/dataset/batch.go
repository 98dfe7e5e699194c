package dataset

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Batch is what one training step takes.
type Batch struct {
	Images tensor.Tensor // uint8 [n,H,W,C]; of features.Rows float32 [n,features]
	Labels tensor.Tensor // int64 [n]
	// Examples are the indexes of the n examples in their split.
	Examples []int
	Epoch    int
	Index    int // of the batch in its epoch, from 0
	Count    int // of batches in the epoch
}

// Len returns the number of examples.
func (b Batch) Len() int { return len(b.Examples) }

// BatchOptions choose the batches of an epoch.
type BatchOptions struct {
	Size  int   // examples in a batch, 64 by default; the last may have fewer
	Seed  int64 // with Epoch, decides the order
	Epoch int   // any number from 0; the train loop counts from 1
	// NoShuffle keeps path order: classes sorted, file names sorted.
	NoShuffle bool
	// Start is the first batch. Those before it are not read.
	Start int
	// Ahead is how many batches are made ready before they are asked for; 2 by
	// default.
	Ahead int
}

// DefaultBatchSize is what a batch size of 0 means, here and in training.
const DefaultBatchSize = 64

const defaultAhead = 2

// BatchCount returns how many batches of a positive size n examples make, the
// last short one included.
func BatchCount(n, size int) int {
	if n <= 0 {
		return 0
	}
	return (n-1)/size + 1
}

func (o BatchOptions) withDefaults() (BatchOptions, error) {
	for _, field := range []struct {
		name  string
		value int
	}{{"size", o.Size}, {"epoch", o.Epoch}, {"start", o.Start}, {"ahead", o.Ahead}} {
		if field.value < 0 {
			return o, fmt.Errorf("read batches: %s %d is negative", field.name, field.value)
		}
	}
	o.Size = cmp.Or(o.Size, DefaultBatchSize)
	o.Ahead = cmp.Or(o.Ahead, defaultAhead)
	return o, nil
}

// BatchCount returns the number of batches of an epoch, the last short one
// included. A size of 0 stands for the default, as in BatchOptions.
func (e *Examples) BatchCount(size int) int {
	return BatchCount(e.Len(), cmp.Or(max(size, 0), DefaultBatchSize))
}

// Batches returns the batches of one epoch in order. Each has memory of its
// own, which the caller may keep. Ranging again starts again.
func (e *Examples) Batches(ctx context.Context, o BatchOptions) iter.Seq2[Batch, error] {
	o, err := o.withDefaults()
	if err == nil && o.Start > e.BatchCount(o.Size) {
		err = fmt.Errorf("read batches: start %d is beyond the %d batches of the epoch", o.Start, e.BatchCount(o.Size))
	}
	if err != nil {
		return func(yield func(Batch, error) bool) { yield(Batch{}, err) }
	}
	return prefetch(ctx, o.Ahead, func() nextBatch { return e.epoch(o) })
}

// epoch returns a function that makes the epoch's batches in turn.
func (e *Examples) epoch(o BatchOptions) nextBatch {
	order, count, index := o.Order(e.Len()), e.BatchCount(o.Size), o.Start
	return func(ctx context.Context) (Batch, bool, error) {
		if index == count {
			return Batch{}, false, nil
		}
		chosen := order[index*o.Size : min((index+1)*o.Size, len(order))]
		batch, err := e.gather(ctx, chosen)
		if err != nil {
			return Batch{}, true, err
		}
		batch.Epoch, batch.Index, batch.Count = o.Epoch, index, count
		index++
		return batch, true, nil
	}
}

// Order returns the indexes of n examples in the order in which the epoch visits
// them.
func (o BatchOptions) Order(n int) []int {
	if o.NoShuffle {
		return pathOrder(n)
	}
	return Order(n, o.Seed, o.Epoch)
}

// gather reads the chosen examples side by side.
func (e *Examples) gather(ctx context.Context, chosen []int) (Batch, error) {
	n, size := len(chosen), e.shape.Size()
	pixels := make([]byte, n*size)
	labels := make([]int64, n)
	err := forEach(ctx, n, func(i int) error {
		labels[i] = int64(e.Label(chosen[i]))
		return e.Read(chosen[i], pixels[i*size:][:size])
	})
	if err != nil {
		return Batch{}, err
	}
	batch := Batch{Examples: chosen}
	if batch.Images, err = tensor.Of(pixels, n, e.shape.Height, e.shape.Width, e.shape.Channels); err != nil {
		return Batch{}, err
	}
	batch.Labels, err = tensor.Of(labels, n)
	return batch, err
}

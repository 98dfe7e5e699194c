package benchmark

import (
	"context"
	"iter"
	"math/rand/v2"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

// noise makes a batch of random images with random labels.
func (b Bench) noise(n int) (batch dataset.Batch, err error) {
	random := rand.New(rand.NewPCG(1, 2))
	pixels := make([]byte, n*b.Shape.Size())
	for i := range pixels {
		pixels[i] = byte(random.Uint32())
	}
	labels := make([]int64, n)
	for i := range labels {
		labels[i] = random.Int64N(int64(b.Classes))
	}
	if batch.Images, err = tensor.Of(pixels, n, b.Shape.Height, b.Shape.Width, b.Shape.Channels); err != nil {
		return batch, err
	}
	batch.Labels, err = tensor.Of(labels, n)
	return batch, err
}

// repeated is data that gives one batch again and again.
type repeated struct {
	batch dataset.Batch
	times int
}

func (r repeated) Len() int { return r.times * r.batch.Labels.Shape()[0] }

func (r repeated) Batches(context.Context, dataset.BatchOptions) iter.Seq2[dataset.Batch, error] {
	return func(yield func(dataset.Batch, error) bool) {
		for range r.times {
			if !yield(r.batch, nil) {
				return
			}
		}
	}
}

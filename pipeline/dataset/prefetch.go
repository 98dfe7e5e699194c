package dataset

import (
	"context"
	"iter"
)

// prefetch calls next in a goroutine beside the loop, up to ahead batches
// before they are asked for. The goroutine has ended when the loop has,
// however it ends.
func prefetch(ctx context.Context, ahead int, start func() nextBatch) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		working, stop := context.WithCancel(ctx)
		results := make(chan result, ahead-1) // one more is in the sender's hands
		go func() {
			defer close(results)
			produce(working, start(), results)
		}()
		defer func() {
			stop()
			for range results { // until it is closed
			}
		}()
		for r := range results {
			// A batch that was ready when the context ended is not handed out:
			// the loop must not go on.
			if err := ctx.Err(); err != nil {
				break
			}
			if !yield(r.batch, r.err) || r.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Batch{}, err)
		}
	}
}

// nextBatch makes one batch after the other, and false after the last.
type nextBatch func(context.Context) (Batch, bool, error)

type result struct {
	batch Batch
	err   error
}

func produce(ctx context.Context, next nextBatch, results chan<- result) {
	for {
		batch, more, err := next(ctx)
		if !more {
			return
		}
		select {
		case results <- result{batch, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

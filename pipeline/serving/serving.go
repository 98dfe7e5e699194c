// Package serving answers requests for predictions that come from many sides at
// once.
//
// # Basics
//
// A Batcher joins what waits into batches, which a model computes in less time
// than single images:
//
//	batcher, err := serving.NewBatcher(model, serving.BatchOptions{})
//	if err != nil {
//		return err
//	}
//	defer batcher.Close(context.Background())
//	probabilities, err := batcher.Predict(ctx, images) // from any goroutine
//
// # Caveats
//
// A batch that has begun is finished: TensorFlow cannot be interrupted. Requests
// whose context ends before are dropped.
package serving

import "errors"

var (
	// ErrOverloaded is in the chain of the error where as many images wait as may.
	ErrOverloaded = errors.New("too many images wait")
	// ErrClosed is in the chain of the error after Close.
	ErrClosed = errors.New("closed for further requests")
)

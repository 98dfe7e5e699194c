// Package serving answers requests for predictions that come from many sides at
// once.
//
// # Basics
//
// A Server speaks the protocols that clients of TensorFlow Serving, KServe and
// Triton speak, over HTTP and gRPC:
//
//	server, err := serving.New(model, serving.Options{Name: "cifar", Classes: classes})
//	if err != nil {
//		return err
//	}
//	defer server.Close(context.Background())
//	return http.ListenAndServe("127.0.0.1:8501", server)
//
// NewServer, Load and Unload serve several models, and versions of them; Follow
// does so with those in a folder. Register adds the gRPC services to a
// *grpc.Server.
//
// A Batcher is what is below, without any network: it joins what waits into
// batches, which a model computes in less time than single images.
//
//	batcher, err := serving.NewBatcher(model, serving.BatchOptions{})
//	if err != nil {
//		return err
//	}
//	defer batcher.Close(context.Background())
//	probabilities, err := batcher.Predict(ctx, images) // from any goroutine
//
// The paths are in docs/serving.md.
//
// # Caveats
//
// A batch that has begun is finished: TensorFlow cannot be interrupted. Requests
// whose context ends before are dropped.
//
// Server bounds what a request may cost once it is read. How long headers may
// take, and how many connections there may be, is for the http.Server around it.
package serving

import "errors"

var (
	// ErrOverloaded is in the chain of the error where as many images wait as may, or as
	// many requests are worked on.
	ErrOverloaded = errors.New("overloaded")
	// ErrInput is in the chain of errors about tensors that a function does not take.
	ErrInput = errors.New("wrong input")
	// ErrClosed is in the chain of the error after Close.
	ErrClosed = errors.New("closed for further requests")
	// ErrNotFound is in the chain of errors about a model or version that is not served.
	ErrNotFound = errors.New("not served")
	// ErrUnauthorized is in the chain of the error about a request without the token.
	ErrUnauthorized = errors.New("the token is missing or wrong")
	// ErrNotImplemented is in the chain of errors about what other servers do and this one
	// does not.
	ErrNotImplemented = errors.New("not implemented")
)

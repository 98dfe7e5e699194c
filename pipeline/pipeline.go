// Package pipeline trains, evaluates and asks a model, one batch at a time.
//
// # Basics
//
// There are only a few types. A Model is anything with functions called by
// name (savedmodel.Model is one), Data is anything that gives batches
// (dataset.Examples is one). Fit runs whole epochs and tells Callbacks of
// every step; Steps is the same loop for those who write its body themselves:
//
//	for step, err := range pipeline.Steps(ctx, model, data, pipeline.Options{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(step.Number, step.Loss)
//	}
//
// Evaluate measures a model on examples, Predict asks it for probabilities.
//
// # Caveats
//
// A step that has begun is finished: TensorFlow cannot be interrupted, so a
// cancelled context ends a run between two steps. The model then has the
// weights of the last step that the caller was told of. With Options.Hold that is so
// behind a step whose Ahead is 0: Fit ends a run there, and who leaves Steps elsewhere has a
// model that is ahead.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

// The signatures that a model is asked for, and the names of their tensors.
// python_export/contract.json is the table that both languages read.
const (
	TrainSignature      = "train"
	AccumulateSignature = "train_accumulate" // what TrainSignature does, in parts and at other sizes
	EvaluateSignature   = "evaluate"
	PredictSignature    = "serving_default"

	ImagesInput         = "images"           // uint8 [N,H,W,C]
	labelsInput         = "labels"           // int64 [N]
	learningRateInput   = "learning_rate"    // float32 []
	microBatchSizeInput = "micro_batch_size" // int64 []
	UpsampleInput       = "upsample"         // int64 [], 0 for the model's own
	seedInput           = "seed"             // int64 [2]

	lossOutput          = "loss"          // float32 [], mean over the batch
	lossSumOutput       = "loss_sum"      // float32 [], sum over the batch
	correctOutput       = "correct"       // int64 []
	gradNormOutput      = "grad_norm"     // float32 []
	predictionsOutput   = "predictions"   // int64 [N]
	ProbabilitiesOutput = "probabilities" // float32 [N,classes]
)

// Model has functions that are called by name.
type Model interface {
	// Signature describes a function; false if the model has none of that name.
	Signature(name string) (tensor.Signature, bool)
	// Call runs a function and returns all its outputs by name.
	Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error)
}

// Data gives the batches of an epoch. The same options give the same batches.
type Data interface {
	// Len returns the number of examples.
	Len() int
	Batches(ctx context.Context, o dataset.BatchOptions) iter.Seq2[dataset.Batch, error]
}

// ErrNoSignature is in the chain of errors about a function that a model lacks.
var ErrNoSignature = errors.New("the model has no such signature")

// signature returns the named function's description, having checked that the
// loop can feed all its inputs and finds all the outputs it reads.
func signature(model Model, name string, feeds, fetches []string) (tensor.Signature, error) {
	sig, ok := model.Signature(name)
	if !ok {
		return sig, fmt.Errorf("find signature %q: %w", name, ErrNoSignature)
	}
	known := map[string]bool{}
	for _, feed := range feeds {
		known[feed] = true
	}
	for _, input := range sig.Inputs {
		if !known[input.Name] {
			return sig, fmt.Errorf("check signature %q: it wants an input %q that this program does not know; it knows %q", name, input.Name, feeds)
		}
	}
	for _, fetch := range fetches {
		if _, ok := tensor.Find(sig.Outputs, fetch); !ok {
			return sig, fmt.Errorf("check signature %q: it has no output %q, only %q", name, fetch, tensor.Names(sig.Outputs))
		}
	}
	return sig, nil
}

// reader reads scalars from a call's outputs. It keeps the first error.
type reader struct {
	outputs map[string]tensor.Tensor
	err     error
}

func (r *reader) float(name string) float64 {
	return float64(item[float32](r, name))
}

func (r *reader) count(name string) int {
	return int(item[int64](r, name))
}

// column reads n values. Where there is an error it returns zeros.
func column[T tensor.Element](r *reader, name string, n int) []T {
	values, err := tensor.Values[T](r.outputs[name])
	if err == nil && len(values) != n {
		err = fmt.Errorf("it has %d values, expected %d", len(values), n)
	}
	if err == nil {
		return values
	}
	if r.err == nil {
		r.err = fmt.Errorf("read output %q: %w", name, err)
	}
	return make([]T, n)
}

func item[T tensor.Element](r *reader, name string) T {
	value, err := tensor.Item[T](r.outputs[name])
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("read output %q: %w", name, err)
	}
	return value
}

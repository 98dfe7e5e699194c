package pipeline

import (
	"context"
	"fmt"
	"math"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

// EvaluateOptions says how to evaluate. The zero value is fine.
type EvaluateOptions struct {
	BatchSize int                  // 0 means 64
	Classes   int                  // the model's; 0 means that no confusion matrix is wanted
	OnBatch   func(TestStep) error // hears of each batch; an error ends the evaluation
}

// Evaluation is what a model made of a set of examples.
type Evaluation struct {
	Metrics
	// Confusion counts examples: Confusion[label][prediction]; nil without
	// EvaluateOptions.Classes.
	Confusion [][]int
}

// PerClass returns the share of each class's examples that were recognised, by
// label; 0 for a class without examples.
func (e Evaluation) PerClass() []float64 {
	accuracy := make([]float64, len(e.Confusion))
	for label, row := range e.Confusion {
		total := 0
		for _, n := range row {
			total += n
		}
		if total > 0 {
			accuracy[label] = float64(row[label]) / float64(total)
		}
	}
	return accuracy
}

// Evaluate measures a model on all of data, in data's own order, without
// changing it. The loss is the mean over examples, as Keras's evaluate counts
// it.
func Evaluate(ctx context.Context, model Model, data Data, o EvaluateOptions) (Evaluation, error) {
	e, err := newEvaluator(model, data, o)
	if err != nil {
		return Evaluation{}, err
	}
	order := dataset.BatchOptions{Size: e.options.BatchSize, NoShuffle: true}
	batches := dataset.BatchCount(data.Len(), order.Size)
	position := 0
	for batch, err := range data.Batches(ctx, order) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = e.batch(ctx, batch)
		}
		if err != nil {
			return Evaluation{}, err
		}
		position++
		if o.OnBatch == nil {
			continue
		}
		if err := o.OnBatch(TestStep{Batch: position, Batches: batches, Mean: e.mean.metrics()}); err != nil {
			return Evaluation{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Evaluation{}, err
	}
	if position != batches {
		return Evaluation{}, fmt.Errorf("evaluate model: the data ended after %d of %d batches", position, batches)
	}
	return Evaluation{Metrics: e.mean.metrics(), Confusion: e.confusion}, nil
}

type evaluator struct {
	model     Model
	options   EvaluateOptions
	mean      mean
	confusion [][]int
}

func newEvaluator(model Model, data Data, o EvaluateOptions) (*evaluator, error) {
	if o.BatchSize == 0 {
		o.BatchSize = dataset.DefaultBatchSize
	}
	if o.BatchSize < 0 {
		return nil, fmt.Errorf("check options: batch size must be positive, not %d", o.BatchSize)
	}
	if o.Classes < 0 {
		return nil, fmt.Errorf("check options: classes must not be negative, not %d", o.Classes)
	}
	if data.Len() == 0 {
		return nil, fmt.Errorf("evaluate model: there are no examples")
	}
	_, err := signature(model, EvaluateSignature,
		[]string{imagesInput, labelsInput},
		[]string{lossSumOutput, correctOutput, predictionsOutput})
	if err != nil {
		return nil, err
	}
	e := &evaluator{model: model, options: o}
	for range o.Classes {
		e.confusion = append(e.confusion, make([]int, o.Classes))
	}
	return e, nil
}

func (e *evaluator) batch(ctx context.Context, batch dataset.Batch) error {
	outputs, err := e.model.Call(ctx, EvaluateSignature, map[string]tensor.Tensor{
		imagesInput: batch.Images,
		labelsInput: batch.Labels,
	})
	if err != nil {
		return fmt.Errorf("evaluate batch %d: %w", batch.Index+1, err)
	}
	r := reader{outputs: outputs}
	lossSum, correct := r.float(lossSumOutput), r.count(correctOutput)
	if r.err != nil {
		return fmt.Errorf("evaluate batch %d: %w", batch.Index+1, r.err)
	}
	if math.IsNaN(lossSum) || math.IsInf(lossSum, 0) {
		return &NonFiniteError{Batch: batch.Index + 1, Loss: lossSum}
	}
	labels, err := tensor.Values[int64](batch.Labels)
	if err != nil {
		return fmt.Errorf("evaluate batch %d: %w", batch.Index+1, err)
	}
	predictions, err := tensor.Values[int64](outputs[predictionsOutput])
	switch {
	case err != nil:
		err = fmt.Errorf("read output %q: %w", predictionsOutput, err)
	case len(predictions) != len(labels):
		err = fmt.Errorf("%d predictions for %d labels", len(predictions), len(labels))
	default:
		err = e.count(labels, predictions)
	}
	if err != nil {
		return fmt.Errorf("evaluate batch %d: %w", batch.Index+1, err)
	}
	e.mean.add(lossSum, correct, len(labels))
	return nil
}

// count fills the confusion matrix, if one is wanted.
func (e *evaluator) count(labels, predictions []int64) error {
	classes := int64(e.options.Classes)
	if classes == 0 {
		return nil
	}
	for i, label := range labels {
		if min(label, predictions[i]) < 0 || max(label, predictions[i]) >= classes {
			return fmt.Errorf("label %d was predicted as %d: there are %d classes", label, predictions[i], classes)
		}
		e.confusion[label][predictions[i]]++
	}
	return nil
}

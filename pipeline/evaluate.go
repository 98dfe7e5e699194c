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
	Classes   int                  // the model's; 0 means that nothing is counted by class
	OnBatch   func(TestStep) error // hears of each batch; an error ends the evaluation
}

// MaxConfusion is the most classes that a confusion matrix is counted for: it
// grows with their square.
const MaxConfusion = 1000

// Evaluation is what a model made of a set of examples.
type Evaluation struct {
	Metrics
	// PerClass counts by label; nil without EvaluateOptions.Classes.
	PerClass []Tally
	// Confusion counts examples: Confusion[label][prediction]; nil without
	// EvaluateOptions.Classes, and for more than MaxConfusion of them.
	Confusion [][]int
}

// Tally counts the examples of one class.
type Tally struct{ Correct, Examples int }

// Accuracy is the share that was recognised, 0 to 1; 0 where there are no
// examples.
func (t Tally) Accuracy() float64 {
	return float64(t.Correct) / float64(max(1, t.Examples))
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
	return Evaluation{Metrics: e.mean.metrics(), PerClass: e.perClass, Confusion: e.confusion}, nil
}

type evaluator struct {
	model     Model
	options   EvaluateOptions
	mean      mean
	perClass  []Tally
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
		[]string{ImagesInput, labelsInput},
		[]string{lossSumOutput, correctOutput, predictionsOutput})
	if err != nil {
		return nil, err
	}
	e := &evaluator{model: model, options: o}
	if o.Classes > 0 {
		e.perClass = make([]Tally, o.Classes)
	}
	if o.Classes <= MaxConfusion {
		for range o.Classes {
			e.confusion = append(e.confusion, make([]int, o.Classes))
		}
	}
	return e, nil
}

func (e *evaluator) batch(ctx context.Context, batch dataset.Batch) error {
	outputs, err := e.model.Call(ctx, EvaluateSignature, map[string]tensor.Tensor{
		ImagesInput: batch.Images,
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

// count counts examples by class, if that is wanted.
func (e *evaluator) count(labels, predictions []int64) error {
	classes := int64(e.options.Classes)
	if classes == 0 {
		return nil
	}
	for i, label := range labels {
		prediction := predictions[i]
		if min(label, prediction) < 0 || max(label, prediction) >= classes {
			return fmt.Errorf("label %d was predicted as %d: there are %d classes", label, prediction, classes)
		}
		e.perClass[label].Examples++
		if label == prediction {
			e.perClass[label].Correct++
		}
		if e.confusion != nil {
			e.confusion[label][prediction]++
		}
	}
	return nil
}

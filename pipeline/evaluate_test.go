package pipeline_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

var inf = math.Inf(1)

func TestEvaluateMeansAreOverExamples(t *testing.T) {
	model := newScripted()
	model.evaluate = func(batch int, labels []int64) map[string]tensor.Tensor {
		out := answers(labels, labels)
		out["loss_sum"] = tensor.Scalar([]float32{4, 8, 10}[batch-1]) // of 4, 4 and 2 examples
		return out
	}
	got, err := pipeline.Evaluate(t.Context(), model, &examples{n: 10}, pipeline.EvaluateOptions{BatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	if want := (pipeline.Metrics{Loss: 2.2, Accuracy: 1, Correct: 10, Examples: 10}); got.Metrics != want {
		t.Errorf("Evaluate = %+v, want %+v", got.Metrics, want)
	}
}

func TestEvaluateCountsConfusion(t *testing.T) {
	model := newScripted()
	model.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
		predictions := make([]int64, len(labels))
		for i, label := range labels {
			predictions[i] = map[int64]int64{0: 0, 1: 2, 2: 2}[label]
		}
		return answers(labels, predictions)
	}
	for classes, want := range map[int][][]int{
		0: nil,
		3: {{3, 0, 0}, {0, 0, 2}, {0, 0, 2}},
		5: {{3, 0, 0, 0, 0}, {0, 0, 2, 0, 0}, {0, 0, 2, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}},
	} {
		got, err := pipeline.Evaluate(t.Context(), model, &examples{n: 7}, pipeline.EvaluateOptions{BatchSize: 3, Classes: classes})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Confusion); diff != "" {
			t.Errorf("%d classes (-want +got):\n%s", classes, diff)
		}
		if got.Correct != 5 {
			t.Errorf("%d correct, want 5", got.Correct)
		}
	}
}

func TestEvaluateCountsByClass(t *testing.T) {
	model := newScripted()
	model.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
		predictions := slices.Clone(labels)
		predictions[0] = 1
		return answers(labels, predictions)
	}
	for _, classes := range []int{4, pipeline.MaxConfusion, pipeline.MaxConfusion + 1} {
		got, err := pipeline.Evaluate(t.Context(), model, &examples{n: 7}, pipeline.EvaluateOptions{BatchSize: 7, Classes: classes})
		if err != nil {
			t.Fatal(err)
		}
		want := []pipeline.Tally{{Correct: 2, Examples: 3}, {Correct: 2, Examples: 2}, {Correct: 2, Examples: 2}, {}}
		if diff := cmp.Diff(want, got.PerClass[:4]); diff != "" || len(got.PerClass) != classes {
			t.Errorf("%d tallies of %d classes (-want +got):\n%s", len(got.PerClass), classes, diff)
		}
		if got := got.Confusion != nil; got != (classes <= pipeline.MaxConfusion) {
			t.Errorf("%d classes have a confusion matrix: %t", classes, got)
		}
	}
	if got := []float64{(pipeline.Tally{}).Accuracy(), (pipeline.Tally{Correct: 3, Examples: 4}).Accuracy()}; !cmp.Equal([]float64{0, 0.75}, got) {
		t.Errorf("accuracies are %v", got)
	}
}

func TestEvaluateReadsInTheDatasOrder(t *testing.T) {
	data := &examples{n: 10}
	model := newScripted()
	if _, err := pipeline.Evaluate(t.Context(), model, data, pipeline.EvaluateOptions{BatchSize: 4}); err != nil {
		t.Fatal(err)
	}
	var labels []int64
	for _, c := range model.calls {
		batch, _ := tensor.Values[int64](c.inputs["labels"])
		labels = append(labels, batch...)
		if len(c.inputs) != 2 || c.name != "evaluate" {
			t.Errorf("%q was called with %d inputs", c.name, len(c.inputs))
		}
	}
	if diff := cmp.Diff([]int64{0, 1, 2, 0, 1, 2, 0, 1, 2, 0}, labels); diff != "" {
		t.Error(diff)
	}
}

func TestEvaluateTellsOfBatches(t *testing.T) {
	var got []pipeline.TestStep
	_, err := pipeline.Evaluate(t.Context(), newScripted(), &examples{n: 10}, pipeline.EvaluateOptions{BatchSize: 4, OnBatch: func(s pipeline.TestStep) error {
		got = append(got, s)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[2].Batch != 3 || got[2].Batches != 3 || got[2].Epoch != 0 || got[2].Mean.Examples != 10 || got[0].Mean.Examples != 4 {
		t.Errorf("told of %+v", got)
	}
}

func TestEvaluateEndsWithTheErrorOfOnBatch(t *testing.T) {
	model := newScripted()
	_, err := pipeline.Evaluate(t.Context(), model, &examples{n: 10}, pipeline.EvaluateOptions{BatchSize: 4, OnBatch: func(pipeline.TestStep) error { return errBroken }})
	if !errors.Is(err, errBroken) || model.evaluations != 1 {
		t.Errorf("Evaluate = %v after %d batches", err, model.evaluations)
	}
}

func TestEvaluateHasADefaultBatchSize(t *testing.T) {
	data := &examples{n: 65}
	model := newScripted()
	if _, err := pipeline.Evaluate(t.Context(), model, data, pipeline.EvaluateOptions{}); err != nil || model.evaluations != 2 {
		t.Errorf("%d batches, %v", model.evaluations, err)
	}
}

func TestEvaluateCancelledNeverLooksFinished(t *testing.T) {
	for cancelAfter := 0; cancelAfter <= 3; cancelAfter++ {
		ctx, cancel := context.WithCancel(t.Context())
		if cancelAfter == 0 {
			cancel()
		}
		batches := 0
		got, err := pipeline.Evaluate(ctx, newScripted(), &examples{n: 12}, pipeline.EvaluateOptions{BatchSize: 4, OnBatch: func(pipeline.TestStep) error {
			if batches++; batches == cancelAfter {
				cancel()
			}
			return nil
		}})
		cancel()
		if !errors.Is(err, context.Canceled) || got.Examples != 0 || batches != cancelAfter {
			t.Errorf("cancelled after %d batches: %+v, %v", cancelAfter, got, err)
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	with := func(change func(*scripted)) *scripted {
		m := newScripted()
		change(m)
		return m
	}
	output := func(name string, value tensor.Tensor) *scripted {
		return with(func(m *scripted) {
			m.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
				out := answers(labels, labels)
				out[name] = value
				return out
			}
		})
	}
	for name, tt := range map[string]struct {
		model *scripted
		data  *examples
		o     pipeline.EvaluateOptions
		want  func(error) bool
	}{
		"a negative batch size": {o: pipeline.EvaluateOptions{BatchSize: -2}, want: says("batch size must be positive, not -2")},
		"no examples":           {data: &examples{}, want: says("no examples")},
		"no signature":          {model: with(func(m *scripted) { delete(m.signatures, "evaluate") }), want: is(pipeline.ErrNoSignature)},
		"an unknown input": {model: with(func(m *scripted) {
			sig := m.signatures["evaluate"]
			sig.Inputs = append(sig.Inputs, tensor.Spec{Name: "mask"})
			m.signatures["evaluate"] = sig
		}), want: says(`"mask"`)},
		"no output": {model: with(func(m *scripted) {
			sig := m.signatures["evaluate"]
			sig.Outputs = specs("correct", "loss_sum")
			m.signatures["evaluate"] = sig
		}), want: says(`no output "predictions"`)},
		"a failing model":             {model: with(func(m *scripted) { m.fail = func(int) error { return errBroken } }), want: is(errBroken)},
		"failing data":                {data: &examples{n: 8, broken: 2, err: errBroken}, want: is(errBroken)},
		"a loss of another type":      {model: output("loss_sum", tensor.Scalar(1.5)), want: says(`"loss_sum"`)},
		"a count of another type":     {model: output("correct", tensor.Scalar(int32(1))), want: says(`"correct"`)},
		"too few predictions":         {model: output("predictions", of([]int64{1}, 1)), want: says("1 predictions for 4 labels")},
		"predictions of another type": {model: output("predictions", of([]int32{1, 1, 1, 1}, 4)), want: says("predictions")},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.model == nil {
				tt.model = newScripted()
			}
			if tt.data == nil {
				tt.data = &examples{n: 8}
			}
			if tt.o.BatchSize == 0 {
				tt.o.BatchSize = 4
			}
			if _, err := pipeline.Evaluate(t.Context(), tt.model, tt.data, tt.o); !tt.want(err) {
				t.Errorf("Evaluate = %v", err)
			}
		})
	}
}

func TestEvaluateStopsAtALossThatIsNotFinite(t *testing.T) {
	model := newScripted()
	model.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
		out := answers(labels, labels)
		out["loss_sum"] = tensor.Scalar(float32(inf))
		return out
	}
	_, err := pipeline.Evaluate(t.Context(), model, &examples{n: 4}, pipeline.EvaluateOptions{})
	var diverged *pipeline.NonFiniteError
	if !errors.As(err, &diverged) || diverged.Batch != 1 || !strings.Contains(err.Error(), "the loss of test batch 1 is +Inf") {
		t.Errorf("Evaluate: %v", err)
	}
}

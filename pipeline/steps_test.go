package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// collect runs Steps to its end.
func collect(ctx context.Context, model pipeline.Model, data pipeline.Data, o pipeline.Options) ([]pipeline.Step, error) {
	var steps []pipeline.Step
	for step, err := range pipeline.Steps(ctx, model, data, o) {
		if err != nil {
			return steps, err
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func TestStepsCountsStepsBatchesAndEpochs(t *testing.T) {
	steps, err := collect(t.Context(), newScripted(), &examples{n: 10}, pipeline.Options{Epochs: 2, BatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 6 {
		t.Fatalf("%d steps, want 6", len(steps))
	}
	for i, s := range steps {
		examples := []int{4, 4, 2}[i%3] // the last batch is short
		if s.Number != i+1 || s.Epoch != i/3+1 || s.Batch != i%3+1 || s.Batches != 3 || s.Examples != examples {
			t.Errorf("step %d is %+v", i+1, s)
		}
		if s.Duration < s.Wait || s.Wait < 0 {
			t.Errorf("step %d took %v, of which it waited %v", i+1, s.Duration, s.Wait)
		}
	}
}

func TestStepsReadsTheModelsOutputs(t *testing.T) {
	model := newScripted()
	steps, err := collect(t.Context(), model, &examples{n: 8}, pipeline.Options{Epochs: 1, BatchSize: 8, LearningRate: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	s := steps[0]
	if s.Loss != 2 || s.Correct != 4 || s.Accuracy != 0.5 || s.GradNorm != 3 || s.LearningRate != 0.5 {
		t.Errorf("step is %+v", s)
	}
}

func TestStepsDoesWithoutGradNorm(t *testing.T) {
	model := newScripted()
	sig := model.signatures["train"]
	sig.Outputs = specs("correct", "loss")
	model.signatures["train"] = sig
	model.train = func(_, n int) map[string]tensor.Tensor {
		return map[string]tensor.Tensor{"loss": tensor.Scalar[float32](1), "correct": tensor.Scalar[int64](0)}
	}
	if steps, err := collect(t.Context(), model, &examples{n: 4}, pipeline.Options{Epochs: 1}); err != nil || len(steps) != 1 {
		t.Errorf("%d steps, %v", len(steps), err)
	}
}

func TestStepsWeighsMeansByExamples(t *testing.T) {
	model := newScripted()
	model.train = func(step, n int) map[string]tensor.Tensor {
		return map[string]tensor.Tensor{
			"loss":    tensor.Scalar([]float32{1, 3, 10}[step-1]), // of 4, 4 and 2 examples
			"correct": tensor.Scalar([]int64{4, 1, 0}[step-1]),
		}
	}
	steps, err := collect(t.Context(), model, &examples{n: 10}, pipeline.Options{Epochs: 1, BatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	want := []pipeline.Metrics{
		{Loss: 1, Accuracy: 1, Correct: 4, Examples: 4},
		{Loss: 2, Accuracy: 5. / 8, Correct: 5, Examples: 8},
		{Loss: 3.6, Accuracy: 0.5, Correct: 5, Examples: 10},
	}
	for i, s := range steps {
		if s.Mean != want[i] {
			t.Errorf("after step %d the mean is %+v, want %+v", i+1, s.Mean, want[i])
		}
	}
}

func TestStepsHasDefaults(t *testing.T) {
	model, data := newScripted(), &examples{n: 65}
	steps, err := collect(t.Context(), model, data, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 6 || steps[0].Examples != 64 || steps[5].Epoch != 3 || steps[0].LearningRate != 0.01 {
		t.Errorf("%d steps, the first is %+v", len(steps), steps[0])
	}
}

func TestStepsAsksForEachEpochsOrder(t *testing.T) {
	for _, noShuffle := range []bool{false, true} {
		data := &examples{n: 10}
		if _, err := collect(t.Context(), newScripted(), data, pipeline.Options{Epochs: 2, BatchSize: 4, Seed: 7, NoShuffle: noShuffle}); err != nil {
			t.Fatal(err)
		}
		if len(data.orders) != 2 {
			t.Fatalf("%d epochs were asked for", len(data.orders))
		}
		for i, o := range data.orders {
			if o.Size != 4 || o.Seed != 7 || o.NoShuffle != noShuffle || o.Start != 0 {
				t.Errorf("epoch %d was asked for with %+v", i+1, o)
			}
		}
		if data.orders[0].Epoch == data.orders[1].Epoch {
			t.Error("two epochs have one number, and so one order")
		}
	}
}

func TestStepsFeedsTheLearningRateAsFloat32(t *testing.T) {
	model := newScripted()
	if _, err := collect(t.Context(), model, &examples{n: 4}, pipeline.Options{Epochs: 1, LearningRate: 0.1}); err != nil {
		t.Fatal(err)
	}
	fed := model.calls[0].inputs["learning_rate"]
	if rate, err := tensor.Item[float32](fed); err != nil || rate != 0.1 || len(fed.Shape()) != 0 {
		t.Errorf("fed %v %v: %g, %v", fed.DType(), fed.Shape(), rate, err)
	}
}

func TestStepsFeedsSeedsToModelsThatWantThem(t *testing.T) {
	model := newScripted()
	if _, err := collect(t.Context(), model, &examples{n: 4}, pipeline.Options{Epochs: 1}); err != nil {
		t.Fatal(err)
	}
	if _, ok := model.calls[0].inputs["seed"]; ok {
		t.Error("a model without randomness was fed a seed")
	}

	sig := model.signatures["train"]
	sig.Inputs = append(sig.Inputs, tensor.Spec{Name: "seed", DType: tensor.Int64, Shape: []int{2}})
	model.signatures["train"] = sig
	model.calls = nil
	if _, err := collect(t.Context(), model, &examples{n: 8}, pipeline.Options{Epochs: 2, BatchSize: 4, Seed: 42}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range model.calls {
		seed, err := tensor.Values[int64](c.inputs["seed"])
		if err != nil || len(seed) != 2 || seed[0] != 42 {
			t.Errorf("fed %v, %v", seed, err)
		}
		seen[fmt.Sprint(seed)] = true
	}
	if len(seen) != 4 {
		t.Errorf("4 steps were fed %d different seeds", len(seen))
	}
}

func TestStepsChecksOptions(t *testing.T) {
	for want, o := range map[string]pipeline.Options{
		"epochs must be positive, not -1":                         {Epochs: -1},
		"batch size must be positive, not -64":                    {BatchSize: -64},
		"learning rate must be positive and a float32, not -0.01": {LearningRate: -0.01},
		"learning rate must be positive and a float32, not NaN":   {LearningRate: math.NaN()},
		"learning rate must be positive and a float32, not +Inf":  {LearningRate: math.Inf(1)},
		"learning rate must be positive and a float32, not -Inf":  {LearningRate: math.Inf(-1)},
		"learning rate must be positive and a float32, not 1e+39": {LearningRate: 1e39}, // more than a float32
	} {
		model := newScripted()
		_, err := collect(t.Context(), model, &examples{n: 4}, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Steps = %v, want %q", err, want)
		}
		if len(model.calls) > 0 {
			t.Errorf("%q: the model was called", want)
		}
	}
}

func TestStepsNeedsExamples(t *testing.T) {
	if _, err := collect(t.Context(), newScripted(), &examples{}, pipeline.Options{}); err == nil || !strings.Contains(err.Error(), "no examples") {
		t.Errorf("Steps = %v", err)
	}
}

func TestStepsChecksTheSignature(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		model := newScripted()
		delete(model.signatures, "train")
		_, err := collect(t.Context(), model, &examples{n: 4}, pipeline.Options{})
		if !errors.Is(err, pipeline.ErrNoSignature) || !strings.Contains(err.Error(), `"train"`) {
			t.Errorf("Steps = %v", err)
		}
	})
	t.Run("an unknown input", func(t *testing.T) {
		model := newScripted()
		sig := model.signatures["train"]
		sig.Inputs = append(sig.Inputs, tensor.Spec{Name: "temperature"})
		model.signatures["train"] = sig
		_, err := collect(t.Context(), model, &examples{n: 4}, pipeline.Options{})
		if err == nil || !strings.Contains(err.Error(), `"temperature"`) || !strings.Contains(err.Error(), `"train"`) {
			t.Errorf("Steps = %v", err)
		}
	})
	for _, output := range []string{"loss", "correct"} {
		t.Run("no "+output, func(t *testing.T) {
			model := newScripted()
			sig := model.signatures["train"]
			sig.Outputs = specs("grad_norm", map[string]string{"loss": "correct", "correct": "loss"}[output])
			model.signatures["train"] = sig
			_, err := collect(t.Context(), model, &examples{n: 4}, pipeline.Options{})
			if err == nil || !strings.Contains(err.Error(), `no output "`+output+`"`) {
				t.Errorf("Steps = %v", err)
			}
			if len(model.calls) > 0 {
				t.Error("the model was called")
			}
		})
	}
}

func TestStepsRefusesOutputsOfAnotherForm(t *testing.T) {
	for name, wrong := range map[string]tensor.Tensor{
		"missing":      {},
		"a float64":    tensor.Scalar(2.5),
		"not a scalar": of([]float32{1, 2}, 2),
	} {
		model := newScripted()
		model.train = func(step, n int) map[string]tensor.Tensor {
			loss := tensor.Scalar[float32](2)
			if step == 2 {
				loss = wrong
			}
			return map[string]tensor.Tensor{"loss": loss, "correct": tensor.Scalar[int64](1)}
		}
		steps, err := collect(t.Context(), model, &examples{n: 12}, pipeline.Options{BatchSize: 4})
		if err == nil || !strings.Contains(err.Error(), "step 2") || !strings.Contains(err.Error(), `"loss"`) || len(steps) != 1 {
			t.Errorf("%s: after %d steps: %v", name, len(steps), err)
		}
	}
}

func TestStepsStopsWhenTheLossIsNotFinite(t *testing.T) {
	for _, loss := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		model := newScripted()
		model.train = func(step, n int) map[string]tensor.Tensor {
			l := float32(2)
			if step == 5 {
				l = float32(loss)
			}
			return map[string]tensor.Tensor{"loss": tensor.Scalar(l), "correct": tensor.Scalar[int64](0)}
		}
		steps, err := collect(t.Context(), model, &examples{n: 12}, pipeline.Options{BatchSize: 4})
		var diverged *pipeline.NonFiniteError
		if !errors.As(err, &diverged) || diverged.Step != 5 || !strings.Contains(err.Error(), "step 5") {
			t.Errorf("loss %g: %v", loss, err)
		}
		if len(steps) != 4 || model.trained != 5 {
			t.Errorf("loss %g: told of %d steps, took %d", loss, len(steps), model.trained)
		}
	}
}

// oneDNN's ReLU makes 0 of NaN: then only the gradients tell.
func TestStepsStopsWhenTheGradientIsNotFinite(t *testing.T) {
	for _, norm := range []float64{math.NaN(), math.Inf(1)} {
		model := newScripted()
		model.train = func(step, n int) map[string]tensor.Tensor {
			g := float32(2)
			if step == 5 {
				g = float32(norm)
			}
			return map[string]tensor.Tensor{"loss": tensor.Scalar[float32](1), "correct": tensor.Scalar[int64](0), "grad_norm": tensor.Scalar(g)}
		}
		steps, err := collect(t.Context(), model, &examples{n: 12}, pipeline.Options{BatchSize: 4})
		var diverged *pipeline.NonFiniteError
		if !errors.As(err, &diverged) || diverged.Step != 5 || !strings.Contains(err.Error(), "the gradient of step 5") || len(steps) != 4 {
			t.Errorf("gradient %g: after %d steps: %v", norm, len(steps), err)
		}
	}
}

var errBroken = errors.New("the cable is out")

func TestStepsPassesTheModelsErrorOn(t *testing.T) {
	model := newScripted()
	model.fail = func(calls int) error {
		if calls == 3 {
			return errBroken
		}
		return nil
	}
	steps, err := collect(t.Context(), model, &examples{n: 40}, pipeline.Options{BatchSize: 4})
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "step 3") || len(steps) != 2 {
		t.Errorf("after %d steps: %v", len(steps), err)
	}
}

func TestStepsPassesTheDatasErrorOn(t *testing.T) {
	steps, err := collect(t.Context(), newScripted(), &examples{n: 40, broken: 4, err: errBroken}, pipeline.Options{BatchSize: 4})
	if !errors.Is(err, errBroken) || len(steps) != 3 {
		t.Errorf("after %d steps: %v", len(steps), err)
	}
}

func TestStepsEndsWithOneError(t *testing.T) {
	errs := 0
	for _, err := range pipeline.Steps(t.Context(), newScripted(), &examples{n: 40, broken: 2, err: errBroken}, pipeline.Options{BatchSize: 4}) {
		if err != nil {
			errs++
		}
	}
	if errs != 1 {
		t.Errorf("%d errors", errs)
	}
}

// Wherever a run is cancelled, it ends with the context's error: it never
// looks as if it had been finished.
func TestStepsCancelledNeverLooksFinished(t *testing.T) {
	const batches, epochs = 3, 2
	for cancelAfter := 0; cancelAfter <= batches*epochs; cancelAfter++ {
		ctx, cancel := context.WithCancel(t.Context())
		if cancelAfter == 0 {
			cancel()
		}
		model := newScripted()
		steps := 0
		var got error
		for _, err := range pipeline.Steps(ctx, model, &examples{n: batches * 4}, pipeline.Options{Epochs: epochs, BatchSize: 4}) {
			if err != nil {
				got = err
				continue
			}
			if steps++; steps == cancelAfter {
				cancel()
			}
		}
		cancel()
		if !errors.Is(got, context.Canceled) {
			t.Errorf("cancelled after %d steps: %v", cancelAfter, got)
		}
		if steps != cancelAfter || model.trained != cancelAfter {
			t.Errorf("cancelled after %d steps: told of %d, took %d", cancelAfter, steps, model.trained)
		}
	}
}

func TestStepsSaysWhyItWasCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := collect(ctx, newScripted(), &examples{n: 4}, pipeline.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Steps = %v", err)
	}
}

// Goroutines are counted in TestMain.
func TestStepsMayBeLeftEarly(t *testing.T) {
	data, err := dataset.Open(t.Context(), dataset.Synthetic, dataset.Options{
		Classes: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"},
		Shape:   imagefile.Shape{Height: 8, Width: 8, Channels: 3}, Limit: 100, Splits: dataset.OnlyTrain,
	})
	if err != nil {
		t.Skipf("synthetic data: %v", err)
	}
	for leave := range 5 {
		steps := 0
		for _, err := range pipeline.Steps(t.Context(), newScripted(), data.Train, pipeline.Options{BatchSize: 5}) {
			if err != nil {
				t.Fatal(err)
			}
			if steps++; steps > leave {
				break
			}
		}
	}
	func() {
		defer func() { _ = recover() }()
		for range pipeline.Steps(t.Context(), newScripted(), data.Train, pipeline.Options{BatchSize: 5}) {
			panic("the body fails")
		}
	}()
}

func TestStepsTakesOnlyTheStepsThatAreAskedFor(t *testing.T) {
	model := newScripted()
	for range pipeline.Steps(t.Context(), model, &examples{n: 40}, pipeline.Options{BatchSize: 4}) {
		break
	}
	if model.trained != 1 {
		t.Errorf("the model was trained %d times", model.trained)
	}
}

func TestStepsMayBeRunTwice(t *testing.T) {
	model := newScripted()
	steps := pipeline.Steps(t.Context(), model, &examples{n: 8}, pipeline.Options{Epochs: 1, BatchSize: 4})
	for range 2 {
		number := 0
		for step, err := range steps {
			if number++; err != nil || step.Number != number {
				t.Errorf("step %d, %v; want %d", step.Number, err, number)
			}
		}
	}
	if model.trained != 4 {
		t.Errorf("the model was trained %d times", model.trained)
	}
}

func TestStepsTrains(t *testing.T) {
	run := func(o pipeline.Options) []pipeline.Step {
		steps, err := collect(t.Context(), newSoftmax(), &examples{n: 90}, o)
		if err != nil {
			t.Fatal(err)
		}
		return steps
	}
	o := pipeline.Options{Epochs: 20, BatchSize: 16, LearningRate: 1, Seed: 1}
	first := run(o)
	if start, end := first[0].Loss, first[len(first)-1].Mean; start < 1 || end.Loss > 0.3 || end.Accuracy < 0.99 {
		t.Errorf("the loss went from %.3f to %.3f, the accuracy to %.3f", start, end.Loss, end.Accuracy)
	}
	again := run(o)
	for i := range first {
		if first[i].Loss != again[i].Loss {
			t.Fatalf("step %d of a second run with the same seed has another loss", i+1)
		}
	}
	o.Seed = 2
	if other := run(o); other[1].Loss == first[1].Loss {
		t.Error("another seed has the same order")
	}
}

package pipeline_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

func TestEvaluateRefusesPredictionsOutOfRange(t *testing.T) {
	for name, prediction := range map[string]int64{"negative": -1, "huge": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			if false {
				t.Skip("takes all memory")
			}
			model := newScripted()
			model.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
				predictions := make([]int64, len(labels))
				predictions[0] = prediction
				return answers(labels, predictions)
			}
			_, err := pipeline.Evaluate(t.Context(), model, &examples{n: 4}, pipeline.EvaluateOptions{Classes: 3})
			if err == nil || !strings.Contains(err.Error(), "predicted as") {
				t.Errorf("Evaluate = %v", err)
			}
		})
	}
}

func TestEvaluateErrorsAreWellFormed(t *testing.T) {
	model := newScripted()
	model.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
		return answers(labels[:1], []int64{0})
	}
	_, err := pipeline.Evaluate(t.Context(), model, &examples{n: 4}, pipeline.EvaluateOptions{})
	if err == nil || strings.Contains(err.Error(), "%!") {
		t.Errorf("Evaluate = %v", err)
	}
}

func TestEpochsThatEndEarlyAreErrors(t *testing.T) {
	if _, err := collect(t.Context(), newScripted(), &examples{n: 12, stop: 2}, pipeline.Options{Epochs: 1, BatchSize: 4}); err == nil {
		t.Error("Steps took 2 of 3 batches for an epoch")
	}
	if _, err := pipeline.Evaluate(t.Context(), newScripted(), &examples{n: 12, stop: 2}, pipeline.EvaluateOptions{BatchSize: 4}); err == nil {
		t.Error("Evaluate took 2 of 3 batches for all")
	}
}

func TestLearningRateBelowFloat32(t *testing.T) {
	if _, err := collect(t.Context(), newScripted(), &examples{n: 12}, pipeline.Options{LearningRate: 1e-60}); err == nil {
		t.Error("a learning rate that is 0 as a float32 was taken")
	}
}

func TestPredictOfNoImages(t *testing.T) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	model := newScripted()
	model.predict = func(int) map[string]tensor.Tensor {
		return map[string]tensor.Tensor{"probabilities": of([]float32{1, 0}, 1, 2)}
	}
	if _, err := pipeline.Predict(t.Context(), lenient{model}, tensor.Scalar[uint8](1)); err == nil {
		t.Error("no error")
	}
}

type lenient struct{ *scripted }

func (m lenient) Call(_ context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	return m.predict(1), nil
}

func TestWaitIsForDataOnly(t *testing.T) {
	r := &recorder{onEvent: func(e pipeline.Event) error {
		if _, ok := e.(pipeline.Step); ok {
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	}}
	result, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 16}, pipeline.Options{Epochs: 1, BatchSize: 4, Callbacks: []pipeline.Callback{r}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range eventsOf[pipeline.Step](r) {
		if s.Wait > 25*time.Millisecond {
			t.Errorf("step %d waited %v for data: that was the callback", s.Number, s.Wait)
		}
	}
	if result.ImagesPerSecond < 500 {
		t.Errorf("%.0f images/s", result.ImagesPerSecond)
	}
}

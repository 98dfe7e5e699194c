package pipeline_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

func TestPredictHasARowForEachImage(t *testing.T) {
	images := of(make([]uint8, 3*4), 3, 2, 2, 1)
	got, err := pipeline.Predict(t.Context(), newScripted(), images)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]float32{{0.25, 0.75}, {0.25, 0.75}, {0.25, 0.75}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPredictRefuses(t *testing.T) {
	with := func(change func(*scripted)) *scripted {
		m := newScripted()
		change(m)
		return m
	}
	output := func(probabilities tensor.Tensor) *scripted {
		return with(func(m *scripted) {
			m.predict = func(int) map[string]tensor.Tensor {
				return map[string]tensor.Tensor{"probabilities": probabilities}
			}
		})
	}
	for name, tt := range map[string]struct {
		model *scripted
		want  func(error) bool
	}{
		"no signature": {with(func(m *scripted) { delete(m.signatures, "serving_default") }), is(pipeline.ErrNoSignature)},
		"an unknown input": {with(func(m *scripted) {
			sig := m.signatures["serving_default"]
			sig.Inputs = append(sig.Inputs, tensor.Spec{Name: "temperature"})
			m.signatures["serving_default"] = sig
		}), says(`"temperature"`)},
		"another output": {with(func(m *scripted) {
			m.signatures["serving_default"] = tensor.Signature{Outputs: specs("logits")}
		}), says(`no output "probabilities", only ["logits"]`)},
		"a failing model": {with(func(m *scripted) { m.fail = func(int) error { return errBroken } }), is(errBroken)},
		"another type":    {output(tensor.Scalar(0.5)), says("float64")},
		"too few rows":    {output(of([]float32{1, 0}, 1, 2)), says("[1 2] for 3 images")},
		"one dimension":   {output(of([]float32{1, 0, 1}, 3)), says("[3] for 3 images")},
		"no classes":      {output(of([]float32{}, 3, 0)), says("[3 0] for 3 images")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pipeline.Predict(t.Context(), tt.model, of(make([]uint8, 3*4), 3, 2, 2, 1)); !tt.want(err) {
				t.Errorf("Predict = %v", err)
			}
		})
	}
}

func TestTop(t *testing.T) {
	classes := []string{"cat", "dog", "frog", "ship"}
	probabilities := []float32{0.1, 0.4, 0.4, 0.1}
	for k, want := range map[int][]pipeline.Guess{
		1: {{"dog", 0.4}},
		2: {{"dog", 0.4}, {"frog", 0.4}},
		3: {{"dog", 0.4}, {"frog", 0.4}, {"cat", 0.1}},
		9: {{"dog", 0.4}, {"frog", 0.4}, {"cat", 0.1}, {"ship", 0.1}},
	} {
		got, err := pipeline.Top(probabilities, classes, k)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the first %d (-want +got):\n%s", k, diff)
		}
	}
}

func TestTopNeedsAPositiveNumber(t *testing.T) {
	for _, k := range []int{0, -1} {
		if _, err := pipeline.Top([]float32{1}, []string{"cat"}, k); err == nil || !strings.Contains(err.Error(), fmt.Sprint(k)) {
			t.Errorf("Top of %d = %v", k, err)
		}
	}
}

func TestTopPutsNaNLast(t *testing.T) {
	got, err := pipeline.Top([]float32{float32(math.NaN()), 0.5}, []string{"cat", "dog"}, 1)
	if err != nil || got[0].Class != "dog" {
		t.Errorf("Top = %v, %v", got, err)
	}
}

func TestTopNeedsAsManyNames(t *testing.T) {
	if _, err := pipeline.Top([]float32{1}, []string{"cat", "dog"}, 1); err == nil || !strings.Contains(err.Error(), "1 probabilities for 2 names") {
		t.Errorf("Top = %v", err)
	}
}

func TestNonFiniteError(t *testing.T) {
	var err error = &pipeline.NonFiniteError{Step: 17, Loss: math.NaN()}
	wrapped := fmt.Errorf("train: %w", err)
	var target *pipeline.NonFiniteError
	if !errors.As(wrapped, &target) || !strings.Contains(wrapped.Error(), "step 17 is NaN") {
		t.Errorf("%v", wrapped)
	}
}

func ExampleTop() {
	guesses, err := pipeline.Top([]float32{0.1, 0.7, 0.2}, []string{"cat", "dog", "frog"}, 2)
	fmt.Println(guesses, err)
	// Output: [{dog 0.7} {frog 0.2}] <nil>
}

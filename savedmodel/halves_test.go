package savedmodel_test

import (
	"math"
	"testing"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Models whose layers compute in halves run here, on any device, and give what the
// same weights do in float32, but for rounding: predictions as they are in the file
// and as Call makes them faster, the test, and a step of training.
func TestModelsOfHalves(t *testing.T) {
	for _, name := range modeltest.ByOption {
		want := outcomeOf(t, name, true)
		for _, half := range []struct {
			precision string
			tolerance float64
		}{{modeltest.Brain, 3e-2}, {modeltest.Half, 4e-3}} {
			for _, plain := range []bool{true, false} {
				model := modeltest.In(half.precision, name)
				got := outcomeOf(t, model, plain)
				for i, p := range got.probabilities {
					if d := math.Abs(float64(p - want.probabilities[i])); !(d <= half.tolerance) {
						t.Errorf("%s, plain %t: probability %d is %g, of float32 %g", model, plain, i, p, want.probabilities[i])
					}
				}
				if d := math.Abs(got.test/want.test - 1); !(d <= half.tolerance) {
					t.Errorf("%s, plain %t: loss of the test is %g, of float32 %g", model, plain, got.test, want.test)
				}
				// Dropout in halves draws other numbers.
				if d := math.Abs(got.train/want.train - 1); !(d <= half.tolerance) && name != modeltest.Pets {
					t.Errorf("%s, plain %t: loss of a step is %g, of float32 %g", model, plain, got.train, want.train)
				}
				if !(got.gradient > 0) || math.IsInf(got.gradient, 0) {
					t.Errorf("%s, plain %t: the gradient's norm is %g", model, plain, got.gradient)
				}
			}
		}
	}
}

// outcome is what a model computes of the same few images.
type outcome struct {
	probabilities         []float32
	test, train, gradient float64
}

func outcomeOf(t *testing.T, name string, plain bool) (o outcome) {
	t.Helper()
	model, err := savedmodel.Open(modeltest.Dir(t, name), savedmodel.Options{Plain: plain})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	const n = 5
	train, _ := model.Signature("train")
	spec, _ := tensor.Find(train.Inputs, "images")
	shape := append([]int{n}, spec.Shape[1:]...)
	pixels := make([]uint8, n*shape[1]*shape[2]*shape[3])
	for i := range pixels {
		pixels[i] = uint8(i * i % 251)
	}
	images, err := tensor.Of(pixels, shape...)
	if err != nil {
		t.Fatal(err)
	}
	labels, err := tensor.Of([]int64{0, 1, 1, 0, 1}, n)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := tensor.Of([]int64{3, 4}, 2)
	if err != nil {
		t.Fatal(err)
	}
	call := func(signature string, inputs map[string]tensor.Tensor) map[string]tensor.Tensor {
		t.Helper()
		outputs, err := model.Call(t.Context(), signature, inputs)
		if err != nil {
			t.Fatal(name, err)
		}
		return outputs
	}
	number := func(of tensor.Tensor) float64 {
		t.Helper()
		value, err := tensor.Item[float32](of)
		if err != nil {
			t.Fatal(err)
		}
		return float64(value)
	}
	o.probabilities, err = tensor.Values[float32](call("serving_default", map[string]tensor.Tensor{"images": images})["probabilities"])
	if err != nil {
		t.Fatal(err)
	}
	if !plain {
		t.Logf("%s runs from a frozen graph unless there is an error: %v", name, model.Frozen("serving_default"))
	}
	o.test = number(call("evaluate", map[string]tensor.Tensor{"images": images, "labels": labels})["loss_sum"])
	inputs := map[string]tensor.Tensor{"images": images, "labels": labels, "learning_rate": tensor.Scalar[float32](0.01)}
	if _, drawn := tensor.Find(train.Inputs, "seed"); drawn {
		inputs["seed"] = seed
	}
	step := call("train", inputs)
	o.train, o.gradient = number(step["loss"]), number(step["grad_norm"])
	return o
}

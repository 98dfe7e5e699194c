package savedmodel_test

import (
	"math"
	"testing"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Models whose layers compute in halves predict what the same weights do in float32,
// but for rounding, as they are in the file and as Call makes them faster.
func TestModelsOfHalves(t *testing.T) {
	const n = 5
	pixels := make([]uint8, n*32*32*3)
	for i := range pixels {
		pixels[i] = uint8(i * i % 251)
	}
	images, err := tensor.Of(pixels, n, 32, 32, 3)
	if err != nil {
		t.Fatal(err)
	}
	predict := func(name string, plain bool) []float32 {
		t.Helper()
		model, err := savedmodel.Open(modeltest.Dir(t, name), savedmodel.Options{Plain: plain})
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close()
		outputs, err := model.Call(t.Context(), "serving_default", map[string]tensor.Tensor{"images": images})
		if err != nil {
			t.Fatal(err)
		}
		values, err := tensor.Values[float32](outputs["probabilities"])
		if err != nil {
			t.Fatal(err)
		}
		if !plain {
			t.Logf("%s runs from a frozen graph unless there is an error: %v", name, model.Frozen("serving_default"))
		}
		return values
	}
	want := predict(modeltest.Small, true)
	for _, test := range []struct {
		model     string
		tolerance float64
	}{{modeltest.Brain, 3e-2}, {modeltest.Half, 4e-3}} {
		for _, plain := range []bool{true, false} {
			for i, got := range predict(test.model, plain) {
				if d := math.Abs(float64(got - want[i])); !(d <= test.tolerance) {
					t.Errorf("%s, plain %t: probability %d is %g, of float32 %g", test.model, plain, i, got, want[i])
				}
			}
		}
	}
}

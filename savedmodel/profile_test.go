package savedmodel_test

import (
	"testing"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
	"github.com/residual-go/residual/tfgo/trace"
)

// The small model, layer by layer: images of 16x16 after pooling, convolutions of
// 3x3 and stride 2 and 1 to 7x7x8 and 5x5x16, and ten classes.
const (
	firstConv  = 2 * 7 * 7 * 8 * 3 * 3 * 3
	secondConv = 2 * 5 * 5 * 16 * 3 * 3 * 8
	dense      = 2 * 5 * 5 * 16 * 10
)

// However a graph is rewritten, it multiplies as often as its layers say. A
// training step has two gradients of each layer, but for that of the images.
func TestProfileCountsWhatAModelComputes(t *testing.T) {
	const n = 4
	examples := batch(t, n, 32, 10)
	for _, precision := range tfgo.Precisions {
		for _, plain := range []bool{false, true} {
			model, err := savedmodel.Open(modeltest.Dir(t, modeltest.Small), savedmodel.Options{Precision: precision, Plain: plain})
			if err != nil {
				t.Fatal(err)
			}
			defer model.Close()
			for signature, want := range map[string]float64{
				"serving_default": n * (firstConv + secondConv + dense),
				"evaluate":        n * (firstConv + secondConv + dense),
				"train":           n * (2*firstConv + 3*secondConv + 3*dense),
			} {
				inputs := examples
				switch signature {
				case "serving_default":
					inputs = without(examples, "labels")
				case "train":
					inputs = with(examples, "learning_rate", tensor.Scalar(float32(0.05)))
				}
				ops, err := model.Profile(t.Context(), signature, inputs)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := trace.FLOP(ops); err != nil || got != want {
					t.Errorf("%s, %s, plain %v: %g operations, %v, want %g", precision, signature, plain, got, err, want)
				}
				// Not all processors can in bfloat16.
				if frozen := model.Frozen(signature) == nil; frozen != (!plain && signature != "train") && precision == tfgo.Float32 {
					t.Errorf("%s, plain %v: frozen is %v", signature, plain, frozen)
				}
			}
		}
	}
}

package savedmodel_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// A training step runs on oneDNN's kernels, also where TensorFlow would not
// choose them.
func TestTrainingUsesOneDNN(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Small))
	if !tfgo.OneDNN() {
		t.Skip("it is off here")
	}
	times, err := model.Profile(t.Context(), "train", with(batch(t, 4, 32, 10), "learning_rate", tensor.Scalar(float32(0.1))))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(times, func(o tfgo.OpTime) bool { return strings.HasPrefix(o.Op, "_Mkl") }) {
		t.Errorf("none of %d operations is oneDNN's", len(times))
	}
}

package savedmodel_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// apart is the largest difference of two tensors, relative to values above 1.
func apart(t *testing.T, a, b tensor.Tensor) float64 {
	t.Helper()
	if a.DType() == tensor.Int64 {
		return largest(must(tensor.Values[int64](a)), must(tensor.Values[int64](b)))
	}
	return largest(must(tensor.Values[float32](a)), must(tensor.Values[float32](b)))
}

func largest[T float32 | int64](a, b []T) float64 {
	most := 0.0
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i]))/max(1, math.Abs(float64(a[i]))))
	}
	return most
}

// A model calls its frozen graphs: they give what the functions in the file
// give, also after the variables have changed.
func TestFrozenGraphsComputeTheSame(t *testing.T) {
	for name, side := range map[string]int{modeltest.Small: 32, modeltest.Pets: 16, modeltest.Many: 2} {
		t.Run(name, func(t *testing.T) {
			model := open(t, modeltest.Dir(t, name))
			classes := len(model.Info().Metadata.Classes)
			examples := batch(t, 16, side, classes)
			training := with(examples, "learning_rate", tensor.Scalar(float32(0.05)))
			if signature, _ := model.Signature("train"); len(signature.Inputs) == 4 {
				training = with(training, "seed", must(tensor.Of([]int64{1, 2}, 2)))
			}
			for round := range 3 {
				for range 5 { // no statistic and no bias is then what it began with
					call(t, model, "train", training)
				}
				dir := filepath.Join(t.TempDir(), "saved")
				if err := model.Save(t.Context(), dir); err != nil {
					t.Fatal(err)
				}
				plain, err := savedmodel.Open(dir, savedmodel.Options{Plain: true})
				if err != nil {
					t.Fatal(err)
				}
				defer plain.Close()
				for _, signature := range []string{"serving_default", "evaluate", "features"} {
					if _, ok := model.Signature(signature); !ok {
						continue
					}
					for _, n := range []int{16, 1, 16} {
						inputs := batch(t, n, side, classes)
						if signature != "evaluate" {
							inputs = without(inputs, "labels")
						}
						want := call(t, plain, signature, inputs)
						for output, got := range call(t, model, signature, inputs) {
							if most := apart(t, want[output], got); most > 1e-5 {
								t.Errorf("round %d, %s: %s is %g apart", round, signature, output, most)
							}
						}
					}
				}
			}
		})
	}
}

// oneDNN's ReLU would make 0 of NaN, and what comes out look like probabilities.
func TestWeightsThatAreNotFiniteAreNotFrozen(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Small))
	examples := batch(t, 4, 32, 10)
	call(t, model, "train", with(examples, "learning_rate", tensor.Scalar(float32(math.Inf(1)))))
	call(t, model, "evaluate", examples)
	if err := model.Frozen("evaluate"); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("why it is not frozen: %v", err)
	}
}

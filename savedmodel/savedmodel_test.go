package savedmodel_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// A model is what pipeline's loop drives; pipeline must not import this package
// and this one must not import pipeline, so the shape is spelled out.
var _ interface {
	Signature(string) (tensor.Signature, bool)
	Call(context.Context, string, map[string]tensor.Tensor) (map[string]tensor.Tensor, error)
} = (*savedmodel.Model)(nil)

func open(t *testing.T, dir string) *savedmodel.Model {
	t.Helper()
	model, err := savedmodel.Open(dir, savedmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close() })
	return model
}

// batch makes n images that differ by class, and their labels.
func batch(t testing.TB, n, side, classes int) map[string]tensor.Tensor {
	t.Helper()
	pixels, labels := make([]uint8, n*side*side*3), make([]int64, n)
	for i := range n {
		labels[i] = int64(i % classes)
		image := pixels[i*side*side*3:][:side*side*3]
		for j := range image {
			image[j] = uint8((int(labels[i])+1)*(j+1)*37/7 + i)
		}
	}
	return map[string]tensor.Tensor{
		"images": must(tensor.Of(pixels, n, side, side, 3)),
		"labels": must(tensor.Of(labels, n)),
	}
}

func with(inputs map[string]tensor.Tensor, name string, value tensor.Tensor) map[string]tensor.Tensor {
	changed := map[string]tensor.Tensor{name: value}
	for other, value := range inputs {
		if other != name {
			changed[other] = value
		}
	}
	return changed
}

func without(inputs map[string]tensor.Tensor, name string) map[string]tensor.Tensor {
	changed := with(inputs, name, tensor.Tensor{})
	delete(changed, name)
	return changed
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func call(t *testing.T, model *savedmodel.Model, name string, inputs map[string]tensor.Tensor) map[string]tensor.Tensor {
	t.Helper()
	outputs, err := model.Call(t.Context(), name, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}

func lossOf(t *testing.T, model *savedmodel.Model, examples map[string]tensor.Tensor) float64 {
	t.Helper()
	return float64(must(tensor.Item[float32](call(t, model, "evaluate", examples)["loss_sum"])))
}

func TestLossFallsOnOneRepeatedBatch(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Small))
	examples := batch(t, 20, 32, 10)
	inputs := with(examples, "learning_rate", tensor.Scalar(float32(0.1)))
	first := must(tensor.Item[float32](call(t, model, "train", inputs)["loss"]))
	var last float32
	for range 60 {
		last = must(tensor.Item[float32](call(t, model, "train", inputs)["loss"]))
	}
	if !(last < first/2) {
		t.Errorf("the loss went from %g to %g in 60 steps on one batch", first, last)
	}
}

func TestStatisticsMoveUnderTrainAndNotUnderEvaluate(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Small))
	examples := batch(t, 20, 32, 10)
	before := lossOf(t, model, examples)
	for range 5 {
		if again := lossOf(t, model, examples); again != before {
			t.Fatalf("evaluate changed the model: loss %g, then %g", before, again)
		}
	}
	// Learning rate 0 leaves all weights alone: only BatchNorm's moving
	// statistics, which evaluate uses, can change the loss.
	call(t, model, "train", with(examples, "learning_rate", tensor.Scalar(float32(0))))
	if after := lossOf(t, model, examples); after == before {
		t.Errorf("train at learning rate 0 left evaluate's loss at %g: the statistics did not move", before)
	}
}

func TestSeedDecidesDropout(t *testing.T) {
	dir := modeltest.Dir(t, modeltest.Pets)
	lossWith := func(seed ...int64) float32 {
		model := open(t, dir)
		inputs := with(batch(t, 8, 16, 2), "learning_rate", tensor.Scalar(float32(0.01)))
		inputs["seed"] = must(tensor.Of(seed, 2))
		return must(tensor.Item[float32](call(t, model, "train", inputs)["loss"]))
	}
	if a, b := lossWith(1, 2), lossWith(1, 2); a != b {
		t.Errorf("the same seed gave %g and %g", a, b)
	}
	if a, b := lossWith(1, 2), lossWith(1, 3); a == b {
		t.Errorf("two seeds gave %g", a)
	}
}

func TestCallRefusesWrongInputs(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Small))
	examples := batch(t, 4, 32, 10)
	for name, test := range map[string]struct {
		inputs map[string]tensor.Tensor
		want   string
	}{
		"missing":       {without(examples, "labels"), "labels int64 [N] is missing"},
		"unknown":       {with(examples, "weights", tensor.Scalar(int64(1))), `there is no "weights", only images, labels`},
		"type":          {with(examples, "labels", must(tensor.Of([]int32{1}, 1))), `"labels" must be int64 [N], not int32 [1]`},
		"rank":          {with(examples, "labels", tensor.Scalar(int64(1))), `"labels" must be int64 [N], not int64 []`},
		"size":          {with(examples, "images", must(tensor.Of(make([]uint8, 31*32*3), 1, 31, 32, 3))), `"images" must be uint8 [N,32,32,3], not uint8 [1,31,32,3]`},
		"none at all":   {nil, "images uint8 [N,32,32,3] is missing"},
		"an empty slot": {with(examples, "images", tensor.Tensor{}), `"images" must be uint8 [N,32,32,3], not dtype(0) []`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := model.Call(t.Context(), "evaluate", test.inputs)
			if !errors.Is(err, savedmodel.ErrInput) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"evaluate"`) {
				t.Errorf("Call: %v\nwant an ErrInput with %q", err, test.want)
			}
		})
	}
}

func TestCallNamesTheSignatureAndWhatThereIs(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Foreign))
	_, err := model.Call(t.Context(), "train", nil)
	if err == nil || !strings.Contains(err.Error(), `"train"`) || !strings.Contains(err.Error(), "has only serving_default") {
		t.Errorf("Call: %v", err)
	}
	small := open(t, modeltest.Dir(t, modeltest.Small))
	examples := batch(t, 4, 32, 10)
	_, err = small.Call(t.Context(), "evaluate", with(examples, "labels", must(tensor.Of([]int64{0, 1}, 2))))
	if err == nil || !strings.Contains(err.Error(), `call signature "evaluate"`) {
		t.Errorf("labels and images of different lengths: %v", err)
	}
}

func TestCallDoesNotBeginAfterCancel(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Small))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := model.Call(ctx, "evaluate", batch(t, 4, 32, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("Call: %v, want context.Canceled", err)
	}
}

func TestSignature(t *testing.T) {
	model := open(t, modeltest.Dir(t, modeltest.Small))
	got, ok := model.Signature("train")
	want := tensor.Signature{
		Inputs: []tensor.Spec{
			{Name: "images", DType: tensor.Uint8, Shape: []int{tensor.AnySize, 32, 32, 3}},
			{Name: "labels", DType: tensor.Int64, Shape: []int{tensor.AnySize}},
			{Name: "learning_rate", DType: tensor.Float32, Shape: []int{}},
		},
		Outputs: []tensor.Spec{
			{Name: "correct", DType: tensor.Int64, Shape: []int{}},
			{Name: "grad_norm", DType: tensor.Float32, Shape: []int{}},
			{Name: "loss", DType: tensor.Float32, Shape: []int{}},
		},
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("Signature(train) (-want +got):\n%s", diff)
	}
	if _, ok := model.Signature("fly"); ok {
		t.Error("there is a signature fly")
	}
}

func TestProbabilitiesSumToOne(t *testing.T) {
	for _, name := range []string{modeltest.Small, modeltest.Pets} {
		model := open(t, modeltest.Dir(t, name))
		m := model.Info().Metadata
		images := batch(t, 3, m.Image.Height, len(m.Classes))["images"]
		out := call(t, model, "serving_default", map[string]tensor.Tensor{"images": images})["probabilities"]
		values := must(tensor.Values[float32](out))
		for row := range 3 {
			sum := 0.0
			for _, p := range values[row*len(m.Classes):][:len(m.Classes)] {
				sum += float64(p)
			}
			if math.Abs(sum-1) > 1e-5 {
				t.Errorf("%s: row %d sums to %g", name, row, sum)
			}
		}
	}
}

package features_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	width   = 6 // features of an image
	classes = 3
)

// net is a real model: a fixed backbone that sums up pixels, and softmax
// regression on what comes of it.
type net struct {
	name    string
	weights [classes][width]float64
	fail    func(calls int) error // asked before each computing of features

	computed []int // examples in each call of features
}

func (m *net) Fingerprint() string { return m.name }

func (m *net) Signature(name string) (tensor.Signature, bool) {
	images := tensor.Spec{Name: "images", DType: tensor.Uint8, Shape: []int{tensor.AnySize, 4, 4, 3}}
	rows := tensor.Spec{Name: "features", DType: tensor.Float32, Shape: []int{tensor.AnySize, width}}
	labels := tensor.Spec{Name: "labels", DType: tensor.Int64, Shape: []int{tensor.AnySize}}
	rate := tensor.Spec{Name: "learning_rate", DType: tensor.Float32, Shape: []int{}}
	s, ok := map[string]tensor.Signature{
		"features":      {Inputs: []tensor.Spec{images}, Outputs: []tensor.Spec{rows}},
		"train_head":    {Inputs: []tensor.Spec{rows, labels, rate}, Outputs: []tensor.Spec{{Name: "correct"}, {Name: "loss"}}},
		"evaluate_head": {Inputs: []tensor.Spec{rows, labels}, Outputs: []tensor.Spec{{Name: "correct"}, {Name: "loss_sum"}, {Name: "predictions"}}},
	}[name]
	return s, ok
}

func (m *net) Call(_ context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	s, ok := m.Signature(name)
	if !ok || len(inputs) != len(s.Inputs) {
		return nil, fmt.Errorf("%q with %d inputs", name, len(inputs))
	}
	for _, spec := range s.Inputs {
		if err := spec.Check(inputs[spec.Name]); err != nil {
			return nil, err
		}
	}
	if name == "features" {
		if m.fail != nil {
			if err := m.fail(len(m.computed) + 1); err != nil {
				return nil, err
			}
		}
		m.computed = append(m.computed, inputs["images"].Shape()[0])
		return map[string]tensor.Tensor{"features": backbone(inputs["images"])}, nil
	}
	rows, labels := must(tensor.Values[float32](inputs["features"])), must(tensor.Values[int64](inputs["labels"]))
	loss, correct, predictions, gradient := m.descend(rows, labels)
	if name == "evaluate_head" {
		return map[string]tensor.Tensor{"loss_sum": tensor.Scalar(float32(loss)), "correct": tensor.Scalar(correct), "predictions": must(tensor.Of(predictions, len(predictions)))}, nil
	}
	rate := float64(must(tensor.Item[float32](inputs["learning_rate"]))) / float64(len(labels))
	for class := range gradient {
		for i, slope := range gradient[class] {
			m.weights[class][i] -= rate * slope
		}
	}
	return map[string]tensor.Tensor{"loss": tensor.Scalar(float32(loss / float64(len(labels)))), "correct": tensor.Scalar(correct)}, nil
}

// backbone makes features of images.
func backbone(images tensor.Tensor) tensor.Tensor {
	pixels, n := must(tensor.Values[uint8](images)), images.Shape()[0]
	rows := make([]float32, n*width)
	size := len(pixels) / n
	for i, pixel := range pixels {
		rows[i/size*width+i%width] += float32(pixel) / 255 / 4
	}
	return must(tensor.Of(rows, n, width))
}

// descend returns the summed loss and its gradient.
func (m *net) descend(rows []float32, labels []int64) (loss float64, correct int64, predictions []int64, gradient [classes][width]float64) {
	for n, label := range labels {
		x := rows[n*width:][:width]
		var p [classes]float64
		total, best := 0.0, 0
		for class := range p {
			for i := range x {
				p[class] += m.weights[class][i] * float64(x[i])
			}
			p[class] = math.Exp(p[class])
			if total += p[class]; p[class] > p[best] {
				best = class
			}
		}
		for class := range p {
			slope := p[class] / total
			if int64(class) == label {
				loss -= math.Log(slope)
				slope--
			}
			for i := range x {
				gradient[class][i] += slope * float64(x[i])
			}
		}
		if predictions = append(predictions, int64(best)); int64(best) == label {
			correct++
		}
	}
	return loss, correct, predictions, gradient
}

func (m *net) SaveVariables(_ context.Context, prefix string) error {
	data, err := json.Marshal(m.weights)
	return errors.Join(err, os.WriteFile(prefix+".index", data, 0o644))
}

func (m *net) RestoreVariables(_ context.Context, prefix string) error {
	data, err := os.ReadFile(prefix + ".index")
	return errors.Join(err, json.Unmarshal(data, &m.weights))
}

// anew is the head of a model that computes the features of each batch when it is
// asked to train on it.
type anew struct{ model pipeline.Saver }

func (a anew) Signature(name string) (tensor.Signature, bool) {
	return must(features.NewHead(a.model)).Signature(name)
}

func (a anew) Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	outputs, err := a.model.Call(ctx, "features", map[string]tensor.Tensor{"images": inputs["images"]})
	if err != nil {
		return nil, err
	}
	inputs["images"] = outputs["features"]
	return must(features.NewHead(a.model)).Call(ctx, name, inputs)
}

// images are drawn ones of three classes.
func images(t *testing.T, n int) *dataset.Examples {
	t.Helper()
	data, err := dataset.Open(t.Context(), dataset.Synthetic, dataset.Options{
		Classes: []string{"a", "b", "c"}, Shape: imagefile.Shape{Height: 4, Width: 4, Channels: 3}, Limit: n, Splits: dataset.OnlyTrain,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data.Train
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

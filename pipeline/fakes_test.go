package pipeline_test

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"testing"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A call is what a model was asked.
type call struct {
	name   string
	inputs map[string]tensor.Tensor
}

// scripted is a model whose functions are Go functions. Unless a test says
// otherwise it has all the signatures, a loss of 2 and every second answer
// right.
type scripted struct {
	signatures map[string]tensor.Signature
	train      func(step int, n int) map[string]tensor.Tensor
	evaluate   func(batch int, labels []int64) map[string]tensor.Tensor
	predict    func(n int) map[string]tensor.Tensor
	fail       func(calls int) error // asked before each call

	calls                []call
	trained, evaluations int
}

func newScripted() *scripted {
	images := tensor.Spec{Name: "images", DType: tensor.Uint8, Shape: []int{tensor.AnySize, 2, 2, 1}}
	labels := tensor.Spec{Name: "labels", DType: tensor.Int64, Shape: []int{tensor.AnySize}}
	rate := tensor.Spec{Name: "learning_rate", DType: tensor.Float32, Shape: []int{}}
	return &scripted{
		signatures: map[string]tensor.Signature{
			"train":            {Inputs: []tensor.Spec{images, labels, rate}, Outputs: specs("correct", "grad_norm", "loss")},
			"train_accumulate": {Inputs: append(specs("micro_batch_size", "upsample"), images, labels, rate), Outputs: specs("correct", "grad_norm", "loss")},
			"evaluate":         {Inputs: []tensor.Spec{images, labels}, Outputs: specs("correct", "loss_sum", "predictions")},
			"serving_default":  {Inputs: []tensor.Spec{images}, Outputs: specs("probabilities")},
		},
		train: func(_, n int) map[string]tensor.Tensor {
			return map[string]tensor.Tensor{"loss": tensor.Scalar[float32](2), "correct": tensor.Scalar(int64(n / 2)), "grad_norm": tensor.Scalar[float32](3)}
		},
		evaluate: func(_ int, labels []int64) map[string]tensor.Tensor {
			return answers(labels, make([]int64, len(labels)))
		},
		predict: func(n int) map[string]tensor.Tensor {
			return map[string]tensor.Tensor{"probabilities": of([]float32(slices.Repeat([]float32{0.25, 0.75}, n)), n, 2)}
		},
	}
}

// answers are an evaluation's outputs, with a loss of 1 for each example.
func answers(labels, predictions []int64) map[string]tensor.Tensor {
	var correct int64
	for i, label := range labels {
		if predictions[i] == label {
			correct++
		}
	}
	return map[string]tensor.Tensor{"loss_sum": tensor.Scalar(float32(len(labels))), "correct": tensor.Scalar(correct), "predictions": of(predictions, len(predictions))}
}

func specs(names ...string) []tensor.Spec {
	var list []tensor.Spec
	for _, name := range names {
		list = append(list, tensor.Spec{Name: name})
	}
	return list
}

func of[T tensor.Element](data []T, shape ...int) tensor.Tensor {
	t, err := tensor.Of(data, shape...)
	if err != nil {
		panic(err)
	}
	return t
}

func (m *scripted) Signature(name string) (tensor.Signature, bool) {
	sig, ok := m.signatures[name]
	return sig, ok
}

func (m *scripted) Call(_ context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	m.calls = append(m.calls, call{name, inputs})
	if m.fail != nil {
		if err := m.fail(len(m.calls)); err != nil {
			return nil, err
		}
	}
	switch name {
	case "train", "train_accumulate":
		m.trained++
		return m.train(m.trained, inputs["images"].Shape()[0]), nil
	case "evaluate":
		m.evaluations++
		labels, err := tensor.Values[int64](inputs["labels"])
		return m.evaluate(m.evaluations, labels), err
	case "serving_default":
		return m.predict(inputs["images"].Shape()[0]), nil
	}
	return nil, fmt.Errorf("there is no %q", name)
}

// examples are images of 2x2 pixels, bright in one of three corners.
type examples struct {
	n      int
	broken int   // the batch, from 1, in whose place there is an error; 0 for none
	err    error // that error
	stop   int   // batches after which an epoch ends as if it were done; 0 for none

	orders []dataset.BatchOptions // that were asked for
}

func (e *examples) Len() int { return e.n }

func (e *examples) Batches(_ context.Context, o dataset.BatchOptions) iter.Seq2[dataset.Batch, error] {
	e.orders = append(e.orders, o)
	order := dataset.Order(e.n, o.Seed, o.Epoch)
	if o.NoShuffle {
		slices.Sort(order)
	}
	return func(yield func(dataset.Batch, error) bool) {
		index := 0
		for part := range slices.Chunk(order, o.Size) {
			switch {
			case e.broken == index+1:
				yield(dataset.Batch{}, e.err)
				return
			case e.stop > 0 && index == e.stop:
				return
			case index < o.Start:
				index++
				continue
			}
			batch := dataset.Batch{Examples: part, Epoch: o.Epoch, Index: index, Count: (e.n + o.Size - 1) / o.Size}
			batch.Images, batch.Labels = e.read(part)
			if !yield(batch, nil) {
				return
			}
			index++
		}
	}
}

func (e *examples) read(indexes []int) (images, labels tensor.Tensor) {
	var pixels []uint8
	var classes []int64
	for _, i := range indexes {
		image := []uint8{20, 20, 20, uint8(i % 50)}
		image[i%3] = 200
		pixels, classes = append(pixels, image...), append(classes, int64(i%3))
	}
	return of(pixels, len(indexes), 2, 2, 1), of(classes, len(indexes))
}

// softmax is a real model: softmax regression on 2x2 pixels, 3 classes.
type softmax struct {
	weights [3][5]float64 // of four pixels and a bias
	scripted
}

func newSoftmax() *softmax {
	m := &softmax{scripted: *newScripted()}
	return m
}

func (m *softmax) Call(_ context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	pixels, err := tensor.Values[uint8](inputs["images"])
	if err != nil {
		return nil, err
	}
	var probabilities [][3]float64
	var features [][5]float64
	for image := range slices.Chunk(pixels, 4) {
		x := [5]float64{4: 1}
		for i, pixel := range image {
			x[i] = float64(pixel) / 255
		}
		features, probabilities = append(features, x), append(probabilities, m.probabilities(x))
	}
	if name == "serving_default" {
		var flat []float32
		for _, p := range probabilities {
			flat = append(flat, float32(p[0]), float32(p[1]), float32(p[2]))
		}
		return map[string]tensor.Tensor{"probabilities": of(flat, len(probabilities), 3)}, nil
	}
	labels, err := tensor.Values[int64](inputs["labels"])
	if err != nil {
		return nil, err
	}
	lossSum, correct, predictions := score(probabilities, labels)
	if name == "evaluate" {
		return map[string]tensor.Tensor{"loss_sum": tensor.Scalar(float32(lossSum)), "correct": tensor.Scalar(correct), "predictions": of(predictions, len(predictions))}, nil
	}
	rate, err := tensor.Item[float32](inputs["learning_rate"])
	if err != nil {
		return nil, err
	}
	m.descend(features, probabilities, labels, float64(rate))
	return map[string]tensor.Tensor{"loss": tensor.Scalar(float32(lossSum / float64(len(labels)))), "correct": tensor.Scalar(correct)}, nil
}

func (m *softmax) probabilities(x [5]float64) [3]float64 {
	var p [3]float64
	total := 0.0
	for class := range p {
		z := 0.0
		for i := range x {
			z += m.weights[class][i] * x[i]
		}
		p[class] = math.Exp(z)
		total += p[class]
	}
	for class := range p {
		p[class] /= total
	}
	return p
}

func (m *softmax) descend(features [][5]float64, probabilities [][3]float64, labels []int64, rate float64) {
	for n, x := range features {
		for class := range 3 {
			gradient := probabilities[n][class]
			if int64(class) == labels[n] {
				gradient--
			}
			for i := range x {
				m.weights[class][i] -= rate * gradient * x[i] / float64(len(features))
			}
		}
	}
}

func score(probabilities [][3]float64, labels []int64) (lossSum float64, correct int64, predictions []int64) {
	for n, p := range probabilities {
		best := int64(0)
		for class := range p {
			if p[class] > p[best] {
				best = int64(class)
			}
		}
		predictions = append(predictions, best)
		lossSum -= math.Log(p[labels[n]])
		if best == labels[n] {
			correct++
		}
	}
	return lossSum, correct, predictions
}

// recorder is a callback that takes down what it hears.
type recorder struct {
	events   []pipeline.Event
	onEvent  func(pipeline.Event) error
	closeErr error // what Close returns

	closed []error // what Close was told
}

func (r *recorder) Handle(_ context.Context, e pipeline.Event) error {
	r.events = append(r.events, e)
	if r.onEvent != nil {
		return r.onEvent(e)
	}
	return nil
}

func (r *recorder) Close(runErr error) error {
	r.closed = append(r.closed, runErr)
	return r.closeErr
}

// names lists the events: B(egin), s(tep), t(est step), E(poch).
func (r *recorder) names() string {
	var names []byte
	for _, e := range r.events {
		switch e.(type) {
		case pipeline.Begin:
			names = append(names, 'B')
		case pipeline.Step:
			names = append(names, 's')
		case pipeline.TestStep:
			names = append(names, 't')
		case pipeline.Epoch:
			names = append(names, 'E')
		}
	}
	return string(names)
}

// eventsOf returns the events of one type.
func eventsOf[E pipeline.Event](r *recorder) []E {
	var list []E
	for _, e := range r.events {
		if e, ok := e.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

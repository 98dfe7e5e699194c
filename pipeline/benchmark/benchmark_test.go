package benchmark

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
	"github.com/residual-go/residual/tfgo/trace"
)

// fake is a model of images with 2x2 pixels and three classes.
type fake struct {
	ops      []trace.Op // what Profile tells
	failAt   int        // the call that fails, from 1; 0 for none
	calls    []string   // the signature and the number of images of each
	profiled []string   // the same of Profile
	inputs   map[string]tensor.Tensor
}

var errFake = errors.New("it fails")

func (f *fake) Signature(name string) (tensor.Signature, bool) {
	specs := func(names ...string) (specs []tensor.Spec) {
		for _, name := range names {
			specs = append(specs, tensor.Spec{Name: name})
		}
		return specs
	}
	switch name {
	case "train":
		return tensor.Signature{Inputs: specs("images", "labels", "learning_rate", "seed"), Outputs: specs("loss", "correct", "grad_norm")}, true
	case "serving_default":
		return tensor.Signature{Inputs: specs("images"), Outputs: specs("probabilities")}, true
	}
	return tensor.Signature{}, false
}

func (f *fake) Call(_ context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	n := inputs["images"].Shape()[0]
	f.calls = append(f.calls, describe(name, n))
	f.inputs = inputs
	if len(f.calls) == f.failAt {
		return nil, errFake
	}
	if name == "train" {
		return map[string]tensor.Tensor{"loss": tensor.Scalar(float32(1)), "correct": tensor.Scalar(int64(1)), "grad_norm": tensor.Scalar(float32(1))}, nil
	}
	probabilities, err := tensor.Of(make([]float32, 3*n), n, 3)
	return map[string]tensor.Tensor{"probabilities": probabilities}, err
}

func (f *fake) Profile(_ context.Context, name string, inputs map[string]tensor.Tensor) ([]trace.Op, error) {
	f.profiled = append(f.profiled, describe(name, inputs["images"].Shape()[0]))
	return f.ops, nil
}

func describe(name string, n int) string { return name + strings.Repeat(" image", n) }

var product = trace.Op{Op: "MatMul", Inputs: [][]int{{2, 12}, {12, 3}}, Outputs: [][]int{{2, 3}}}

func bench(f *fake) Bench {
	return Bench{Model: f, Shape: imagefile.Shape{Height: 2, Width: 2, Channels: 3}, Classes: 3, BatchSize: 2, Steps: 4}
}

func TestTrainMeasuresStepsAfterTheWarmUp(t *testing.T) {
	f := &fake{ops: []trace.Op{product}}
	b := bench(f)
	b.Traces = 2
	var last [2]int
	b.OnStep = func(_ string, done, total int) { last = [2]int{done, total} }
	m, err := b.Train(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.calls) != WarmUp+4 || len(m.Times) != 4 || !slices.IsSorted(m.Times) || m.Latency != nil {
		t.Errorf("%d calls, times %v, latency %v", len(f.calls), m.Times, m.Latency)
	}
	if last != [2]int{WarmUp + 4 + 2, WarmUp + 4 + 2} {
		t.Errorf("the last step told of is %v", last)
	}
	if len(f.profiled) != 2 || f.profiled[0] != "train image image" || len(m.Traces) != 2 {
		t.Errorf("profiled: %v", f.profiled)
	}
	if rate, err := tensor.Item[float32](f.inputs["learning_rate"]); err != nil || rate > 1e-5 {
		t.Errorf("a learning rate of %g, %v would change what is measured", rate, err)
	}
	if flop, err := m.FLOP(); err != nil || flop != 2*2*12*3/2 {
		t.Errorf("FLOP = %g, %v", flop, err)
	}
}

func TestPredictMeasuresBatchesAndSingleImages(t *testing.T) {
	f := &fake{ops: []trace.Op{product}}
	m, err := bench(f).Predict(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	batches := slices.Repeat([]string{"serving_default image image"}, WarmUp+4)
	if !slices.Equal(f.calls[:WarmUp+4], batches) || slices.Contains(f.calls[WarmUp+4:], batches[0]) {
		t.Errorf("calls: %v", f.calls[:20])
	}
	if len(m.Times) != 4 || len(m.Latency) < leastCalls || len(f.calls) != 2*WarmUp+4+len(m.Latency) || !slices.IsSorted(m.Latency) {
		t.Errorf("%d times, %d latencies, %d calls", len(m.Times), len(m.Latency), len(f.calls))
	}
	if !slices.Equal(f.profiled, batches[:1]) {
		t.Errorf("profiled: %v", f.profiled)
	}
}

func TestWhatFailsEndsTheMeasuring(t *testing.T) {
	for name, measure := range map[string]func(Bench, context.Context) (*Measurement, error){"train": Bench.Train, "predict": Bench.Predict} {
		for _, at := range []int{1, WarmUp + 1, WarmUp + 4, 2*WarmUp + 4 + 50} {
			if name == "train" && at > WarmUp+4 {
				continue
			}
			b := bench(&fake{failAt: at})
			b.CPUProfile = &bytes.Buffer{} // the next one can only begin when this one has ended
			if m, err := measure(b, t.Context()); m != nil || !errors.Is(err, errFake) {
				t.Errorf("%s, call %d fails: %v, %v", name, at, m, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := measure(bench(&fake{}), ctx); name == "train" && !errors.Is(err, context.Canceled) {
			t.Errorf("%s of a cancelled context: %v", name, err)
		}
	}
}

func TestTheCPUProfileIsWritten(t *testing.T) {
	var profile bytes.Buffer
	b := bench(&fake{ops: []trace.Op{product}})
	b.CPUProfile = &profile
	if _, err := b.Predict(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(profile.Bytes(), []byte{0x1f, 0x8b}) { // gzip, as pprof reads it
		t.Errorf("it has %d bytes: %q", profile.Len(), profile.Bytes()[:min(10, profile.Len())])
	}
}

func TestFLOPThatIsNotKnown(t *testing.T) {
	for want, ops := range map[string][]trace.Op{
		"neither convolutions nor matrix products": {{Op: "Relu"}},
		"the shapes of x (Conv2D) are not known":   {{Name: "x", Op: "Conv2D"}},
	} {
		m := &Measurement{BatchSize: 2, Traces: [][]trace.Op{ops}}
		if flop, err := m.FLOP(); err == nil || flop != 0 || !strings.Contains(err.Error(), want) {
			t.Errorf("FLOP = %g, %v, want an error with %q", flop, err, want)
		}
	}
}

func TestEnoughCalls(t *testing.T) {
	for name, test := range map[string]struct {
		calls int
		took  time.Duration
		want  bool
	}{
		"too few for a hundredth":      {99, 59 * time.Second, false},
		"enough of a usual model":      {100, 3 * time.Second, true},
		"time for more":                {100, 2 * time.Second, false},
		"enough of a fast model":       {1000, time.Second, true},
		"all that a slow one is given": {7, time.Minute, true},
	} {
		if got := enough(test.calls, test.took); got != test.want {
			t.Errorf("%s: enough(%d, %v) = %v", name, test.calls, test.took, got)
		}
	}
}

func TestTimes(t *testing.T) {
	times := Times{5, 1, 4, 2, 3}
	times.sort()
	low, high := times.Quartiles()
	got := []time.Duration{times.Best(), low, times.Median(), high, times.Worst(), times.Percentile(99), times.Percentile(20), times.Percentile(21)}
	if want := []time.Duration{1, 2, 3, 4, 5, 5, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	one := Times{7}
	if low, high := one.Quartiles(); low != 7 || high != 7 || one.Median() != 7 || one.Percentile(99) != 7 {
		t.Errorf("quartiles of one time are %v and %v", low, high)
	}
	m := Measurement{BatchSize: 8}
	if rate := m.Rate(500 * time.Millisecond); rate != 16 {
		t.Errorf("8 images in half a second are %g a second", rate)
	}
}

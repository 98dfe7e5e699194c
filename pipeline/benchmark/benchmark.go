// Package benchmark measures how fast a model computes.
//
// # Basics
//
// A Bench holds a model and how to measure it; Train and Predict return a
// Measurement each:
//
//	bench := benchmark.Bench{Model: model, Shape: shape, Classes: 10}
//	found, err := bench.Predict(ctx)
//	fmt.Println(found.Rate(found.Times.Median()))
//
// # Caveats
//
// Images are noise that is made before: neither reading nor decoding is measured.
// Train changes the model's weights. How much memory was used is known on Linux
// only.
package benchmark

import (
	"context"
	"fmt"
	"io"
	"runtime/pprof"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
	"github.com/residual-go/residual/tfgo/trace"
)

// Model is a pipeline.Model that can tell what a call's operations took.
// savedmodel.Model is one.
type Model interface {
	pipeline.Model
	Profile(ctx context.Context, name string, inputs map[string]tensor.Tensor) ([]trace.Op, error)
}

// Bench is a model and how to measure it.
type Bench struct {
	Model   Model
	Shape   imagefile.Shape // of its images
	Classes int             // that it tells apart

	BatchSize  int       // 0 means 16
	Steps      int       // measured after WarmUp; 0 means 10
	Traces     int       // further steps whose operations are traced; 0 means 1
	CPUProfile io.Writer // gets Go's CPU profile of the measured steps; nil means none

	// OnStep hears of each step, before it, and of the end: what for, the steps
	// done, their number, those that are traced included.
	OnStep func(doing string, done, total int)
}

// WarmUp is the number of steps before those that are measured: the first ones
// plan the graph and fill caches.
const WarmUp = 3

// Measurement is what was measured.
type Measurement struct {
	BatchSize int
	Times     Times        // of the steps
	Latency   Times        // of one image alone; nil for training
	Memory    Memory       // what the process held meanwhile
	Traces    [][]trace.Op // of Bench.Traces steps
}

// Rate is images a second of a step.
func (m *Measurement) Rate(step time.Duration) float64 { return float64(m.BatchSize) / step.Seconds() }

// FLOP is the floating-point operations of one image, see trace.FLOP. The error
// says why they are not known.
func (m *Measurement) FLOP() (float64, error) {
	total, err := trace.FLOP(m.Traces[0])
	if err == nil && total == 0 {
		err = fmt.Errorf("count operations: there are neither convolutions nor matrix products among %d", len(m.Traces[0]))
	}
	return total / float64(m.BatchSize), err
}

func (b Bench) withDefaults() Bench {
	if b.BatchSize == 0 {
		b.BatchSize = 16
	}
	if b.Steps == 0 {
		b.Steps = 10
	}
	if b.Traces == 0 {
		b.Traces = 1
	}
	if b.OnStep == nil {
		b.OnStep = func(string, int, int) {}
	}
	return b
}

// all is how many steps are taken.
func (b Bench) all() int { return WarmUp + b.Steps + b.Traces }

func (b Bench) check() error {
	for _, field := range []struct {
		name  string
		value int
	}{{"classes", b.Classes}, {"batch size", b.BatchSize}, {"steps", b.Steps}, {"traces", b.Traces}} {
		if field.value < 1 {
			return fmt.Errorf("check bench: %s must be positive, not %d", field.name, field.value)
		}
	}
	return nil
}

// Train measures steps as the train loop takes them, without the waiting for
// data.
func (b Bench) Train(ctx context.Context) (*Measurement, error) {
	b = b.withDefaults()
	if err := b.check(); err != nil {
		return nil, err
	}
	batch, err := b.noise(b.BatchSize)
	if err != nil {
		return nil, err
	}
	m := &Measurement{BatchSize: b.BatchSize, Memory: watchMemory()}
	last := &recorder{Model: b.Model}
	o := pipeline.Options{Epochs: 1, BatchSize: b.BatchSize, LearningRate: 1e-6} // so that no weight runs away
	steps := pipeline.Steps(ctx, last, repeated{batch, WarmUp + b.Steps}, o)
	profile := b.profile()
	defer profile.stop()
	b.OnStep("train", 0, b.all())
	for step, err := range steps {
		if err != nil {
			return nil, err
		}
		if step.Number > WarmUp {
			m.Times = append(m.Times, step.Duration-step.Wait)
		}
		if step.Number == WarmUp {
			if err := profile.start(); err != nil {
				return nil, err
			}
		}
		b.OnStep("train", step.Number, b.all())
	}
	if err := b.finish(ctx, m, profile, last, "train"); err != nil {
		return nil, err
	}
	return m, nil
}

// Predict measures predictions of a batch, and then of one image alone.
func (b Bench) Predict(ctx context.Context) (*Measurement, error) {
	b = b.withDefaults()
	if err := b.check(); err != nil {
		return nil, err
	}
	m := &Measurement{BatchSize: b.BatchSize, Memory: watchMemory()}
	last := &recorder{Model: b.Model}
	profile := b.profile()
	defer profile.stop()
	predict, err := b.predictor(last, b.BatchSize)
	if err != nil {
		return nil, err
	}
	for step := range WarmUp + b.Steps {
		b.OnStep("predict", step, b.all())
		if step == WarmUp {
			if err := profile.start(); err != nil {
				return nil, err
			}
		}
		took, err := predict(ctx)
		if err != nil {
			return nil, err
		}
		if step >= WarmUp {
			m.Times = append(m.Times, took)
		}
	}
	if err := b.finish(ctx, m, profile, last, "predict"); err != nil {
		return nil, err
	}
	if m.Latency, err = b.latency(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// finish ends the measuring of steps, and traces some more. What tracing takes is
// in none of the figures.
func (b Bench) finish(ctx context.Context, m *Measurement, profile *cpuProfile, last *recorder, doing string) error {
	profile.stop()
	m.Memory.stop()
	m.Times.sort()
	for i := range b.Traces {
		b.OnStep(doing, WarmUp+b.Steps+i, b.all())
		ops, err := b.Model.Profile(ctx, last.name, last.inputs)
		if err != nil {
			return err
		}
		m.Traces = append(m.Traces, ops)
	}
	b.OnStep(doing, b.all(), b.all())
	return nil
}

// predictor returns a function that predicts n images and says how long it took.
func (b Bench) predictor(model pipeline.Model, n int) (func(context.Context) (time.Duration, error), error) {
	batch, err := b.noise(n)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (time.Duration, error) {
		begun := time.Now()
		_, err := pipeline.Predict(ctx, model, batch.Images)
		return time.Since(begun), err
	}, nil
}

// recorder is a model that keeps what it was called with last.
type recorder struct {
	pipeline.Model
	name   string
	inputs map[string]tensor.Tensor
}

func (r *recorder) Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	r.name, r.inputs = name, inputs
	return r.Model.Call(ctx, name, inputs)
}

// cpuProfile is Go's, of a part of the program's time.
type cpuProfile struct {
	to      io.Writer
	running bool
}

func (b Bench) profile() *cpuProfile { return &cpuProfile{to: b.CPUProfile} }

func (p *cpuProfile) start() error {
	if p.to == nil {
		return nil
	}
	if err := pprof.StartCPUProfile(p.to); err != nil {
		return fmt.Errorf("profile steps: %w", err)
	}
	p.running = true
	return nil
}

func (p *cpuProfile) stop() {
	if p.running {
		pprof.StopCPUProfile()
	}
	p.running = false
}

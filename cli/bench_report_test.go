package cli

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline/benchmark"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/trace"
)

// measured is of steps of 4 images that took so many milliseconds, and of a
// product of two matrices of 1000 rows.
func measured(ms ...int) *benchmark.Measurement {
	m := &benchmark.Measurement{BatchSize: 4, Memory: benchmark.Memory{Bytes: 300 << 20}}
	for _, n := range ms {
		m.Times = append(m.Times, time.Duration(n)*time.Millisecond)
	}
	square := []int{1000, 1000}
	m.Traces = [][]trace.Op{{{Op: "MatMul", Inputs: [][]int{square, square}, Outputs: [][]int{square}}}}
	return m
}

func TestBenchText(t *testing.T) {
	r := &benchResult{
		Model: "models/resnet50", Precision: "float32", BatchSize: 4, Steps: 4, WarmUp: 3, Threads: 1,
		Peak: peakResult{40, 2048}, peak: tfgo.Peak{FLOPS: 40e9, Side: 2048},
	}
	r.Train, r.Predict = r.speed(measured(80, 100, 125, 160)), r.speed(measured(10, 20, 30, 40))
	frozen := true
	r.Predict.Frozen, r.Predict.Latency = &frozen, &latencyResult{5, 12.345, 100}
	want := `models/resnet50
float32, batch 4, 1 thread, 4 steps after a warm-up of 3

                        train  predict
images/s, median         40.0      200
  quartiles         32.0-50.0  133-400
  best                   50.0      400
ms a step, median         100     20.0
GFLOP an image          0.500    0.500
GFLOP/s                  20.0      100
  of the peak, %         50.0      250
peak memory, MB           300      300
one image, p50, ms          -     5.00
  p99, ms                   -     12.3
  calls                     -      100

Peak: 40.0 GFLOP/s, a product of two 2048x2048 matrices in
  float32.
predict ran from a frozen graph.
predict is beyond the peak: other programs computed while
  that was measured. Let nothing else run.
`
	if diff := cmp.Diff(want, r.text()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is not known is left out, and said.
func TestBenchTextOfWhatIsNotKnown(t *testing.T) {
	m := measured(100)
	m.Traces[0] = append(m.Traces[0], trace.Op{Name: "cluster", Op: "_XlaRun"})
	m.Memory.SinceStart = true
	r := &benchResult{Model: "m", Precision: "float32", peak: tfgo.Peak{FLOPS: 40e9, Side: 2048}}
	r.Predict = r.speed(m)
	frozen := false
	r.Predict.Frozen, r.Predict.NotFrozen = &frozen, "x (AssignAddVariableOp) has side effects"
	r.Predict.Latency = &latencyResult{5, 6, 7}
	if s := r.Predict; s.GFLOPPerImage != nil || s.GFLOPS != nil || s.ShareOfPeak != nil || s.FLOPUnknown == "" || !s.MemorySinceStart {
		t.Errorf("figures: %+v", s)
	}
	text := strings.Join(strings.Fields(r.text()), " ")
	for _, want := range []string{
		"GFLOP an image -", "of the peak, % -", "predict ran from the graph in the file: x (AssignAddVariableOp) has side effects.",
		"predict has no GFLOP: count operations: cluster (_XlaRun) is of a kind that is not counted.",
		"Peak memory is since the start of the program",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, r.text())
		}
	}
	m.Memory = benchmark.Memory{SinceStart: true} // not even that
	if r.Predict = r.speed(m); r.Predict.PeakMemoryMB != nil {
		t.Errorf("figures: %+v", r.Predict)
	}
}

func TestFigures(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0.00", 0.0000868: "8.68e-05", 0.5: "0.500", 0.9996: "1.00", 1.234: "1.23", 9.996: "10.0", 45.67: "45.7", 99.96: "100", 1234.5: "1234", 20167.2: "20167",
	} {
		if got := figure(x); got != want {
			t.Errorf("figure(%g) = %q, want %q", x, got, want)
		}
	}
}

func TestOpTableFits(t *testing.T) {
	rows := []trace.Row{
		{Op: "_MklNativeFusedDepthwiseConv2dNativeOrEvenLonger", Calls: 1234, Time: 12345 * time.Millisecond, Share: 1},
		{Op: "Relu", Calls: 1.5, Time: 1234 * time.Microsecond, Share: 0.0123},
	}
	for _, line := range strings.Split(opTable("predict", rows), "\n") {
		if len([]rune(line)) > 60 {
			t.Errorf("a line is wider than 60 columns: %s", line)
		}
	}
}

// What fails leaves no profile behind.
func TestProfilesOfWhatFails(t *testing.T) {
	p, err := openProfiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	one, err := p.open("train")
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := one.close(nil, broken); !errors.Is(err, broken) {
		t.Errorf("close = %v", err)
	}
	left, err := os.ReadDir(p.dir)
	if err != nil || len(left) != 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}

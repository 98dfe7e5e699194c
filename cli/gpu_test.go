package cli_test

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
)

// deviceVariable lets make test-gpu's tests compute elsewhere than on a GPU: on a CPU
// they show that they themselves are right.
const deviceVariable = "RESIDUAL_TEST_DEVICE"

// gpuDevice is what these tests compare with the CPU.
func gpuDevice(t *testing.T) string {
	t.Helper()
	if device := os.Getenv(deviceVariable); device != "" {
		return device
	}
	if !modeltest.HasGPU(t) {
		t.Skip("there is no GPU: " + tfgo.WhyNoGPU())
	}
	return tfgo.GPUDevice
}

// column reads the numbers of a column of a CSV file.
func column(t *testing.T, path, name string) []float64 {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(read(t, path))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(rows[0], name)
	if at < 0 {
		t.Fatalf("%s has no column %q", path, name)
	}
	var numbers []float64
	for _, row := range rows[1:] {
		number, err := strconv.ParseFloat(row[at], 64)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, number)
	}
	return numbers
}

// A run on a GPU is that of the CPU but for rounding, in each precision, with XLA and
// without, with the data there and with batches that are fed. Products have 24 bits in float32, 11 in TF32 and float16, 8 in
// bfloat16.
func TestGPUTrainsAsTheCPUDoes(t *testing.T) {
	device := gpuDevice(t)
	dir := t.TempDir()
	losses := func(name, device, model string, flags ...string) []float64 {
		t.Helper()
		out := filepath.Join(dir, name)
		args := append([]string{"train", "--model", modeltest.Dir(t, model), "--data", "synthetic", "--limit", "200", "--batch-size", "16", "--epochs", "2",
			"--quiet", "--device", device, "--out", out}, flags...)
		if o := finish(t, process(t, args)); o.code != 0 {
			t.Fatalf("%s: exit code %d: %s", name, o.code, o.stderr)
		}
		return column(t, filepath.Join(out, "steps.csv"), "loss")
	}
	want := losses("cpu", tfgo.CPUDevice, modeltest.Small)
	for _, test := range []struct {
		name, model string
		flags       []string
		first, last float64 // by how much the first loss and the last may differ
	}{
		{"float32", modeltest.Small, nil, 1e-5, 1e-2},
		{"tf32", modeltest.Small, []string{"--precision", "tf32"}, 2e-3, 5e-2},
		{"bfloat16", modeltest.In(modeltest.Brain, modeltest.Small), nil, 3e-2, 1e-1},
		{"float16", modeltest.In(modeltest.Half, modeltest.Small), nil, 4e-3, 5e-2},
	} {
		for _, more := range [][]string{{"--hold-data", "on"}, {"--hold-data", "off"}, {"--hold-data", "on", "--xla"}, {"--hold-data", "off", "--xla"}} {
			name, flags := test.name+strings.Join(more, ""), append(slices.Clone(test.flags), more...)
			t.Run(name, func(t *testing.T) {
				got := losses(name, device, test.model, flags...)
				if len(got) != len(want) {
					t.Fatalf("%d steps, on the CPU %d", len(got), len(want))
				}
				last := len(want) - 1
				if d := math.Abs(got[0] - want[0]); !(d <= test.first) {
					t.Errorf("the first loss is %g, of float32 on the CPU %g", got[0], want[0])
				}
				if d := math.Abs(got[last] - want[last]); !(d <= test.last) {
					t.Errorf("the last loss is %g, of float32 on the CPU %g", got[last], want[last])
				}
			})
		}
	}
}

// What one kind of machine has trained the other goes on with, and predicts the same,
// however the model was exported.
func TestModelsMoveBetweenDevices(t *testing.T) {
	device := gpuDevice(t)
	image := write(t, filepath.Join(t.TempDir(), "image.png"), pngImage(t, 32, 32))
	var models []string
	for _, model := range modeltest.ByOption {
		models = append(models, model, modeltest.In(modeltest.Brain, model), modeltest.In(modeltest.Half, model))
	}
	for _, model := range models {
		t.Run(model, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			data := []string{"--data", "synthetic", "--limit", "20", "--quiet"}
			for i, device := range []string{device, tfgo.CPUDevice, device} {
				args := append([]string{"train", "--device", device, "--out", out}, data...)
				if i == 0 {
					args = append(args, "--model", modeltest.Dir(t, model), "--epochs", "1", "--batch-size", "8")
				} else {
					args = append(args, "--resume", "--override", "--epochs", string(rune('1'+i)))
				}
				if o := finish(t, process(t, args)); o.code != 0 {
					t.Fatalf("%v: exit code %d: %s", args, o.code, o.stderr)
				}
			}
			var probabilities []float64
			for _, device := range []string{device, tfgo.CPUDevice} {
				o := finish(t, process(t, []string{"predict", "--model", out, "--device", device, "--json", "--quiet", image}))
				if o.code != 0 {
					t.Fatalf("exit code %d: %s", o.code, o.stderr)
				}
				var got struct {
					Images []struct {
						Top []struct{ Probability float64 }
					}
				}
				o.lastLine(t, &got)
				probabilities = append(probabilities, got.Images[0].Top[0].Probability)
			}
			if d := math.Abs(probabilities[0] - probabilities[1]); !(d <= 3e-2) {
				t.Errorf("probabilities %v", probabilities)
			}
		})
	}
}

package cli_test

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

type benchOutcome struct {
	Precision string `json:"precision"`
	BatchSize int    `json:"batch_size"`
	Steps     int    `json:"steps"`
	Threads   int    `json:"threads"`
	Peak      struct {
		GFLOPS float64 `json:"gflop_per_second"`
	} `json:"peak"`
	Train, Predict *benchFigures
}

type benchFigures struct {
	Rate      float64    `json:"images_per_second"`
	Quartiles [2]float64 `json:"quartiles"`
	Best      float64    `json:"best"`
	Worst     float64    `json:"worst"`
	StepMS    struct {
		Median float64 `json:"median"`
	} `json:"step_ms"`
	GFLOP  float64 `json:"gflop_per_image"`
	GFLOPS float64 `json:"gflop_per_second"`
	Share  float64 `json:"share_of_peak"`
	Memory float64 `json:"peak_memory_mb"`
	Frozen *bool   `json:"frozen"`

	Latency *struct {
		P50, P99 float64
		Calls    int
	} `json:"latency_ms"`
	Profile map[string]string `json:"profile"`
}

// The small model's operations an image: see savedmodel's TestProfileCountsWhatAModelComputes.
const smallPredict, smallTrain = 86768e-9, 239136e-9

// Who turns oneDNN off has it off everywhere.
func TestBenchWithoutOneDNN(t *testing.T) {
	prof := filepath.Join(t.TempDir(), "prof")
	o := finish(t, process(t, []string{"bench", "--model", modeltest.Dir(t, modeltest.Small), "--train", "--predict",
		"--steps", "1", "--batch-size", "2", "--profile", prof, "--quiet"}, "TF_ENABLE_ONEDNN_OPTS=0"))
	if o.code != 0 {
		t.Fatal(o)
	}
	for _, task := range []string{"train", "predict"} {
		table, err := os.ReadFile(filepath.Join(prof, task+"-ops.csv"))
		if err != nil || !strings.Contains(string(table), "Conv2D") || strings.Contains(string(table), "_Mkl") {
			t.Errorf("%s: %v\n%s", task, err, table)
		}
	}
}

func TestBench(t *testing.T) {
	o := must(t, "bench", "--model", modeltest.Dir(t, modeltest.Small), "--train", "--predict", "--batch-size", "3", "--steps", "4", "--quiet", "--json")
	needFields(t, o, "model", "precision", "batch_size", "steps", "warm_up", "threads", "peak.gflop_per_second", "peak.side",
		"train.images_per_second", "train.quartiles", "train.best", "train.worst", "train.step_ms.median", "train.step_ms.quartiles",
		"train.step_ms.best", "train.gflop_per_image", "train.gflop_per_second", "train.share_of_peak", "train.peak_memory_mb",
		"predict.images_per_second", "predict.frozen", "predict.latency_ms.p50", "predict.latency_ms.p99", "predict.latency_ms.calls")
	if o.stderr != "" {
		t.Errorf("--quiet printed %q", o.stderr)
	}
	var got benchOutcome
	o.lastLine(t, &got)
	if got.Precision != "float32" || got.BatchSize != 3 || got.Steps != 4 || got.Threads < 1 || !(got.Peak.GFLOPS > 0) {
		t.Errorf("bench says %s", o.stdout)
	}
	for name, f := range map[string]*benchFigures{"train": got.Train, "predict": got.Predict} {
		rates := []float64{f.Worst, f.Quartiles[0], f.Rate, f.Quartiles[1], f.Best}
		if !slices.IsSorted(rates) || !(rates[0] > 0) {
			t.Errorf("%s: worst, quartiles, median and best are %v", name, rates)
		}
		if !near(f.StepMS.Median, 3/f.Rate*1000) || !near(f.GFLOPS, f.GFLOP*f.Rate) || !near(f.Share, f.GFLOPS/got.Peak.GFLOPS) {
			t.Errorf("%s: the figures do not follow from each other: %+v", name, f)
		}
		if !(f.Memory > 10) {
			t.Errorf("%s held %g MB", name, f.Memory)
		}
	}
	if !near(got.Predict.GFLOP, smallPredict) || !near(got.Train.GFLOP, smallTrain) {
		t.Errorf("GFLOP an image: %g and %g", got.Predict.GFLOP, got.Train.GFLOP)
	}
	if got.Train.Latency != nil || got.Train.Frozen != nil || got.Predict.Frozen == nil || !*got.Predict.Frozen {
		t.Errorf("bench says %s", o.stdout)
	}
	if latency := got.Predict.Latency; !(0 < latency.P50 && latency.P50 <= latency.P99) || latency.Calls < 100 {
		t.Errorf("latency %+v", latency)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) }

func TestBenchMeasuresWhatIsAskedFor(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	for which, other := range map[string]string{"train": "predict", "predict": "train"} {
		text := must(t, "bench", "--model", small, "--"+which, "--steps", "1", "--batch-size", "2", "--threads", "1").stdout
		if !strings.Contains(text, " "+which+"\n") || strings.Contains(text, " "+other) ||
			strings.Contains(text, "one image") != (which == "predict") || !strings.Contains(text, "\nPeak: ") {
			t.Errorf("--%s prints\n%s", which, text)
		}
		// The path of the model is as long as it is.
		for _, line := range strings.Split(text, "\n")[1:] {
			if len([]rune(line)) > 60 {
				t.Errorf("a line is wider than 60 columns: %s", line)
			}
		}
	}
}

// A model that wants a seed with each step; its profile's paths.
func TestBenchOfASeededModel(t *testing.T) {
	dir := t.TempDir()
	o := must(t, "bench", "--model", modeltest.Dir(t, modeltest.Pets), "--train", "--steps", "1", "--batch-size", "2", "--profile", dir, "--json")
	var got benchOutcome
	if o.lastLine(t, &got); got.Predict != nil || !(got.Train.GFLOP > 0) {
		t.Errorf("bench says %s", o.stdout)
	}
	for name, path := range map[string]string{"ops": "ops.csv", "nodes": "nodes.csv", "trace": "trace.json", "cpu": "cpu.pprof"} {
		if got.Train.Profile[name] != filepath.Join(dir, "train-"+path) {
			t.Errorf("--json says %s", o.stdout)
		}
	}
}

// Only the CPU decides whether bfloat16 is fast; it works everywhere.
func TestBenchTakesAPrecision(t *testing.T) {
	o := must(t, "bench", "--model", modeltest.Dir(t, modeltest.Small), "--predict", "--steps", "1", "--precision", "bfloat16", "--json")
	var got benchOutcome
	if o.lastLine(t, &got); got.Precision != "bfloat16" || !near(got.Predict.GFLOP, smallPredict) {
		t.Errorf("bench says %s", o.stdout)
	}
}

func TestBenchWritesProfiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "profile")
	args := []string{"bench", "--model", modeltest.Dir(t, modeltest.Small), "--train", "--predict", "--steps", "2", "--batch-size", "2", "--profile", dir}
	text := must(t, args...).stdout
	want := []string{
		"predict-cpu.pprof", "predict-nodes.csv", "predict-ops.csv", "predict-trace.json",
		"train-cpu.pprof", "train-nodes.csv", "train-ops.csv", "train-trace.json",
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, name := range want {
		if !strings.Contains(text, filepath.Join(dir, name)) {
			t.Errorf("nothing is said of %s:\n%s", name, text)
		}
	}
	ops := read(t, filepath.Join(dir, "train-ops.csv"))
	for _, op := range []string{"Conv2DBackpropFilter,", "FusedBatchNormGradV3,", "AssignVariableOp,"} {
		if !strings.Contains(ops, "\n"+op) && !strings.Contains(ops, "\n_MklNative"+op) {
			t.Errorf("there is no %s in\n%s", op, ops)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(read(t, filepath.Join(dir, "predict-nodes.csv")))).ReadAll()
	if err != nil || len(rows) < 5 {
		t.Fatalf("%v: the nodes are %v", err, rows)
	}
	// Which node of so small a model is slow is chance: that the slowest comes first is not.
	convolutions := 0
	ms := slices.Index(rows[0], "ms")
	slowest := math.Inf(1)
	for _, row := range rows[1:] {
		took, err := strconv.ParseFloat(row[ms], 64)
		if err != nil || took > slowest {
			t.Errorf("%v after one of %g ms: %v", row, slowest, err)
		}
		slowest = took
		if strings.Contains(row[0], "conv2d") && strings.Contains(row[1], "Conv2D") {
			convolutions++
		}
	}
	if convolutions != 2 {
		t.Errorf("%d convolutions in %v", convolutions, rows)
	}
	var timeline struct{ TraceEvents []map[string]any }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "train-trace.json"))), &timeline); err != nil || len(timeline.TraceEvents) < 20 {
		t.Errorf("the timeline has %d events, %v", len(timeline.TraceEvents), err)
	}
}

func TestBenchNeedsRoomForProfiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, run("bench", "--model", modeltest.Dir(t, modeltest.Small), "--predict", "--profile", file), 1, "write profile", file)
}

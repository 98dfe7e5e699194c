package cli_test

import (
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

func TestBench(t *testing.T) {
	for _, model := range []string{modeltest.Small, modeltest.Pets} { // without a seed and with one
		o := must(t, "bench", "--model", modeltest.Dir(t, model), "--train", "--predict", "--batch-size", "3", "--steps", "4", "--quiet", "--json")
		needFields(t, o, "precision", "batch_size", "train.images_per_second", "predict.images_per_second", "predict.latency_ms.p50", "predict.latency_ms.p99")
		var got struct {
			Precision string `json:"precision"`
			BatchSize int    `json:"batch_size"`
			Steps     int    `json:"steps"`
			Train     struct {
				Rate  float64 `json:"images_per_second"`
				Best  float64 `json:"best"`
				Worst float64 `json:"worst"`
			} `json:"train"`
			Predict struct {
				Latency struct{ P50, P99 float64 } `json:"latency_ms"`
			} `json:"predict"`
		}
		o.lastLine(t, &got)
		if got.Precision != "float32" || got.BatchSize != 3 || got.Steps != 4 {
			t.Errorf("bench says %s", o.stdout)
		}
		if train := got.Train; !(0 < train.Worst && train.Worst <= train.Rate && train.Rate <= train.Best) {
			t.Errorf("the median is not between the worst and the best: %+v", train)
		}
		if latency := got.Predict.Latency; !(0 < latency.P50 && latency.P50 <= latency.P99) {
			t.Errorf("latency %+v", latency)
		}
	}
}

func TestBenchMeasuresWhatIsAskedFor(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	for _, which := range []string{"train", "predict"} {
		o := must(t, "bench", "--model", small, "--"+which, "--steps", "1", "--batch-size", "2", "--json")
		var got map[string]any
		if o.lastLine(t, &got); got[which] == nil || got["train"] != nil && got["predict"] != nil {
			t.Errorf("--%s gives %s", which, o.stdout)
		}
		text := must(t, "bench", "--model", small, "--"+which, "--steps", "1", "--batch-size", "2").stdout
		if !strings.Contains(text, "\n"+which) || strings.Count(text, "\n") != 2 {
			t.Errorf("--%s prints\n%s", which, text)
		}
	}
}

// Only the CPU decides whether bfloat16 is fast; it works everywhere.
func TestBenchTakesAPrecision(t *testing.T) {
	o := must(t, "bench", "--model", modeltest.Dir(t, modeltest.Small), "--predict", "--steps", "1", "--precision", "bfloat16", "--json")
	var got struct{ Precision string }
	if o.lastLine(t, &got); got.Precision != "bfloat16" {
		t.Errorf("bench says %s", o.stdout)
	}
}

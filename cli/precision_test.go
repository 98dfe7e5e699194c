package cli_test

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
)

// What auto stands for is said, and noted in config.json, so that a run that goes
// on on another machine computes as it began.
func TestAutomaticPrecision(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	small := modeltest.Dir(t, modeltest.Small)
	want, why := tfgo.FastestPrecision(tfgo.Target{})
	o := run("train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", dir, "--precision", "auto")
	if said := "precision is " + string(want) + ": " + why + "\n"; o.code != 0 || !strings.Contains(o.stderr, said) {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if config := read(t, filepath.Join(dir, "config.json")); !strings.Contains(config, `"precision": "`+string(want)+`"`) {
		t.Errorf("config.json has %s", config)
	}
	must(t, "train", "--out", dir, "--resume", "--precision", "auto") // nothing has changed: it is finished
	refused(t, run("train", "--out", dir, "--resume", "--device", "none"), 2, "--device")
	// A run that began in another precision keeps it.
	other := filepath.Join(t.TempDir(), "run")
	o = must(t, "train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", other, "--precision", "tf32", "--gpu-memory", "0.5")
	if warned := strings.Contains(o.stderr, "warning: tf32 is of GPUs"); warned == modeltest.HasGPU(t) {
		t.Errorf("where TF32 is float32 it says %q", o.stderr)
	}
	must(t, "train", "--out", other, "--resume", "--precision", "auto")
	must(t, "train", "--out", other, "--resume", "--override", "--epochs", "2")
	fast := filepath.Join(t.TempDir(), "run")
	must(t, "train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", fast, "--precision", string(want))
	if o := must(t, "train", "--out", fast, "--resume", "--override", "--precision", "auto"); !strings.Contains(o.stderr, "is finished") {
		t.Errorf("nothing has changed, and it says %q", o.stderr)
	}
	for _, kept := range []string{`"precision": "tf32"`, `"gpu_memory": "0.5"`, `"model_precision": "float32"`, `"computed_on": "`} {
		if config := read(t, filepath.Join(other, "config.json")); !strings.Contains(config, kept) {
			t.Errorf("config.json has not %s: %s", kept, config)
		}
	}
	// As many threads as Go's runtime uses, which sees a container's limit.
	limited := filepath.Join(t.TempDir(), "run")
	o = finish(t, process(t, []string{"train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", limited}, "GOMAXPROCS=1"))
	if config := read(t, filepath.Join(limited, "config.json")); o.code != 0 || runtime.NumCPU() > 1 && !strings.Contains(config, `"threads": 1,`) {
		t.Errorf("exit code %d: %s: config.json has %s", o.code, o.stderr, config)
	}
	refused(t, run("evaluate", "--model", small, "--data", "synthetic", "--precision", "half"), 2, "--precision", "auto", "bfloat16", `"half"`)
	o = run("evaluate", "--model", small, "--data", "synthetic", "--limit", "20", "--precision", "bfloat16")
	if said := strings.Contains(o.stderr, "bfloat16 is slower than float32 here"); o.code != 0 || said != (want == tfgo.Float32) {
		t.Errorf("bfloat16, where %s is faster: exit code %d: %s", want, o.code, o.stderr)
	}
}

package cli_test

import (
	"path/filepath"
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
	must(t, "train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", other, "--precision", "tf32", "--gpu-memory", "0.5")
	must(t, "train", "--out", other, "--resume", "--precision", "auto")
	must(t, "train", "--out", other, "--resume", "--override", "--epochs", "2")
	for _, kept := range []string{`"precision": "tf32"`, `"gpu_memory": "0.5"`, `"model_precision": "float32"`} {
		if config := read(t, filepath.Join(other, "config.json")); !strings.Contains(config, kept) {
			t.Errorf("config.json has not %s: %s", kept, config)
		}
	}
	refused(t, run("evaluate", "--model", small, "--data", "synthetic", "--precision", "half"), 2, "--precision", "auto", "bfloat16", `"half"`)
	o = run("evaluate", "--model", small, "--data", "synthetic", "--limit", "20", "--precision", "bfloat16")
	if said := strings.Contains(o.stderr, "bfloat16 is slower than float32 here"); o.code != 0 || said != (want == tfgo.Float32) {
		t.Errorf("bfloat16, where %s is faster: exit code %d: %s", want, o.code, o.stderr)
	}
}

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// Whether the data are held, and how many steps are taken at once, changes nothing.
func TestHeldDataMakeTheSameRun(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for name, test := range map[string]struct {
		model string
		flags []string
	}{
		"BatchNorm":   {modeltest.Small, nil},
		"dropout":     {modeltest.Pets, []string{"--schedule", "cosine", "--validation-split", "0.25"}},
		"accumulated": {modeltest.Sizes, []string{"--batch-size", "3", "--accumulate", "3", "--upsample-schedule", "1,2", "--drop-last"}},
		"a head":      {modeltest.Small, []string{"--freeze", "backbone", "--epochs", "20"}},
		"float16":     {modeltest.In(modeltest.Half, modeltest.Small), nil},
	} {
		t.Run(name, func(t *testing.T) {
			flags := append([]string{"--seed", "3", "--batch-size", "4", "--checkpoint-every", "5"}, test.flags...)
			fed, held := trainQuietly(t, test.model, append(flags, "--hold-data", "off")...), trainQuietly(t, test.model, append(flags, "--hold-data", "on")...)
			const noted = `"hold_data": true`
			if strings.Contains(read(t, filepath.Join(fed, "config.json")), noted) || !strings.Contains(read(t, filepath.Join(held, "config.json")), noted) {
				t.Error("config.json does not say which data are held")
			}
			fedSteps, fedWeights := result(t, fed)
			heldSteps, heldWeights := result(t, held)
			if fedSteps != heldSteps {
				t.Errorf("the steps differ: fed\n%sheld\n%s", fedSteps, heldSteps)
			}
			if fedWeights != heldWeights {
				t.Error("the weights differ")
			}
		})
	}
}

// A run goes on as it began: config.json has what auto stood for.
func TestARunOnHeldDataGoesOn(t *testing.T) {
	fed, held := stoppedRun(t, modeltest.Small, "--batch-size", "16", "--hold-data", "auto"), stoppedRun(t, modeltest.Small, "--batch-size", "16", "--hold-data", "on")
	const noted = `"hold_data": true`
	if strings.Contains(read(t, filepath.Join(fed, "config.json")), noted) || !strings.Contains(read(t, filepath.Join(held, "config.json")), noted) {
		t.Error("config.json does not say which data are held")
	}
	refused(t, run("train", "--out", held, "--resume", "--hold-data", "off"), 2, held+" began with other settings: --hold-data off, which was on")
	resumed := func(dir string, flags ...string) {
		t.Helper()
		if o := finish(t, process(t, append([]string{"train", "--out", dir, "--resume"}, flags...))); o.code != 0 || strings.Contains(o.stderr, "the training data are copied into TensorFlow's memory: ") != (dir == held) {
			t.Errorf("exit code %d: %s", o.code, o.stderr)
		}
	}
	resumed(held, "--hold-data", "auto")
	resumed(fed)
	fedSteps, fedWeights := result(t, fed)
	heldSteps, heldWeights := result(t, held)
	if fedSteps != heldSteps || fedWeights != heldWeights {
		t.Error("the runs differ")
	}
	o := must(t, "train", "--out", held, "--resume", "--override", "--epochs", "5", "--hold-data", "off")
	if !strings.Contains(o.stderr, "overriding --hold-data off, which was on") || strings.Contains(read(t, filepath.Join(held, "config.json")), noted) {
		t.Errorf("it says %s", o.stderr)
	}
}

// By itself the program holds features, whose steps take less than feeding them.
func TestWhichDataAreHeld(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	small := modeltest.Dir(t, modeltest.Small)
	for name, test := range map[string]struct {
		flags []string
		says  string // "" where nothing is held
	}{
		"images":             {nil, ""},
		"images, wanted":     {[]string{"--hold-data", "on"}, "the training data are copied into TensorFlow's memory: 120.00 KB"},
		"features":           {[]string{"--freeze", "backbone"}, "the training data are copied into TensorFlow's memory: "},
		"features, unwanted": {[]string{"--freeze", "backbone", "--hold-data", "off"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			o := must(t, append([]string{"train", "--model", small, "--data", "synthetic", "--limit", "40", "--epochs", "1", "--device", "cpu", "--out", out}, test.flags...)...)
			if said := strings.Contains(o.stderr, "are copied"); said != (test.says != "") || !strings.Contains(o.stderr, test.says) {
				t.Errorf("it says %s", o.stderr)
			}
		})
	}
	refused(t, run("train", "--model", small, "--data", "synthetic", "--hold-data", "maybe"), 2, `--hold-data must be one of auto, on, off, not "maybe"`)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none")) // the graph with the loop is read from there
	out := filepath.Join(t.TempDir(), "run")
	refused(t, run("train", "--model", small, "--data", "synthetic", "--limit", "40", "--hold-data", "on", "--out", out), 1, "none")
	if _, err := os.Stat(out); err == nil {
		t.Error("there is a run")
	}
	o := must(t, "train", "--model", small, "--data", "synthetic", "--limit", "40", "--epochs", "1", "--freeze", "backbone", "--out", out)
	if !strings.Contains(o.stderr, "the training data are not held: ") || strings.Contains(read(t, filepath.Join(out, "config.json")), "hold_data") {
		t.Errorf("without a temporary directory it says %s", o.stderr)
	}
	held := filepath.Join(t.TempDir(), "run")
	there := os.Getenv("TMPDIR")
	t.Setenv("TMPDIR", "")
	must(t, "train", "--model", small, "--data", "synthetic", "--limit", "40", "--epochs", "1", "--freeze", "backbone", "--out", held)
	t.Setenv("TMPDIR", there)
	refused(t, run("train", "--out", held, "--resume", "--override", "--epochs", "2", "--quiet"), 1, held+", whose training data are held: ", "none", "--override --hold-data off")
}

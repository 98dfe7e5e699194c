package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// Both of the article's systems from the first command to the last: exported by
// Python, looked at, trained, evaluated and asked, at 32x32 and so in seconds.
func TestBothRecipes(t *testing.T) {
	for recipe, want := range map[string]struct {
		batchSize int
		layer     string // of the summary
		parameter string // its count
	}{
		"keras":   {64, "resnet50 (Functional) ", "26,215,818"},
		"pytorch": {64, "resnet (Functional)", "26,189,258"},
	} {
		t.Run(recipe, func(t *testing.T) {
			dir := t.TempDir()
			model, run := filepath.Join(dir, "model"), filepath.Join(dir, "run")
			export := process(t, []string{"export", "--recipe", recipe, "--upsample", "1", "--out", model},
				"RESIDUAL_PYTHON="+filepath.Join(modeltest.Root(), ".venv", "bin", "python"), "PYTHONPATH="+modeltest.Root())
			if o := finish(t, export); o.code != 0 {
				t.Fatalf("export: exit code %d: %s", o.code, o.stderr)
			}
			sheet := filepath.Join(dir, "preview.png")
			must(t, "data", "preview", "--model", model, "--data", "synthetic", "--out", sheet)
			if _, err := os.Stat(sheet); err != nil {
				t.Error(err)
			}
			summary := must(t, "summary", "--model", model).stdout
			for _, part := range []string{want.layer, want.parameter} {
				if !strings.Contains(summary, part) {
					t.Errorf("the summary does not have %q", part)
				}
			}

			trained := must(t, "train", "--model", model, "--data", "synthetic", "--limit", "70", "--epochs", "1", "--out", run, "--quiet").stdout
			if rows := stepsOf(t, run); len(rows) != 2 { // 64 and 6: the recipe's batch size
				t.Errorf("%d steps over 70 images", len(rows))
			}
			evaluated := must(t, "evaluate", "--model", run, "--data", "synthetic", "--limit", "70", "--quiet").stdout
			for command, text := range map[string]string{"train": trained, "evaluate": evaluated} {
				checkLastLine(t, recipe, command, text)
			}

			images := filepath.Join(dir, "images")
			must(t, "data", "unpack", "--data", "synthetic", "--limit", "10", "--out", images)
			var asked predictOutcome
			must(t, "predict", "--model", run, "--json", filepath.Join(images, "test", "ship", "0001.png")).lastLine(t, &asked)
			if len(asked.Images) != 1 || len(asked.Images[0].Top) != 5 {
				t.Errorf("predict says %+v", asked)
			}
		})
	}
}

// checkLastLine holds the last line against the figures above it: the article's
// PyTorch system ends with one of its own.
func checkLastLine(t *testing.T, recipe, command, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := lines[len(lines)-1]
	if recipe != "pytorch" {
		if strings.Contains(text, "network") {
			t.Errorf("%s ends with another system's line: %s", command, last)
		}
		return
	}
	accuracy := regexp.MustCompile(`accuracy ([0-9.]+ %) \([0-9]+ of 70 images\)`).FindAllStringSubmatch(text, -1)
	if accuracy == nil {
		t.Fatalf("%s tells of no accuracy:\n%s", command, text)
	}
	want := fmt.Sprintf("Accuracy of the network on the 70 test images: %s", accuracy[len(accuracy)-1][1])
	if last != want {
		t.Errorf("%s ends with %q, not with %q", command, last, want)
	}
}

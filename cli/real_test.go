package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// Real photographs, if some stand beside the checkout, through a process as a
// user starts it. The small net learns more of them than chance.
func TestRealImages(t *testing.T) {
	archive := filepath.Join(modeltest.Root(), "..", "shared", "data", "cifar10-jpeg.tar.gz")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("no real images: %v", err)
	}
	dir := t.TempDir()
	images, first := filepath.Join(dir, "images"), filepath.Join(dir, "run")
	if err := os.Mkdir(images, 0o755); err != nil {
		t.Fatal(err)
	}
	// 150 and 50 images a class: with all 55,000 files tar takes seconds.
	unpack := []string{"-xzf", archive, "-C", images, "--wildcards", "train/*/00*.jpg", "train/*/010*.jpg", "train/*/011*.jpg",
		"train/*/012*.jpg", "train/*/013*.jpg", "train/*/014*.jpg", "test/*/000*.jpg", "test/*/001*.jpg", "test/*/002*.jpg", "test/*/003*.jpg", "test/*/004*.jpg"}
	if out, err := exec.Command("tar", unpack...).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	residual := func(args ...string) outcome {
		t.Helper()
		o := finish(t, process(t, args))
		if o.code != 0 || o.stderr != "" {
			t.Fatalf("residual %v: exit code %d: %s", args, o.code, o.stderr)
		}
		return o
	}
	var trained trainOutcome
	residual("train", "--model", modeltest.Dir(t, modeltest.Small), "--data", images, "--batch-size", "32",
		"--epochs", "3", "--learning-rate", "0.05", "--out", first, "--quiet", "--json").lastLine(t, &trained)
	if trained.Train.Examples != 1500 || trained.Test.Examples != 500 {
		t.Errorf("train says %+v", trained)
	}
	var got evaluateOutcome
	residual("evaluate", "--model", first, "--data", images, "--batch-size", "32", "--quiet", "--json").lastLine(t, &got)
	if got.figures != *trained.Test {
		t.Errorf("train's test figures are %+v, evaluate's %+v", *trained.Test, got.figures)
	}
	if got.Accuracy < 0.2 {
		t.Errorf("accuracy is %g after three epochs, chance is 0.1", got.Accuracy)
	}
	var asked predictOutcome
	residual("predict", "--model", first, "--json", filepath.Join(images, "test", "ship", "0000.jpg")).lastLine(t, &asked)
	if len(asked.Images) != 1 || len(asked.Images[0].Top) != 5 {
		t.Errorf("predict says %+v", asked)
	}
}

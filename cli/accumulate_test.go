package cli_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// Without a BatchNorm it makes no difference what a step is computed in, but for
// rounding.
func TestAccumulatedBatchesAreOneBatch(t *testing.T) {
	train := func(flags ...string) [][]string {
		dir := filepath.Join(t.TempDir(), "run")
		must(t, append([]string{"train", "--model", modeltest.Dir(t, modeltest.Tiny), "--data", "synthetic", "--limit", "54",
			"--epochs", "2", "--learning-rate", "0.5", "--out", dir, "--quiet"}, flags...)...)
		return stepsOf(t, dir)
	}
	want, got := train("--batch-size", "16"), train("--batch-size", "4", "--accumulate", "4")
	if len(want) != 8 || len(got) != 8 { // the last step of an epoch has 6 images: 4 and 2
		t.Fatalf("%d and %d steps", len(want), len(got))
	}
	for i := range want {
		a, b := number(t, want[i][2]), number(t, got[i][2])
		if math.Abs(a-b) > 1e-5*a || want[i][3] != got[i][3] {
			t.Errorf("step %d: %v, in one batch %v", i+1, got[i], want[i])
		}
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// From the first step at the smallest size to a model that is tested at its own,
// in one go and cut short in the middle of an epoch.
func TestARunAtGrowingSizes(t *testing.T) {
	flags := []string{"--batch-size", "4", "--accumulate", "4", "--upsample-schedule", "1,3"}
	dir := stoppedRun(t, modeltest.Sizes, flags...)
	step := lastStep(t, dir)
	check := unchanged(t, dir)
	refused(t, run("train", "--out", dir, "--resume", "--accumulate", "2", "--upsample-schedule", "2"), 2,
		"--accumulate 2, which was 4", "--upsample-schedule 2, which was 1,3", "--override")
	refused(t, run("train", "--out", dir, "--resume", "--override", "--accumulate", "2"), 1,
		fmt.Sprintf("the number of batches in a step, which can change only between epochs (this is batch %d of epoch 2)", step-4))
	refused(t, run("train", "--out", dir, "--resume", "--override", "--epochs", "2", "--upsample-schedule", "1,2,3"), 2,
		"--upsample-schedule 1,2,3 has 3 factors for 2 epochs")
	check()

	whole := filepath.Join(t.TempDir(), "whole")
	for _, args := range [][]string{
		{"train", "--out", dir, "--resume", "--json"},
		append([]string{"train", "--model", modeltest.Dir(t, modeltest.Sizes), "--data", "synthetic", "--limit", "60", "--epochs", "4",
			"--threads", "1", "--seed", "5", "--out", whole, "--json"}, flags...),
	} {
		o := finish(t, process(t, args))
		if o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		var trained trainOutcome
		if o.lastLine(t, &trained); trained.Steps != 16 || trained.Train.Examples != 60 || trained.Test.Examples != 60 {
			t.Errorf("train says %s", o.stdout)
		}
	}
	steps, weights := result(t, dir)
	wantSteps, wantWeights := result(t, whole)
	if weights != wantWeights || steps != wantSteps {
		t.Errorf("it ended as another run: %s", cmp.Diff(wantSteps, steps))
	}
	var settings struct {
		BatchSize        int   `json:"batch_size"`
		Accumulate       int   `json:"accumulate"`
		UpsampleSchedule []int `json:"upsample_schedule"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "config.json"))), &settings); err != nil {
		t.Fatal(err)
	}
	if settings.BatchSize != 4 || settings.Accumulate != 4 || !cmp.Equal(settings.UpsampleSchedule, []int{1, 3}) {
		t.Errorf("config.json says %+v", settings)
	}
	if o := must(t, "train", "--out", dir, "--resume", "--accumulate", "4", "--upsample-schedule", "1,3"); !strings.Contains(o.stderr, "is finished") {
		t.Errorf("it says %s", o.stderr)
	}
}

// The factor that is fed decides, not the model's own.
func TestAFactorChangesTheRun(t *testing.T) {
	losses := map[string]string{}
	for _, schedule := range []string{"1", "2", "3"} {
		dir := filepath.Join(t.TempDir(), "run")
		must(t, "train", "--model", modeltest.Dir(t, modeltest.Sizes), "--data", "synthetic", "--limit", "20", "--epochs", "1",
			"--out", dir, "--quiet", "--upsample-schedule", schedule)
		losses[schedule] = stepsOf(t, dir)[0][2]
	}
	own := filepath.Join(t.TempDir(), "run")
	must(t, "train", "--model", modeltest.Dir(t, modeltest.Sizes), "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", own, "--quiet", "--upsample-schedule", "none")
	if losses["1"] == losses["2"] || losses["3"] == losses["2"] || losses["2"] != stepsOf(t, own)[0][2] {
		t.Errorf("the losses are %v, at the model's own size %s", losses, stepsOf(t, own)[0][2])
	}
}

func TestModelsThatCannotAccumulate(t *testing.T) {
	older := func(t *testing.T) {
		if err := os.CopyFS("m", os.DirFS(modeltest.Dir(t, modeltest.Small))); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("m", "saved_model.pb")
		write(t, path, []byte(strings.ReplaceAll(read(t, path), "train_accumulate", "train_something_")))
	}
	for _, test := range []wrongInput{
		{"exported before", older, "train --model m --data synthetic --accumulate 2", []string{`m has no "train_accumulate" signature`, "--accumulate", "export it again"}},
		{"exported before, at other sizes", older, "train --model m --data synthetic --upsample-schedule 2", []string{`"train_accumulate"`, "--upsample-schedule", "export it again"}},
		{"of one size", nil, "train --model SMALL --data synthetic --upsample-schedule 1,2", []string{"its own factor only", "--upsample-schedule", "UpSampling2D"}},
	} {
		t.Run(test.name, test.run)
	}
}

package cli_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// figures are what commands say of a split.
type figures struct {
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"`
	Correct  int     `json:"correct"`
	Examples int     `json:"examples"`
}

type trainOutcome struct {
	Run             string   `json:"run"`
	Model           string   `json:"model"`
	Epochs          int      `json:"epochs"`
	Steps           int      `json:"steps"`
	Train           figures  `json:"train"`
	Test            *figures `json:"test"`
	ImagesPerSecond float64  `json:"images_per_second"`
	DataWait        float64  `json:"data_wait"`
}

// table reads a CSV file and checks its first row.
func table(t *testing.T, path string, columns ...string) [][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(read(t, path))).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if diff := cmp.Diff(columns, rows[0]); diff != "" {
		t.Fatalf("columns of %s: %s", path, diff)
	}
	return rows[1:]
}

func stepsOf(t *testing.T, run string) [][]string {
	t.Helper()
	return table(t, filepath.Join(run, "steps.csv"), "step", "epoch", "loss", "accuracy", "learning_rate", "images_per_second")
}

func epochsOf(t *testing.T, run string) [][]string {
	t.Helper()
	return table(t, filepath.Join(run, "metrics.csv"), "epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
}

// decimal is how the CSV files write a number.
func decimal(x float64) string { return strconv.FormatFloat(x, 'g', 9, 64) }

func TestTrainEvaluatePredictAndTrainAgain(t *testing.T) {
	model, dir := modeltest.Dir(t, modeltest.Small), t.TempDir()
	first, second := filepath.Join(dir, "new", "first"), filepath.Join(dir, "second")

	// 50 examples in batches of 16 are 4 steps, the last one of 2 examples.
	o := must(t, "train", "--model", model, "--data", "synthetic", "--limit", "50", "--batch-size", "16", "--epochs", "2",
		"--learning-rate", "0.05", "--seed", "7", "--out", first, "--quiet", "--json")
	if o.stderr != "" {
		t.Errorf("--quiet printed %q", o.stderr)
	}
	needFields(t, o, "run", "model", "epochs", "steps", "train.loss", "train.accuracy",
		"test.loss", "test.accuracy", "test.correct", "test.examples", "images_per_second", "data_wait")
	var trained trainOutcome
	o.lastLine(t, &trained)
	if trained.Run != first || trained.Model != filepath.Join(first, "model", "1") || trained.Epochs != 2 || trained.Steps != 8 ||
		trained.Train.Examples != 50 || trained.Test.Examples != 50 || !(trained.ImagesPerSecond > 0) || !(0 < trained.DataWait && trained.DataWait < 1) {
		t.Errorf("train says %+v", trained)
	}
	runDirectory := []string{
		".lock",
		"checkpoints/step-00000004/MANIFEST", "checkpoints/step-00000004/state.json",
		"checkpoints/step-00000004/variables.data-00000-of-00001", "checkpoints/step-00000004/variables.index",
		"checkpoints/step-00000008/MANIFEST", "checkpoints/step-00000008/state.json",
		"checkpoints/step-00000008/variables.data-00000-of-00001", "checkpoints/step-00000008/variables.index",
		"config.json",
		"graph/assets.extra/residual.json", "graph/fingerprint.pb", "graph/saved_model.pb",
		"metrics.csv",
		"model/1/assets.extra/residual.json", "model/1/fingerprint.pb", "model/1/saved_model.pb",
		"model/1/variables/variables.data-00000-of-00001", "model/1/variables/variables.index",
		"plots/training.png", "plots/training.svg", "steps.csv",
	}
	if diff := cmp.Diff(runDirectory, files(t, first)); diff != "" {
		t.Errorf("the run directory (-want +got):\n%s", diff)
	}
	checkTables(t, first, trained)
	checkConfig(t, first, model)

	// Evaluating the saved model gives what the run measured last.
	o = must(t, "evaluate", "--model", first, "--data", "synthetic", "--limit", "50", "--batch-size", "16", "--quiet", "--json")
	if o.stderr != "" {
		t.Errorf("--quiet printed %q", o.stderr)
	}
	needFields(t, o, "loss", "accuracy", "correct", "examples", "per_class.airplane", "per_class.truck")
	var evaluated figures
	o.lastLine(t, &evaluated)
	if diff := cmp.Diff(*trained.Test, evaluated); diff != "" {
		t.Errorf("train's test figures (-) and evaluate's (+): %s", diff)
	}
	if _, err := os.Stat(filepath.Join(first, "plots", "confusion.png")); err != nil {
		t.Error(err)
	}

	images := filepath.Join(dir, "images")
	must(t, "data", "unpack", "--data", "synthetic", "--limit", "10", "--out", images)
	o = must(t, "predict", "--model", first, filepath.Join(images, "test", "cat", "0001.png"), "--json")
	needFields(t, o, "images")

	o = must(t, "train", "--model", first, "--data", "synthetic", "--limit", "50", "--batch-size", "16", "--epochs", "1", "--out", second, "--json")
	o.lastLine(t, &trained)
	runDirectory = slices.DeleteFunc(runDirectory, func(name string) bool { return strings.Contains(name, "step-00000008") })
	if diff := cmp.Diff(runDirectory, files(t, second)); diff != "" {
		t.Errorf("the second run directory (-want +got):\n%s", diff)
	}
	if again, before := lossOf(t, stepsOf(t, second)[0]), lossOf(t, stepsOf(t, first)[0]); !(again < before) {
		t.Errorf("the second run began at loss %g, the first one at %g: it did not go on with trained weights", again, before)
	}
}

func lossOf(t *testing.T, step []string) float64 {
	t.Helper()
	loss, err := strconv.ParseFloat(step[2], 64)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

// checkTables holds a run's CSV files against what train said.
func checkTables(t *testing.T, run string, trained trainOutcome) {
	t.Helper()
	steps := stepsOf(t, run)
	if len(steps) != trained.Steps {
		t.Fatalf("steps.csv has %d rows, there were %d steps", len(steps), trained.Steps)
	}
	perEpoch := len(steps) / trained.Epochs
	for i, row := range steps {
		if row[0] != fmt.Sprint(i+1) || row[1] != fmt.Sprint(i/perEpoch+1) || row[4] != "0.05" {
			t.Errorf("row %d of steps.csv is %v", i+1, row)
		}
	}
	epochs := epochsOf(t, run)
	if len(epochs) != trained.Epochs {
		t.Fatalf("metrics.csv has %d rows after %d epochs", len(epochs), trained.Epochs)
	}
	want := []string{
		fmt.Sprint(trained.Epochs), fmt.Sprint(trained.Steps),
		decimal(trained.Train.Loss), decimal(trained.Train.Accuracy),
		decimal(trained.Test.Loss), decimal(trained.Test.Accuracy),
	}
	if last := epochs[len(epochs)-1]; !slices.Equal(last[:6], want) {
		t.Errorf("metrics.csv ends with %v, train says %v", last, want)
	}
}

func checkConfig(t *testing.T, run, model string) {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(run, "config.json"))), &config); err != nil {
		t.Fatal(err)
	}
	versions, _ := config["versions"].(map[string]any)
	for _, name := range []string{"residual", "go", "graft", "tensorflow"} {
		if version, _ := versions[name].(string); version == "" {
			t.Errorf("config.json does not tell the version of %s", name)
		}
	}
	for _, split := range []string{"train", "test"} {
		fields, _ := config[split].(map[string]any)
		if fingerprint, _ := fields["fingerprint"].(string); len(fingerprint) != 64 || fields["examples"] != 50.0 {
			t.Errorf("config.json says of %s: %v", split, fields)
		}
		delete(config, split)
	}
	for _, changing := range []string{"versions", "started", "threads", "model_fingerprint", "directory", "computed_on"} {
		if config[changing] == nil {
			t.Errorf("config.json has no %s", changing)
		}
		delete(config, changing)
	}
	want := map[string]any{
		"format": 1.0, "model": model, "data": "synthetic", "epochs": 2.0, "batch_size": 16.0, "learning_rate": 0.05,
		"shuffle": true, "seed": 7.0, "limit": 50.0, "precision": "float32", "model_precision": "float32", "device": "auto", "gpu_memory": "growth", "recipe": "", "loss": "probabilities",
		"log": []any{"csv"}, "accumulate": 1.0, "checkpoint_every": "10m", "keep": 2.0,
		"schedule": "constant", "warmup": 0.0, "plateau": 0.0, "early_stopping": 0.0, "validation_split": 0.0, "validation": nil,
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("config.json (-want +got):\n%s", diff)
	}
}

// trainQuietly trains on 40 drawn images in a process of its own, with one
// thread, and returns the run directory.
func trainQuietly(t *testing.T, model string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	args := append([]string{"train", "--model", modeltest.Dir(t, model), "--data", "synthetic", "--limit", "40", "--batch-size", "16",
		"--epochs", "2", "--threads", "1", "--quiet", "--out", out}, flags...)
	if o := finish(t, process(t, args)); o.code != 0 {
		t.Fatalf("train: exit code %d: %s", o.code, o.stderr)
	}
	return out
}

// result is all that a run's seed decides: the steps without their speed, and
// the weights.
func result(t *testing.T, run string) (string, string) {
	t.Helper()
	var steps strings.Builder
	for line := range strings.Lines(read(t, filepath.Join(run, "steps.csv"))) {
		steps.WriteString(line[:strings.LastIndex(line, ",")] + "\n")
	}
	variables := filepath.Join(run, "model", "1", "variables", "variables")
	return steps.String(), read(t, variables+".index") + read(t, variables+".data-00000-of-00001")
}

func TestARunIsAFunctionOfItsSeed(t *testing.T) {
	type run struct{ steps, weights string }
	train := func(model string, flags ...string) run {
		steps, weights := result(t, trainQuietly(t, model, flags...))
		return run{steps, weights}
	}
	small := train(modeltest.Small, "--seed", "3")
	unshuffled := train(modeltest.Small, "--seed", "3", "--no-shuffle")
	dropout := train(modeltest.Pets, "--seed", "3", "--no-shuffle")
	for _, test := range []struct {
		name string
		a, b run
		same bool
	}{
		{"same seed", small, train(modeltest.Small, "--seed", "3"), true},
		{"other seed", small, train(modeltest.Small, "--seed", "4"), false},
		{"no shuffle", small, unshuffled, false},
		{"no shuffle, other seed", unshuffled, train(modeltest.Small, "--seed", "4", "--no-shuffle"), true},
		{"dropout, same seed", dropout, train(modeltest.Pets, "--seed", "3", "--no-shuffle"), true},
		{"dropout, other seed", dropout, train(modeltest.Pets, "--seed", "4", "--no-shuffle"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if same := test.a.steps == test.b.steps; same != test.same {
				t.Errorf("the same steps: %v\n%s", same, cmp.Diff(test.a.steps, test.b.steps))
			}
			if same := test.a.weights == test.b.weights; same != test.same {
				t.Errorf("the same weights: %v", same)
			}
		})
	}
}

func TestTrainSaysWhereAllIs(t *testing.T) {
	t.Chdir(t.TempDir())
	o := must(t, "train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic", "--limit", "20", "--epochs", "1")
	runs, err := filepath.Glob("runs/small-*")
	if err != nil || len(runs) != 1 {
		t.Fatalf("the folder runs has %v, want one run named after model and time (%v)", runs, err)
	}
	for _, part := range []string{"accuracy", "of 20 images", runs[0] + "/plots/training.png", runs[0] + "/model/1"} {
		if !strings.Contains(o.stdout, part) {
			t.Errorf("%q is not on standard output:\n%s", part, o.stdout)
		}
	}
	if !strings.Contains(o.stderr, "Epoch 1/1") {
		t.Errorf("standard error shows no progress: %q", o.stderr)
	}
}

func TestDataWithoutATestFolder(t *testing.T) {
	dir := t.TempDir()
	must(t, "data", "unpack", "--data", "synthetic", "--limit", "20", "--out", filepath.Join(dir, "images"))
	if err := os.RemoveAll(filepath.Join(dir, "images", "test")); err != nil {
		t.Fatal(err)
	}
	images, trainedRun := filepath.Join(dir, "images"), filepath.Join(dir, "run")
	o := must(t, "train", "--model", modeltest.Dir(t, modeltest.Small), "--data", images, "--epochs", "2", "--out", trainedRun, "--json")
	var trained trainOutcome
	if o.lastLine(t, &trained); trained.Test != nil || trained.Train.Examples != 20 {
		t.Errorf("train says %s", o.stdout)
	}
	for _, row := range epochsOf(t, trainedRun) {
		if row[4] != "" || row[5] != "" || row[2] == "" || row[6] == "" {
			t.Errorf("metrics.csv has the row %q", row)
		}
	}
	o = run("evaluate", "--model", trainedRun, "--data", images)
	if want := fmt.Sprintf("residual: open dataset %q: it has no test split: %[1]q has no folder \"test\"\n", images); o.code != 1 || o.stderr != want {
		t.Errorf("evaluate: exit code %d\n%swant\n%s", o.code, o.stderr, want)
	}
}

func TestABatchLargerThanTheDataIsOneStep(t *testing.T) {
	o := must(t, "train", "--model", modeltest.Dir(t, modeltest.Tiny), "--data", "synthetic", "--limit", "10",
		"--batch-size", "1048576", "--epochs", "1", "--out", filepath.Join(t.TempDir(), "run"), "--json")
	var trained trainOutcome
	if o.lastLine(t, &trained); trained.Steps != 1 || trained.Train.Examples != 10 {
		t.Errorf("train says %s", o.stdout)
	}
}

func TestAValidationSplit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	o := must(t, "train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic", "--limit", "50", "--batch-size", "16", "--epochs", "2",
		"--validation-split", "0.2", "--out", dir, "--json")
	var trained struct {
		Train, Validation, Test figures
	}
	o.lastLine(t, &trained)
	if trained.Train.Examples != 40 || trained.Validation.Examples != 10 || trained.Test.Examples != 50 {
		t.Errorf("train says %s", o.stdout)
	}
	rows := table(t, filepath.Join(dir, "metrics.csv"), "epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds",
		"validation_loss", "validation_accuracy")
	if len(rows) != 2 || rows[1][7] != decimal(trained.Validation.Loss) || rows[1][8] != decimal(trained.Validation.Accuracy) {
		t.Errorf("metrics.csv has %v", rows)
	}
	if texts := textsOf(t, filepath.Join(dir, "plots", "training.svg")); !slices.Contains(texts, "validation, after each epoch") {
		t.Errorf("the curve says %q", texts)
	}
	again := filepath.Join(t.TempDir(), "again.svg")
	must(t, "plot", dir, "--out", again)
	if read(t, again) != read(t, filepath.Join(dir, "plots", "training.svg")) {
		t.Error("plot draws another picture")
	}
	check := unchanged(t, dir)
	refused(t, run("train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic", "--limit", "10", "--validation-split", "0.01",
		"--out", filepath.Join(dir, "x")), 1, "--validation-split 0.01", "of 10")
	check()
}

// With a learning rate of nearly 0 the loss does not fall.
func TestARunThatStopsEarly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	o := must(t, "train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic", "--limit", "20", "--learning-rate", "1e-30",
		"--epochs", "9", "--early-stopping", "2", "--plateau", "1", "--no-shuffle", "--out", dir)
	if !strings.Contains(o.stderr, "stopped early: the loss has not fallen for 2 epochs; the model is that of the last epoch\n") {
		t.Errorf("it says %s", o.stderr)
	}
	steps := stepsOf(t, dir)
	if len(steps) != 3 || steps[1][4] != "1e-30" || steps[2][4] != "1e-31" {
		t.Errorf("steps.csv has %v", steps)
	}
	// It has come to its end.
	if o := must(t, "train", "--out", dir, "--resume"); !strings.Contains(o.stderr, "is finished") {
		t.Errorf("it says %s", o.stderr)
	}
}

func TestSchedulesOnTheCommandLine(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  []string
	}{
		{[]string{"--schedule", "linear"}, []string{"1", "0.75", "0.5", "0.25"}},
		{[]string{"--schedule", "cosine"}, []string{"1", "0.853553391", "0.5", "0.146446609"}},
		{[]string{"--warmup", "2"}, []string{"0.5", "1", "1", "1"}},
		{[]string{"--warmup", "2", "--schedule", "linear"}, []string{"0.5", "0.75", "0.5", "0.25"}},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		must(t, append([]string{"train", "--model", modeltest.Dir(t, modeltest.Tiny), "--data", "synthetic", "--limit", "20", "--batch-size", "10",
			"--epochs", "2", "--learning-rate", "1", "--out", dir, "--quiet"}, test.flags...)...)
		var rates []string
		for _, row := range stepsOf(t, dir) {
			rates = append(rates, row[4])
		}
		if diff := cmp.Diff(test.want, rates); diff != "" {
			t.Errorf("%v: %s", test.flags, diff)
		}
	}
}

package cli_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// freeze prepares a command that trains the head of a model on 50 examples in
// batches of 16, in a cache of its own.
func freeze(t *testing.T, model, out string, flags ...string) []string {
	t.Helper()
	return append([]string{"train", "--model", modeltest.Dir(t, model), "--data", "synthetic", "--limit", "50", "--batch-size", "16",
		"--learning-rate", "0.1", "--seed", "7", "--freeze", "backbone", "--out", out}, flags...)
}

type freezeOutcome struct {
	trainOutcome
	Validation *figures `json:"validation"`
	Features   struct {
		Computed int    `json:"computed"`
		Cached   int    `json:"cached"`
		Cache    string `json:"cache"`
	} `json:"features"`
}

func TestFreezeTrainsAWholeModel(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	var trained, again freezeOutcome
	o := must(t, freeze(t, modeltest.Small, first, "--epochs", "3", "--quiet", "--json")...)
	o.lastLine(t, &trained)
	if o.stderr != "" || trained.Steps != 12 || trained.Features.Computed != 100 || trained.Features.Cached != 0 ||
		trained.Features.Cache != filepath.Join(dir, "cache", "residual", "features") {
		t.Errorf("train says %+v%s", trained, o.stderr)
	}
	if c := read(t, filepath.Join(first, "config.json")); !strings.Contains(c, `"freeze": "backbone"`) {
		t.Errorf("config.json says %s", c)
	}
	if losses := stepsOf(t, first); !(lossOf(t, losses[11]) < lossOf(t, losses[0])) {
		t.Errorf("it has learned nothing: %v", losses)
	}

	// The model is whole: on images it gives what its head gave on features.
	var evaluated figures
	must(t, "evaluate", "--model", first, "--data", "synthetic", "--limit", "50", "--batch-size", "16", "--quiet", "--json").lastLine(t, &evaluated)
	if evaluated.Correct != trained.Test.Correct || math.Abs(evaluated.Loss-trained.Test.Loss) > 1e-5 {
		t.Errorf("train's test figures are %+v, evaluate's %+v", *trained.Test, evaluated)
	}
	rows := func(model string) []byte {
		t.Helper()
		m, err := savedmodel.Open(model, savedmodel.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		images, err := tensor.Of([]byte(strings.Repeat("residual", 3*32*32)), 8, 32, 32, 3)
		if err != nil {
			t.Fatal(err)
		}
		outputs, err := m.Call(t.Context(), features.ComputeSignature, map[string]tensor.Tensor{"images": images})
		if err != nil {
			t.Fatal(err)
		}
		return outputs["features"].Bytes()
	}
	if string(rows(first)) != string(rows(modeltest.Dir(t, modeltest.Small))) {
		t.Error("the backbone has changed")
	}

	// The features are taken from the cache, also where parts of it are damaged.
	o = must(t, freeze(t, modeltest.Small, second, "--epochs", "3", "--json")...)
	o.lastLine(t, &again)
	if again.Features.Computed != 0 || again.Features.Cached != 100 || !strings.Contains(o.stderr, "training classification of") ||
		!strings.Contains(o.stderr, "features: 100 images from "+trained.Features.Cache) {
		t.Errorf("train says %+v, %s", again, o.stderr)
	}
	if diff := cmp.Diff(*trained.Test, *again.Test); diff != "" {
		t.Errorf("the same again: %s", diff)
	}
	arrays, err := filepath.Glob(filepath.Join(trained.Features.Cache, "*", "features.npy"))
	if err != nil || len(arrays) != 2 {
		t.Fatalf("there is %v, %v", arrays, err)
	}
	data := []byte(read(t, arrays[0]))
	data[len(data)/2] ^= 1
	write(t, arrays[0], data)
	o = must(t, freeze(t, modeltest.Small, filepath.Join(dir, "third"), "--epochs", "3")...)
	if !strings.Contains(o.stderr, "residual: warning: "+arrays[0]+" is damaged") {
		t.Errorf("it says %s", o.stderr)
	}
	if !strings.Contains(o.stdout, "features  50 images computed in ") || !strings.Contains(o.stdout, ", 50 images from "+trained.Features.Cache) {
		t.Errorf("it says %s", o.stdout)
	}
	wantSteps, wantWeights := result(t, first)
	if steps, weights := result(t, filepath.Join(dir, "third")); steps != wantSteps || weights != wantWeights {
		t.Errorf("it is another run: %s", cmp.Diff(wantSteps, steps))
	}
}

// anew is the head of a model that computes the features of each batch.
type anew struct{ *savedmodel.Model }

func (a anew) Signature(name string) (tensor.Signature, bool) {
	head, err := features.NewHead(a.Model)
	if err != nil {
		return tensor.Signature{}, false
	}
	return head.Signature(name)
}

func (a anew) Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	outputs, err := a.Model.Call(ctx, features.ComputeSignature, map[string]tensor.Tensor{"images": inputs["images"]})
	if err != nil {
		return nil, err
	}
	delete(inputs, "images")
	inputs["features"] = outputs["features"]
	return a.Model.Call(ctx, name+"_head", inputs)
}

// A frozen backbone gives the same losses whether it runs once or in each step:
// with SGD, and with Adam, dropouts and a validation split.
func TestFrozenFeaturesGiveTheLossesOfTheBackbone(t *testing.T) {
	for _, test := range []struct {
		model string
		side  int
	}{{modeltest.Small, 32}, {modeltest.Pets, 16}} {
		t.Run(test.model, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			out := filepath.Join(t.TempDir(), "run")
			var trained freezeOutcome
			must(t, freeze(t, test.model, out, "--epochs", "2", "--validation-split", "0.2", "--quiet", "--json")...).lastLine(t, &trained)

			model, err := savedmodel.Open(modeltest.Dir(t, test.model), savedmodel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer model.Close()
			data, err := dataset.Open(t.Context(), dataset.Synthetic, dataset.Options{
				Classes: model.Info().Metadata.Classes, Shape: imagefile.Shape{Height: test.side, Width: test.side, Channels: 3}, Limit: 50,
			})
			if err != nil {
				t.Fatal(err)
			}
			rest, drawn, err := data.Train.Split(0.2, 7)
			if err != nil {
				t.Fatal(err)
			}
			want, err := pipeline.Fit(t.Context(), anew{model}, rest, pipeline.Options{
				Epochs: 2, BatchSize: 16, LearningRate: 0.1, Seed: 7, Validation: drawn, Test: data.Test,
				Callbacks: []pipeline.Callback{sameSteps{t, stepsOf(t, out)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for name, pair := range map[string][2]float64{
				"validation": {trained.Validation.Loss, want.Validation.Loss}, "test": {trained.Test.Loss, want.Test.Loss},
			} {
				if math.Abs(pair[0]-pair[1]) > 1e-5 {
					t.Errorf("%s loss is %g, with the backbone in each step %g", name, pair[0], pair[1])
				}
			}
			if trained.Features.Computed != 100 {
				t.Errorf("%+v", trained.Features)
			}
		})
	}
}

// sameSteps compares the losses of steps with rows of steps.csv.
type sameSteps struct {
	t    *testing.T
	rows [][]string
}

func (s sameSteps) Close(error) error { return nil }

func (s sameSteps) Handle(_ context.Context, e pipeline.Event) error {
	if step, ok := e.(pipeline.Step); ok {
		if got := lossOf(s.t, s.rows[step.Number-1]); math.Abs(got-step.Loss) > 1e-5 {
			s.t.Errorf("step %d: the loss is %g, with the backbone in each step %g", step.Number, got, step.Loss)
		}
	}
	return nil
}

// A resumed run knows that its backbone is frozen, and ends at the same bit.
func TestAFrozenRunIsResumed(t *testing.T) {
	cache, dir := "XDG_CACHE_HOME="+t.TempDir(), t.TempDir()
	short, long := filepath.Join(dir, "short"), filepath.Join(dir, "long")
	for _, args := range [][]string{
		freeze(t, modeltest.Pets, long, "--threads", "1", "--epochs", "3", "--quiet"),
		freeze(t, modeltest.Pets, short, "--threads", "1", "--epochs", "1", "--quiet"),
		{"train", "--out", short, "--resume", "--override", "--epochs", "3", "--quiet"},
	} {
		// In processes of their own: how many threads there are is decided once in each.
		if o := finish(t, process(t, args, cache)); o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
	}
	steps, weights := result(t, short)
	wantSteps, wantWeights := result(t, long)
	if steps != wantSteps || weights != wantWeights {
		t.Errorf("it ended as another run: %s", cmp.Diff(wantSteps, steps))
	}
}

func TestWhatCannotBeFrozenIsRefused(t *testing.T) {
	cache, dir := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	whole, frozen := filepath.Join(dir, "whole"), filepath.Join(dir, "frozen")
	tiny, small := modeltest.Dir(t, modeltest.Tiny), modeltest.Dir(t, modeltest.Small)
	must(t, "train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", whole, "--quiet")
	must(t, "train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", frozen, "--quiet", "--freeze", "backbone")
	check := unchanged(t, dir)
	for _, test := range []struct {
		args  []string
		code  int
		wants []string
	}{
		{[]string{"--model", small, "--freeze", "head"}, 2, []string{"--freeze must be backbone", `"head"`}},
		{[]string{"--model", small, "--freeze", "backbone", "--accumulate", "2"}, 2, []string{"--accumulate", "--freeze", "--batch-size"}},
		{[]string{"--model", small, "--freeze", "backbone", "--upsample-schedule", "1,2"}, 2, []string{"--upsample-schedule 1,2", "--freeze"}},
		{[]string{"--model", small, "--freeze="}, 2, []string{"--freeze must be backbone", `""`}},
		{[]string{"--model", tiny, "--freeze", "backbone"}, 1, []string{"--freeze backbone", tiny, `no "features" signature`, "Dense"}},
		{[]string{"--out", whole, "--resume", "--override", "--epochs", "2", "--freeze", "backbone"}, 1, []string{"--freeze must stay", "with none, not backbone", whole}},
		{[]string{"--out", frozen, "--resume", "--override", "--epochs", "2", "--freeze="}, 2, []string{"--freeze must be backbone"}},
	} {
		args := append([]string{"train", "--quiet"}, test.args...)
		if test.args[0] == "--model" {
			args = append(args, "--data", "synthetic", "--limit", "20", "--out", filepath.Join(dir, "new"))
		}
		refused(t, run(args...), test.code, test.wants...)
	}
	check()
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	write(t, cache, nil) // a file in its place
	refused(t, run("train", "--model", small, "--data", "synthetic", "--limit", "20", "--freeze", "backbone", "--out", filepath.Join(dir, "new"), "--quiet"), 1,
		"open features", cache)
	check()
}

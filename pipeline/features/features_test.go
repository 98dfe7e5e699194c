package features_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// losses trains and returns the loss of each step and of each test.
func losses(t *testing.T, model pipeline.Model, data pipeline.Data, o pipeline.Options) (steps, tests []float64) {
	t.Helper()
	o.Test, o.Callbacks = data, []pipeline.Callback{recorder(func(e pipeline.Event) {
		switch e := e.(type) {
		case pipeline.Step:
			steps = append(steps, e.Loss)
		case pipeline.Epoch:
			tests = append(tests, e.Test.Loss)
		}
	})}
	if _, err := pipeline.Fit(t.Context(), model, data, o); err != nil {
		t.Fatal(err)
	}
	return steps, tests
}

// recorder is a callback that is a function.
type recorder func(pipeline.Event)

func (r recorder) Handle(_ context.Context, e pipeline.Event) error { r(e); return nil }
func (r recorder) Close(error) error                                { return nil }

func open(t *testing.T, c features.Cache, model features.Model, data features.Source) *features.Rows {
	t.Helper()
	rows, err := c.Open(t.Context(), model, data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rows.Close() })
	return rows
}

// Features that are kept train as features that are computed in each step.
func TestAHeadTrainsAsWithItsBackbone(t *testing.T) {
	data := images(t, 70) // the last batch is a short one
	for name, o := range map[string]pipeline.Options{
		"shuffled":      {Epochs: 3, BatchSize: 16, LearningRate: 0.5, Seed: 7},
		"in path order": {Epochs: 2, BatchSize: 70, NoShuffle: true},
	} {
		t.Run(name, func(t *testing.T) {
			wantSteps, wantTests := losses(t, anew{&net{name: "a"}}, data, o)
			model := &net{name: "a"}
			rows := open(t, features.Cache{Dir: t.TempDir()}, model, data)
			steps, tests := losses(t, must(features.NewHead(model)), rows, o)
			if diff := cmp.Diff(wantSteps, steps); diff != "" {
				t.Errorf("losses of steps: %s", diff)
			}
			if diff := cmp.Diff(wantTests, tests); diff != "" {
				t.Errorf("losses of tests: %s", diff)
			}
			if !(tests[len(tests)-1] < steps[0]) {
				t.Errorf("it has learned nothing: %v", tests)
			}
			if want := []int{32, 32, 6}; !slices.Equal(model.computed, want) {
				t.Errorf("features were computed of %v, want %v", model.computed, want)
			}
		})
	}
}

func TestBatchesAreThoseOfTheExamples(t *testing.T) {
	data := images(t, 23)
	rows := open(t, features.Cache{Dir: t.TempDir()}, &net{name: "a"}, data)
	if rows.Len() != 23 || rows.Fingerprint() != data.Fingerprint() {
		t.Errorf("they are of %d examples, %s", rows.Len(), rows.Fingerprint())
	}
	for _, o := range []dataset.BatchOptions{
		{Size: 5, Seed: 3, Epoch: 2}, {Size: 5, Seed: 3, Epoch: 3, Start: 2}, {Size: 4, NoShuffle: true}, {}, {Size: 5, Start: 5},
	} {
		want, got := collect(t, data.Batches(t.Context(), o)), collect(t, rows.Batches(t.Context(), o))
		for i := range want {
			want[i].Images = backbone(want[i].Images)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(tensor.Tensor{})); diff != "" {
			t.Errorf("%+v: %s", o, diff)
		}
	}
	for _, batch := range collect(t, data.Batches(t.Context(), dataset.BatchOptions{Size: 23, NoShuffle: true})) { // the only one
		all, labels, err := rows.All(t.Context())
		if diff := cmp.Diff(backbone(batch.Images).Bytes(), all.Bytes()); err != nil || diff != "" || rows.Size() != int64(len(all.Bytes())) {
			t.Errorf("all features: %v, %s", err, diff)
		}
		if diff := cmp.Diff(batch.Labels.Bytes(), labels.Bytes()); diff != "" {
			t.Errorf("all labels: %s", diff)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for _, err := range rows.Batches(ctx, dataset.BatchOptions{Size: 5}) {
		if seen++; seen == 2 {
			cancel()
		}
		if (err != nil) != (seen == 3) {
			t.Errorf("batch %d: %v", seen, err)
		}
	}
	for _, err := range rows.Batches(t.Context(), dataset.BatchOptions{Start: -1}) {
		if err == nil {
			t.Error("it began before the first batch")
		}
	}
}

func collect(t *testing.T, batches iter.Seq2[dataset.Batch, error]) (found []dataset.Batch) {
	t.Helper()
	for batch, err := range batches {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, batch)
	}
	return found
}

// What is there is taken, if it is of the same model, data and setup.
func TestFeaturesAreComputedOnce(t *testing.T) {
	dir, data := t.TempDir(), images(t, 40)
	for _, test := range []struct {
		name, setup, model string
		data               *dataset.Examples
		computed           bool
	}{
		{"the first time", "x", "a", data, true},
		{"again", "x", "a", images(t, 40), false},
		{"another setup", "y", "a", data, true},
		{"another model", "x", "b", data, true},
		{"other data", "x", "a", images(t, 41), true},
		{"the first again", "x", "a", data, false},
	} {
		model := &net{name: test.model}
		rows := open(t, features.Cache{Dir: dir, Setup: test.setup}, model, test.data)
		if rows.Computed != test.computed || (len(model.computed) > 0) != test.computed {
			t.Errorf("%s: computed %v, %v", test.name, rows.Computed, model.computed)
		}
	}
	if found := must(os.ReadDir(dir)); len(found) != 4 {
		t.Errorf("there is %v", found)
	}
}

// A file that was changed is noticed, told of, and written again.
func TestDamagedFeaturesAreComputedAgain(t *testing.T) {
	data := images(t, 40)
	want := open(t, features.Cache{Dir: t.TempDir()}, &net{name: "a"}, data)
	change := func(path string, by func([]byte) []byte) error {
		return os.WriteFile(path, by(must(os.ReadFile(path))), 0o644)
	}
	for name, damage := range map[string]func(array, about string) error{
		"a flipped bit": func(array, _ string) error {
			return change(array, func(b []byte) []byte { b[len(b)-9] ^= 1; return b })
		},
		"another header": func(array, _ string) error {
			return change(array, func(b []byte) []byte { b[30] ^= 1; return b })
		},
		"cut off": func(array, _ string) error {
			return change(array, func(b []byte) []byte { return b[:len(b)-4] })
		},
		"too long": func(array, _ string) error { return change(array, func(b []byte) []byte { return append(b, 0) }) },
		"empty":    func(array, _ string) error { return os.Truncate(array, 0) },
		"a folder": func(array, _ string) error { return errors.Join(os.Remove(array), os.Mkdir(array, 0o755)) },
		"no text":  func(_, about string) error { return os.Truncate(about, 5) },
		"no hash": func(_, about string) error {
			return change(about, func(b []byte) []byte { return []byte(`{"format":1}`) })
		},
		"array gone":   func(array, _ string) error { return os.Remove(array) },
		"array a pipe": func(array, _ string) error { return errors.Join(os.Remove(array), unix.Mkfifo(array, 0o644)) },
		"about gone":   func(_, about string) error { return os.Remove(about) },
		"about a folder": func(_, about string) error {
			return errors.Join(os.Remove(about), os.Mkdir(about, 0o755))
		},
		"about a pipe": func(_, about string) error { return errors.Join(os.Remove(about), unix.Mkfifo(about, 0o644)) },
		"a file in the folder's place": func(_, about string) error {
			folder := filepath.Dir(about)
			return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var warned []string
			c := features.Cache{Dir: t.TempDir(), Warn: func(err error) { warned = append(warned, err.Error()) }}
			path := open(t, c, &net{name: "a"}, data).Path
			about := filepath.Join(filepath.Dir(path), "features.json")
			if err := damage(path, about); err != nil {
				t.Fatal(err)
			}
			rows := open(t, c, &net{name: "a"}, data)
			if !rows.Computed || len(warned) != 1 || !strings.Contains(warned[0], filepath.Dir(path)) {
				t.Errorf("computed %v, it says %q", rows.Computed, warned)
			}
			if string(must(os.ReadFile(rows.Path))) != string(must(os.ReadFile(want.Path))) {
				t.Error("they are others than before")
			}
			if again := open(t, c, &net{name: "a"}, data); again.Computed || len(warned) != 1 {
				t.Errorf("it was not mended: %q", warned)
			}
		})
	}
}

// A file that is cut short while a run reads it makes an error, not a crash.
func TestFeaturesThatAreCutShortMeanwhile(t *testing.T) {
	data := images(t, 2000)
	rows := open(t, features.Cache{Dir: t.TempDir()}, &net{name: "a"}, data)
	if err := os.Truncate(rows.Path, 100); err != nil {
		t.Fatal(err)
	}
	var found error
	for _, err := range rows.Batches(t.Context(), dataset.BatchOptions{Size: 2000}) {
		found = err
	}
	if found == nil || !strings.Contains(found.Error(), "features.npy can no longer be read") {
		t.Errorf("error: %v", found)
	}
}

// Computing that does not come to its end leaves nothing.
func TestComputingIsWholeOrNotAtAll(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := errors.New("out of order")
	for _, test := range []struct {
		name string
		fail func(calls int) error
		want error
	}{
		{"the model fails", func(calls int) error {
			if calls == 2 {
				return failed
			}
			return nil
		}, failed},
		{"it is cancelled", func(calls int) error {
			if calls == 2 {
				cancel()
			}
			return nil
		}, context.Canceled},
	} {
		dir := filepath.Join(t.TempDir(), "cache")
		_, err := features.Cache{Dir: dir}.Open(ctx, &net{name: "a", fail: test.fail}, images(t, 100))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if found := must(os.ReadDir(dir)); len(found) != 0 {
			t.Errorf("%s: it left %v", test.name, found)
		}
	}
}

// Two at once compute the same, and one of the results is kept.
func TestTwoComputeAtOnce(t *testing.T) {
	dir, data := t.TempDir(), images(t, 40)
	var second *features.Rows
	first := open(t, features.Cache{Dir: dir}, &net{name: "a", fail: func(calls int) error {
		if calls == 2 { // the first is in the middle
			second = open(t, features.Cache{Dir: dir}, &net{name: "a"}, data)
		}
		return nil
	}}, data)
	if !first.Computed || !second.Computed || first.Path != second.Path {
		t.Errorf("%+v, %+v", first, second)
	}
	for _, rows := range []*features.Rows{first, second} {
		for batch, err := range rows.Batches(t.Context(), dataset.BatchOptions{Size: 40, NoShuffle: true}) {
			if err != nil || batch.Len() != 40 {
				t.Errorf("%v, %v", batch, err)
			}
		}
	}
	if found := must(os.ReadDir(dir)); len(found) != 1 {
		t.Errorf("there is %v", found)
	}
}

// A run on features that was cut short goes on with them, and not with images.
func TestARunOnFeaturesGoesOn(t *testing.T) {
	data, cache := images(t, 70), features.Cache{Dir: t.TempDir()}
	o := pipeline.Options{Epochs: 3, BatchSize: 16, LearningRate: 0.5, Seed: 7}
	wantSteps, _ := losses(t, must(features.NewHead(&net{name: "a"})), open(t, cache, &net{name: "a"}, data), o)

	dir := t.TempDir()
	o.Checkpoints = &pipeline.Checkpoints{Dir: dir}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var steps []float64
	follow := recorder(func(e pipeline.Event) {
		if step, ok := e.(pipeline.Step); ok {
			if steps = append(steps, step.Loss); step.Number == 7 {
				cancel()
			}
		}
	})
	o.Callbacks = []pipeline.Callback{follow}
	_, err := pipeline.Fit(ctx, must(features.NewHead(&net{name: "a"})), open(t, cache, &net{name: "a"}, data), o)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	saved, _, err := pipeline.LastSaved(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Resume = saved
	model := &net{name: "a"}
	rows := open(t, cache, model, data)
	var changed *pipeline.ChangedError
	if err := saved.Check(model, data, o); !errors.As(err, &changed) || changed.What != "the model" {
		t.Errorf("it would go on with images: %v", err)
	}
	if _, err := pipeline.Fit(t.Context(), must(features.NewHead(model)), rows, o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantSteps, steps); diff != "" {
		t.Errorf("losses of steps: %s", diff)
	}
}

// incomplete is a model that lacks a signature.
type incomplete struct {
	*net
	without string
}

func (m incomplete) Signature(name string) (tensor.Signature, bool) {
	s, ok := m.net.Signature(name)
	return s, ok && name != m.without
}

// huge is data whose features fit on no disk.
type huge struct{ *dataset.Examples }

func (huge) Len() int { return 1 << 45 }

func TestWhatCannotBeDoneIsRefused(t *testing.T) {
	for _, name := range features.Signatures {
		if _, err := features.NewHead(incomplete{&net{}, name}); !errors.Is(err, pipeline.ErrNoSignature) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	cache := features.Cache{Dir: t.TempDir()}
	for name, model := range map[string]features.Model{
		"no signature":   incomplete{&net{name: "a"}, features.ComputeSignature},
		"no fingerprint": &net{},
	} {
		if _, err := cache.Open(t.Context(), model, images(t, 3)); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := cache.Open(t.Context(), &net{name: "a"}, huge{images(t, 3)}); err == nil || !strings.Contains(err.Error(), "no disk space: "+cache.Dir) {
		t.Errorf("features that fit on no disk: %v", err)
	}
	head := must(features.NewHead(&net{}))
	if _, ok := head.Signature(pipeline.PredictSignature); ok {
		t.Error("a head takes no images")
	}
	if _, err := head.Call(t.Context(), pipeline.PredictSignature, nil); err == nil {
		t.Error("a head was asked for what it has not")
	}
}

// Of images that are read again and again nobody knows the pixels: a file that
// was written anew makes other features, also where its size is the same.
func TestFeaturesOfFilesThatHaveChanged(t *testing.T) {
	folder := t.TempDir()
	for i, class := range []string{"a", "b", "c"} {
		dir := filepath.Join(folder, "train", class)
		picture := image.NewNRGBA(image.Rect(0, 0, 4, 4))
		picture.SetNRGBA(i, i, color.NRGBA{200, 100, 50, 255})
		var file bytes.Buffer
		if err := errors.Join(os.MkdirAll(dir, 0o755), png.Encode(&file, picture), os.WriteFile(filepath.Join(dir, "1.png"), file.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		memory   int64
		computed bool // again
	}{"read at use": {-1, true}, "in memory": {0, false}} {
		cache := features.Cache{Dir: t.TempDir()}
		computed := func() bool {
			data, err := dataset.Open(t.Context(), folder, dataset.Options{
				Classes: []string{"a", "b", "c"}, Shape: imagefile.Shape{Height: 4, Width: 4, Channels: 3}, MemoryBytes: test.memory,
			})
			if err != nil {
				t.Fatal(err)
			}
			return open(t, cache, &net{name: "a"}, data.Train).Computed
		}
		if !computed() || computed() {
			t.Errorf("%s: they are not computed once", name)
		}
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(folder, "train", "b", "1.png"), later, later); err != nil {
			t.Fatal(err)
		}
		if again := computed(); again != test.computed {
			t.Errorf("%s: computed again %v", name, again)
		}
	}
}

// A head holds features where its model holds what it is given.
func TestAHeadHoldsFeatures(t *testing.T) {
	data := images(t, 20)
	model := &keeping{net: &net{name: "a"}}
	head, rows := must(features.NewHead(model)), open(t, features.Cache{Dir: t.TempDir()}, model, data)
	if _, err := pipeline.Fit(t.Context(), head, rows, pipeline.Options{Epochs: 1, BatchSize: 20, NoShuffle: true, Hold: true}); err != nil {
		t.Fatal(err)
	}
	all, labels, err := rows.All(t.Context())
	if err != nil || len(model.rows) != 2 || !bytes.Equal(model.rows["features"].Bytes(), all.Bytes()) || !bytes.Equal(model.rows["labels"].Bytes(), labels.Bytes()) {
		t.Errorf("%v; it holds %v", err, model.rows)
	}
	if model.signature != "train_head" || cmp.Diff(model.inputs, []string{"learning_rate"}) != "" {
		t.Errorf("%q was called with %q", model.signature, model.inputs)
	}
	other := &net{name: "b"}
	_, err = pipeline.Fit(t.Context(), must(features.NewHead(other)), open(t, features.Cache{Dir: t.TempDir()}, other, data), pipeline.Options{Hold: true})
	if err == nil || err.Error() != "hold data: the model cannot hold examples" {
		t.Error(err)
	}
	if err := head.Hold(t.Context(), "predict", nil); err == nil || !strings.Contains(err.Error(), "a head has only") {
		t.Error(err)
	}
}

// keeping is a net that notes what it is to hold.
type keeping struct {
	*net
	rows      map[string]tensor.Tensor
	signature string
	inputs    []string
}

func (k *keeping) Holds(name string) error {
	if name != "train_head" {
		return fmt.Errorf("it is to hold for %q", name)
	}
	return nil
}

func (k *keeping) Hold(_ context.Context, name string, rows map[string]tensor.Tensor) error {
	if name != "train_head" {
		return fmt.Errorf("it is to hold for %q", name)
	}
	k.rows = rows
	return nil
}

func (k *keeping) CallHeld(_ context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	k.signature, k.inputs = name, slices.Sorted(maps.Keys(inputs))
	return map[string]tensor.Tensor{"loss": must(tensor.Of([]float32{1}, 1)), "correct": must(tensor.Of([]int64{1}, 1))}, nil
}

package savedmodel_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// trained opens a model and takes a few steps.
func trained(t *testing.T, name string) (*savedmodel.Model, map[string]tensor.Tensor) {
	t.Helper()
	model := open(t, modeltest.Dir(t, name))
	m := model.Info().Metadata
	examples := batch(t, 20, m.Image.Height, len(m.Classes))
	inputs := with(examples, "learning_rate", tensor.Scalar(float32(0.01)))
	if name == modeltest.Pets {
		inputs["seed"] = must(tensor.Of([]int64{1, 1}, 2))
	}
	for range 3 {
		call(t, model, "train", inputs)
	}
	return model, inputs
}

func TestSaveThenOpenGoesOnToTheSameBit(t *testing.T) {
	// Pets has Adam: without its slots the next step would be another one.
	for _, name := range []string{modeltest.Small, modeltest.Pets} {
		t.Run(name, func(t *testing.T) {
			model, inputs := trained(t, name)
			dir := filepath.Join(t.TempDir(), "deep", "1")
			if err := model.Save(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
			copied := open(t, dir)
			for range 3 {
				a := call(t, model, "train", inputs)["loss"].Bytes()
				b := call(t, copied, "train", inputs)["loss"].Bytes()
				if !bytes.Equal(a, b) {
					t.Fatalf("the losses of the model and its copy are %x and %x", a, b)
				}
			}
		})
	}
}

// What a model has done since is undone, to the bit, in a session of its own too.
func TestRestoreVariables(t *testing.T) {
	for _, name := range []string{modeltest.Small, modeltest.Pets} {
		t.Run(name, func(t *testing.T) {
			model, inputs := trained(t, name)
			prefix := filepath.Join(t.TempDir(), "new", "variables")
			if err := model.SaveVariables(t.Context(), prefix); err != nil {
				t.Fatal(err)
			}
			var losses [][]byte
			for range 3 {
				losses = append(losses, call(t, model, "train", inputs)["loss"].Bytes())
			}
			fresh := open(t, modeltest.Dir(t, name))
			for _, m := range []*savedmodel.Model{model, fresh} {
				if err := m.RestoreVariables(t.Context(), prefix); err != nil {
					t.Fatal(err)
				}
				for i, want := range losses {
					if got := call(t, m, "train", inputs)["loss"].Bytes(); !bytes.Equal(got, want) {
						t.Errorf("loss %d is %x, was %x", i, got, want)
					}
				}
			}
			other := open(t, modeltest.Dir(t, modeltest.Tiny))
			if err := other.RestoreVariables(t.Context(), prefix); err == nil {
				t.Error("another model took the variables")
			}
			data := prefix + ".data-00000-of-00001"
			damaged, err := os.ReadFile(data)
			if err != nil {
				t.Fatal(err)
			}
			damaged[len(damaged)-1] ^= 1
			if err := os.WriteFile(data, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := fresh.RestoreVariables(t.Context(), prefix); err == nil {
				t.Error("a flipped bit was not noticed")
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	inspect := func(dir string) string {
		t.Helper()
		info, err := savedmodel.Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Fingerprint
	}
	small := inspect(modeltest.Dir(t, modeltest.Small))
	if again := inspect(modeltest.Copy(t, modeltest.Small)); again != small {
		t.Errorf("a copy's is %s, the model's is %s", again, small)
	}
	model, _ := trained(t, modeltest.Small)
	dir := filepath.Join(t.TempDir(), "trained")
	if err := model.Save(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{small: "small"}
	described := modeltest.Copy(t, modeltest.Small)
	if err := os.WriteFile(filepath.Join(described, "assets.extra", "note"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"trained": dir, "pets": modeltest.Dir(t, modeltest.Pets), "with a file more": described} {
		if other, ok := seen[inspect(dir)]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[inspect(dir)] = name
	}
}

func TestSavedModelKeepsItsMetadata(t *testing.T) {
	model, _ := trained(t, modeltest.Small)
	dir := filepath.Join(t.TempDir(), "saved")
	if err := model.Save(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	info, err := savedmodel.Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(info.Variables), len(model.Info().Variables); got != want {
		t.Errorf("it has %d variables, the model had %d", got, want)
	}
	if got := info.Metadata.Name; got != "small" {
		t.Errorf("its name is %q", got)
	}
}

func TestSaveFollowsLinks(t *testing.T) {
	// As hubs lay models out: names that link into a store.
	store, dir := modeltest.Copy(t, modeltest.Small), filepath.Join(t.TempDir(), "linked")
	if err := os.MkdirAll(filepath.Join(dir, "assets.extra"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"saved_model.pb", "variables", "assets.extra/residual.json"} {
		if err := os.Symlink(filepath.Join(store, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	model := open(t, dir)
	out := filepath.Join(t.TempDir(), "saved") + "/" // as shells complete it
	if err := model.Save(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if info, err := savedmodel.Inspect(out); err != nil || info.Metadata.Name != "small" {
		t.Errorf("the copy is not whole: %v", err)
	}
}

func TestSaveNeverOverwrites(t *testing.T) {
	model, _ := trained(t, modeltest.Small)
	dir := t.TempDir()
	if err := model.Save(t.Context(), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Save over a directory: %v, want fs.ErrExist", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := model.Save(t.Context(), file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Save over a file: %v, want fs.ErrExist", err)
	}
}

func TestSaveLeavesNothingWhenItFails(t *testing.T) {
	model, _ := trained(t, modeltest.Small)
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := model.Save(ctx, filepath.Join(parent, "model")); !errors.Is(err, context.Canceled) {
		t.Errorf("Save: %v, want context.Canceled", err)
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 0 {
		t.Errorf("a failed Save left %v", entries)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := model.Save(t.Context(), filepath.Join(file, "model")); err == nil {
		t.Error("Save went below a file")
	}
}

// Hours lie between opening a model and saving it.
func TestSaveWritesTheGraphThatWasOpened(t *testing.T) {
	dir := modeltest.Copy(t, modeltest.Small)
	model := open(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(modeltest.Dir(t, modeltest.Pets))); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "saved")
	if err := model.Save(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if saved := open(t, out); saved.Info().Metadata.Name != "small" {
		t.Errorf("the saved model is %q", saved.Info().Metadata.Name)
	}
}

func TestOpenRefusesFoldersThatCannotBeSaved(t *testing.T) {
	dir := modeltest.Copy(t, modeltest.Small)
	if err := os.Symlink("..", filepath.Join(dir, "assets", "up")); err != nil {
		t.Fatal(err)
	}
	if _, err := savedmodel.Open(dir, savedmodel.Options{}); err == nil {
		t.Error("Open took a folder that holds itself")
	}
}

package savedmodel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// A model that is opened for some functions computes, saves and restores as one
// that is opened whole, and leaves nothing behind.
func TestOpenForSomeSignatures(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	dir := modeltest.Dir(t, modeltest.Small)
	part, err := savedmodel.Open(dir, savedmodel.Options{Threads: 1, Signatures: []string{"train", "evaluate"}})
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v, %v is left", err, left)
	}
	whole, err := savedmodel.Open(dir, savedmodel.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	examples := batch(t, 8, 32, 10)
	training := with(examples, "learning_rate", tensor.Scalar(float32(0.1)))
	equal := func(name string, inputs map[string]tensor.Tensor) {
		t.Helper()
		a, b := call(t, part, name, inputs), call(t, whole, name, inputs)
		for output := range b {
			if !cmp.Equal(a[output].Bytes(), b[output].Bytes()) {
				t.Errorf("%s: %s is not the same", name, output)
			}
		}
	}
	for range 3 {
		equal("train", training)
		equal("evaluate", examples)
	}
	saved := filepath.Join(temporary, "saved")
	if err := part.Save(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	again, err := savedmodel.Inspect(saved)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole.Info().SignatureNames(), again.SignatureNames()); diff != "" {
		t.Errorf("what it saves is not whole: %s", diff)
	}
	if err := part.RestoreVariables(t.Context(), filepath.Join(dir, "variables", "variables")); err != nil {
		t.Fatal(err)
	}
	if err := whole.RestoreVariables(t.Context(), filepath.Join(dir, "variables", "variables")); err != nil {
		t.Fatal(err)
	}
	equal("evaluate", examples)

	if _, ok := part.Signature("serving_default"); ok {
		t.Error("it has a signature that it was not opened for")
	}
	if _, err := savedmodel.Open(dir, savedmodel.Options{Signatures: []string{"retrain"}}); err == nil || !strings.Contains(err.Error(), `no signature "retrain"`) {
		t.Errorf("Open for what is not there: %v", err)
	}
	_, err = part.Call(t.Context(), "serving_default", without(examples, "labels"))
	if err == nil || !strings.Contains(err.Error(), "opened for train, evaluate only") {
		t.Errorf("calling it: %v", err)
	}
}

// Where no graph can be written the model is opened whole.
func TestOpenForSomeSignaturesWithoutATemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	model, err := savedmodel.Open(modeltest.Dir(t, modeltest.Small), savedmodel.Options{Signatures: []string{"evaluate"}})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	call(t, model, "evaluate", batch(t, 8, 32, 10))
}

// An error is about the model, not about the graph that was made of it.
func TestOpenForSomeSignaturesNamesTheModel(t *testing.T) {
	dir := modeltest.Copy(t, modeltest.Small)
	files, err := filepath.Glob(filepath.Join(dir, "variables", "*.data-*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	_, err = savedmodel.Open(dir, savedmodel.Options{Signatures: []string{"evaluate"}})
	if err == nil || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), temporary+"/.residual") {
		t.Errorf("error: %v", err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) != 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}

// Package modeltest finds what tests run on: the checkout, its TensorFlow, and
// the small models of python_export/tests/models.py.
package modeltest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/residual-go/residual/tfgo"
)

// The models. Their images are uint8 [N,32,32,3] and their classes CIFAR-10's
// ten, unless said otherwise.
const (
	Small   = "small"   // a net with BatchNorm that learns in seconds; SGD
	Keras   = "keras"   // Small with Keras's own BatchNorm
	Torch   = "torch"   // resized to 64x64 and normalized in the graph; torch's BatchNorm and second softmax; SGD
	Pets    = "pets"    // 16x16, cat and dog; logits; wants a seed; Adam
	Sizes   = "sizes"   // enlarges images twice, or by a factor that is fed; SGD
	Tiny    = "tiny"    // as little work a step as possible; SGD
	Many    = "many"    // 2x2, 1001 classes: class_0 to class_1000; SGD
	Foreign = "foreign" // not an image classifier: x float32 [N,4] -> y
)

// ByOption are the models of which each shows another way to export. Of each there
// is one whose layers compute in Brain, and one in Half with a scaled loss, of the
// same weights: see In.
var ByOption = []string{Small, Keras, Torch, Pets, Sizes}

// What layers compute in.
const (
	Brain = "bfloat16"
	Half  = "float16"
)

// In names one of ByOption in a precision, Brain or Half.
func In(precision, model string) string { return model + "-" + precision }

// Dir returns the directory of a model, and makes sure that TensorFlow is found.
// The test fails if `make test-models` has not been run.
func Dir(tb testing.TB, name string) string {
	tb.Helper()
	dir, err := Find(name)
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Find is Dir for where there is no test, such as a TestMain.
func Find(name string) (string, error) {
	root := Root()
	if os.Getenv(tfgo.LibraryVariable) == "" {
		os.Setenv(tfgo.LibraryVariable, filepath.Join(root, ".venv"))
	}
	dir := filepath.Join(root, "build", "test-models", name)
	if _, err := os.Stat(dir); err != nil {
		return "", errors.New("the test models are missing: run `make test-models`")
	}
	return dir, nil
}

// Copy copies a model into a temporary directory, for tests that damage it.
func Copy(tb testing.TB, name string) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(Dir(tb, name))); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Root returns the checkout's directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// HasGPU tells whether TensorFlow can use a GPU.
func HasGPU(tb testing.TB) bool {
	tb.Helper()
	Dir(tb, Foreign)
	err := tfgo.Target{Device: tfgo.GPUDevice}.Find()
	if err != nil && !errors.Is(err, tfgo.ErrNoGPU) {
		tb.Fatal(err)
	}
	return err == nil
}

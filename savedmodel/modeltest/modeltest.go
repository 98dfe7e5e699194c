// Package modeltest finds what tests run on: the checkout, its TensorFlow, and
// the small models of python_export/tests/models.py.
package modeltest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/residual-go/residual/tfgo"
)

// The models. Their images are uint8 [N,32,32,3] and their classes CIFAR-10's
// ten, unless said otherwise.
const (
	Small   = "small"    // a net with BatchNorm that learns in seconds; SGD
	Brain   = "bfloat16" // Small with layers that compute in bfloat16, and the same weights
	Half    = "float16"  // Small with layers that compute in float16 and a scaled loss, and the same weights
	Tiny    = "tiny"     // as little work a step as possible; SGD
	Pets    = "pets"     // 16x16, cat and dog; wants a seed; Adam
	Sizes   = "sizes"    // enlarges images twice, or by a factor that is fed; SGD
	Many    = "many"     // 2x2, 1001 classes: class_0 to class_1000; SGD
	Foreign = "foreign"  // not an image classifier: x float32 [N,4] -> y
)

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
	devices, err := tfgo.Devices(tfgo.Target{})
	if err != nil {
		tb.Fatal(err)
	}
	return slices.ContainsFunc(devices, tfgo.Device.IsGPU)
}

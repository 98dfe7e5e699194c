package tfgo_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

func open(t *testing.T, name string, o tfgo.Options) *tfgo.Session {
	t.Helper()
	session, err := tfgo.LoadSavedModel(modeltest.Dir(t, name), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}

func numbers(t *testing.T, values []float32, shape ...int) tensor.Tensor {
	t.Helper()
	x, err := tensor.Of(values, shape...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// The names that TensorFlow gives the foreign model's one signature.
const (
	foreignInput  = "serving_default_x:0"
	foreignOutput = "StatefulPartitionedCall:0"
)

func TestRunFeedsAndFetches(t *testing.T) {
	session := open(t, modeltest.Foreign, tfgo.Options{})
	x := numbers(t, []float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4)
	out, err := session.Run(t.Context(), tfgo.Feeds{foreignInput: x}, []string{foreignOutput}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tensor.Values[float32](out[0])
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range got {
		if want := 2 * float32(i+1); value != want {
			t.Errorf("y[%d] = %g, want %g", i, value, want)
		}
	}
	if shape := out[0].Shape(); len(shape) != 2 || shape[0] != 2 || shape[1] != 4 {
		t.Errorf("y has shape %v", shape)
	}
}

func TestRunTakesEmptyBatches(t *testing.T) {
	session := open(t, modeltest.Foreign, tfgo.Options{})
	out, err := session.Run(t.Context(), tfgo.Feeds{foreignInput: numbers(t, nil, 0, 4)}, []string{foreignOutput}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if shape := out[0].Shape(); shape[0] != 0 {
		t.Errorf("y has shape %v", shape)
	}
}

func TestRunNamesWhatTheGraphLacks(t *testing.T) {
	session := open(t, modeltest.Foreign, tfgo.Options{})
	x := numbers(t, make([]float32, 4), 1, 4)
	for name, test := range map[string]struct {
		feeds            tfgo.Feeds
		fetches, targets []string
		want             string
	}{
		"feed":         {tfgo.Feeds{"nobody:0": x}, []string{foreignOutput}, nil, `"nobody:0"`},
		"fetch":        {tfgo.Feeds{foreignInput: x}, []string{"nobody:0"}, nil, `"nobody:0"`},
		"target":       {tfgo.Feeds{foreignInput: x}, nil, []string{"nobody"}, `"nobody"`},
		"output index": {tfgo.Feeds{foreignInput: x}, []string{"StatefulPartitionedCall:7"}, nil, `"StatefulPartitionedCall:7"`},
		"no index":     {tfgo.Feeds{foreignInput: x}, []string{"StatefulPartitionedCall:x"}, nil, "operation:index"},
		"text":         {tfgo.Feeds{foreignInput: tensor.Text("x")}, []string{foreignOutput}, nil, "run graph"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := session.Run(t.Context(), test.feeds, test.fetches, test.targets)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Run: %v, want %s in it", err, test.want)
			}
		})
	}
}

func TestRunDoesNotBeginAfterCancel(t *testing.T) {
	session := open(t, modeltest.Foreign, tfgo.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := session.Run(ctx, tfgo.Feeds{foreignInput: numbers(t, make([]float32, 4), 1, 4)}, []string{foreignOutput}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want context.Canceled", err)
	}
}

func TestRunMayBeCalledFromSeveralGoroutines(t *testing.T) {
	session := open(t, modeltest.Foreign, tfgo.Options{})
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for range 50 {
				x := numbers(t, []float32{float32(worker), 0, 0, 0}, 1, 4)
				out, err := session.Run(t.Context(), tfgo.Feeds{foreignInput: x}, []string{foreignOutput}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if y, _ := tensor.Values[float32](out[0]); y[0] != 2*float32(worker) {
					t.Errorf("worker %d got %g", worker, y[0])
				}
			}
		})
	}
	wait.Wait()
}

func TestLoadSavedModelRefuses(t *testing.T) {
	for name, o := range map[string]tfgo.Options{
		"threads":   {Threads: -1},
		"precision": {Precision: "float7"},
	} {
		_, err := tfgo.LoadSavedModel(modeltest.Dir(t, modeltest.Foreign), o)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("LoadSavedModel with wrong %s: %v", name, err)
		}
	}
	if _, err := tfgo.LoadSavedModel(t.TempDir(), tfgo.Options{}); err == nil {
		t.Error("an empty directory was loaded")
	}
}

func TestDevicesHasTheCPU(t *testing.T) {
	modeltest.Dir(t, modeltest.Foreign)
	devices, err := tfgo.Devices(tfgo.Target{})
	if err != nil || len(devices) == 0 || devices[0].Type != "CPU" {
		t.Errorf("Devices() = %v, %v", devices, err)
	}
}

func TestLoadSaysWhichLibrary(t *testing.T) {
	modeltest.Dir(t, modeltest.Foreign)
	library, err := tfgo.Load()
	if err != nil || !strings.HasPrefix(library.Version, "2.") || !strings.Contains(library.Path, "libtensorflow") {
		t.Errorf("Load() = %+v, %v", library, err)
	}
}

// What the library says before it ends the process is not lost.
func TestQuietlyPassesOnWhatEndsTheProcess(t *testing.T) {
	// TensorFlow's own check of this variable aborts while the model is loaded.
	if dir := os.Getenv("TFGO_TEST_ABORT"); dir != "" {
		_, err := tfgo.LoadSavedModel(dir, tfgo.Options{})
		t.Fatalf("it was loaded: %v", err)
	}
	dir := modeltest.Dir(t, modeltest.Foreign)
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), "TFGO_TEST_ABORT="+dir, "TF_NUM_INTRAOP_THREADS=-5")
	command.Env = slices.DeleteFunc(command.Env, func(v string) bool { return strings.HasPrefix(v, tfgo.LogLevelVariable+"=") })
	out, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Check failed: num_threads") || !strings.Contains(string(out), "SIGABRT") {
		t.Errorf("%v: %.2000s", err, out)
	}
}

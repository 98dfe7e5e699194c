package tfgo_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
)

func TestTargets(t *testing.T) {
	for device, wants := range map[string]bool{"": false, "auto": false, "cpu": false, "gpu": true, "gpu:0": true, "gpu:7": true} {
		target := tfgo.Target{Device: device}
		if err := target.Check(); err != nil || target.NeedsGPU() != wants {
			t.Errorf("%q: %v, needs a GPU: %t", device, err, target.NeedsGPU())
		}
	}
	for _, wrong := range []tfgo.Target{
		{Device: "GPU"}, {Device: "gpu:"}, {Device: "gpu:-1"}, {Device: "gpu:+1"}, {Device: "gpu:x"}, {Device: "gpu:1024"}, {Device: "tpu"}, {Device: "cpu:0"},
		{GPUMemory: -0.1}, {GPUMemory: 1.1},
	} {
		if err := wrong.Check(); err == nil || wrong.NeedsGPU() && wrong.GPUMemory == 0 {
			t.Errorf("%+v was taken", wrong)
		}
		if _, err := tfgo.NewSession(nil, tfgo.Options{Target: wrong}); err == nil {
			t.Errorf("a session was opened for %+v", wrong)
		}
	}
}

// On a machine with a GPU this is make test-gpu's matter.
func withoutGPU(t *testing.T) {
	t.Helper()
	if modeltest.HasGPU(t) {
		t.Skip("there is a GPU")
	}
}

func TestAGPUThatIsWantedAndNotThere(t *testing.T) {
	withoutGPU(t)
	model := modeltest.Dir(t, modeltest.Foreign)
	o := tfgo.Options{Target: tfgo.Target{Device: "gpu"}}
	for name, open := range map[string]func() (*tfgo.Session, error){
		"graph":      func() (*tfgo.Session, error) { return tfgo.NewSession(nil, o) },
		"savedmodel": func() (*tfgo.Session, error) { return tfgo.LoadSavedModel(model, o) },
	} {
		_, err := open()
		if !errors.Is(err, tfgo.ErrNoGPU) || !strings.Contains(err.Error(), tfgo.WhyNoGPU()) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want a sentence that says why: %s", name, err, tfgo.WhyNoGPU())
		}
	}
	for _, device := range []string{"", "auto", "cpu"} {
		session, err := tfgo.NewSession(nil, tfgo.Options{Target: tfgo.Target{Device: device, GPUMemory: 0.5}})
		if err != nil {
			t.Fatalf("%q: %v", device, err)
		}
		if there, err := session.OnGPU(); there || err != nil {
			t.Errorf("%q: %t, %v", device, there, err)
		}
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}
}

// driver is the part of NVIDIA's driver that this package asks.
const driver = `
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned int flags) { const char *code = getenv("FAKE_INIT"); return code ? atoi(code) : 0; }
int cuDriverGetVersion(int *version) { const char *v = getenv("FAKE_CUDA"); *version = v ? atoi(v) : 12040; return 0; }
int cuDeviceGetCount(int *count) { const char *n = getenv("FAKE_COUNT"); *count = n ? atoi(n) : 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index + 40; return index < 2 ? 0 : 101; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device == 40 ? "Fake A" : "Fake B", size); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)(device - 39) << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : device - 40; return 0; }
int cuGetErrorString(int code, const char **text) { *text = "no CUDA-capable device is detected"; return 0; }
`

// findDriver is the job of a process of its own: what is loaded stays loaded.
const findDriver = "FIND_DRIVER"

func init() {
	if os.Getenv(findDriver) == "" {
		return
	}
	d, err := tfgo.FindDriver()
	if err != nil {
		os.Stdout.WriteString("error: " + err.Error() + "\n")
	}
	os.Stdout.WriteString("CUDA " + d.CUDA + "\n")
	for _, gpu := range d.GPUs {
		os.Stdout.WriteString(gpu.Name + ", " + gpu.Capability + ", " + map[bool]string{true: "1 GiB", false: "more"}[gpu.Memory == 1<<30] + "\n")
	}
	os.Exit(0)
}

func TestFindDriver(t *testing.T) {
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "driver.c"), []byte(driver), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"whole", "old"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-o", filepath.Join(dir, "whole", "libcuda.so.1"), filepath.Join(dir, "driver.c")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-o", filepath.Join(dir, "old", "libcuda.so.1"), "-xc", "/dev/null").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, test := range map[string]struct {
		libraries   string
		environment []string
		want        string
	}{
		"two GPUs":              {"whole", nil, "CUDA 12.4\nFake A, 9.0, 1 GiB\nFake B, 9.1, more\n"},
		"no GPU":                {"whole", []string{"FAKE_COUNT=0"}, "CUDA 12.4\n"},
		"one that is lost":      {"whole", []string{"FAKE_COUNT=3"}, "error: describe the GPU: no CUDA-capable device is detected (CUDA error 101)\nCUDA 12.4\nFake A, 9.0, 1 GiB\nFake B, 9.1, more\n"},
		"it does not start":     {"whole", []string{"FAKE_INIT=100"}, "error: start the driver: no CUDA-capable device is detected (CUDA error 100)\nCUDA 12.4\n"},
		"it is of another kind": {"old", nil, "error: there is no NVIDIA driver: the driver has no cuInit\nCUDA \n"},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(os.Args[0])
			command.Env = append(os.Environ(), findDriver+"=1", "LD_LIBRARY_PATH="+filepath.Join(dir, test.libraries))
			command.Env = append(command.Env, test.environment...)
			out, err := command.Output()
			if err != nil || string(out) != test.want {
				t.Errorf("got %q, %v, want %q", out, err, test.want)
			}
		})
	}
}

func TestWhyNoGPU(t *testing.T) {
	withoutGPU(t)
	why := tfgo.WhyNoGPU()
	built, err := tfgo.BuiltForGPUs()
	if err != nil {
		t.Fatal(err)
	}
	if !built && !strings.Contains(why, "CPUs only") {
		t.Errorf("got %q", why)
	}
	if strings.Contains(why, "\n") || why == "" {
		t.Errorf("%q is no sentence", why)
	}
}

// All that TensorFlow would open is looked for, and what is missing has a wheel.
func TestGPULibraries(t *testing.T) {
	modeltest.Dir(t, modeltest.Foreign)
	libraries, err := tfgo.GPULibraries()
	if err != nil || len(libraries) != 7 {
		t.Fatalf("got %v, %v", libraries, err)
	}
	for _, l := range libraries {
		if !strings.HasPrefix(l.Package, "nvidia-") || l.Err == nil && l.File == "" {
			t.Errorf("got %+v", l)
		}
	}
}

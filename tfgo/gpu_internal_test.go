package tfgo

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	configpb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"
)

func TestWhatATargetConfigures(t *testing.T) {
	for name, test := range map[string]struct {
		target  Target
		visible string
		count   map[string]int32
		share   float64
		jit     configpb.OptimizerOptions_GlobalJitLevel
	}{
		"nothing":      {Target{}, "", nil, 0, 0},
		"auto":         {Target{Device: "auto"}, "", nil, 0, 0},
		"cpu":          {Target{Device: "cpu"}, "", map[string]int32{"GPU": 0}, 0, 0},
		"gpu":          {Target{Device: "gpu"}, "0", nil, 0, 0},
		"the third":    {Target{Device: "gpu:2"}, "2", nil, 0, 0},
		"half of it":   {Target{GPUMemory: 0.5}, "", nil, 0.5, 0},
		"compiled too": {Target{Device: "cpu", XLA: true}, "", map[string]int32{"GPU": 0}, 0, configpb.OptimizerOptions_ON_1},
	} {
		text, err := Options{Target: test.target}.config()
		if err != nil {
			t.Fatal(err)
		}
		var got configpb.ConfigProto
		if err := proto.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		gpu := got.GetGpuOptions()
		count, limited := got.GetDeviceCount()["GPU"]
		if gpu.GetVisibleDeviceList() != test.visible || limited != (test.count != nil) || count != 0 ||
			gpu.GetPerProcessGpuMemoryFraction() != test.share || gpu.GetAllowGrowth() != (test.share == 0) ||
			got.GetGraphOptions().GetOptimizerOptions().GetGlobalJitLevel() != test.jit || !got.GetAllowSoftPlacement() {
			t.Errorf("%s: %v", name, &got)
		}
	}
}

func TestWhyADriverWillNotDo(t *testing.T) {
	one := []GPU{{Name: "A", Capability: "9.0"}}
	for name, test := range map[string]struct {
		driver  Driver
		err     error
		visible string
		limited bool
		want    string
	}{
		"all is well":                       {Driver{CUDA: "12.4", GPUs: one}, nil, "", false, ""},
		"one of several is visible":         {Driver{CUDA: "12.4", GPUs: one}, nil, "0", true, ""},
		"there is none":                     {Driver{}, fmt.Errorf("%w: libcuda.so.1: cannot open", ErrNoDriver), "", false, "no NVIDIA driver: libcuda.so.1: cannot open; in a container it comes with --gpus all"},
		"none, and a variable":              {Driver{}, fmt.Errorf("%w: libcuda.so.1: cannot open", ErrNoDriver), "0", true, "no NVIDIA driver"},
		"it does not even know its version": {Driver{}, errors.New("start the driver: mismatch (CUDA error 803)"), "", false, "does not start: start the driver: mismatch"},
		"none, or it is hidden":             {Driver{CUDA: "12.4"}, errors.New("start the driver: no device (CUDA error 100)"), "0", true, `shows no GPU: there is none, or CUDA_VISIBLE_DEVICES="0" hides it`},
		"it does not start":                 {Driver{CUDA: "12.4"}, errors.New("start the driver: mismatch (CUDA error 803)"), "", false, "does not start: start the driver: mismatch"},
		"not either, and a variable":        {Driver{CUDA: "12.4"}, errors.New("start the driver: mismatch (CUDA error 803)"), "0", true, "does not start: start the driver: mismatch"},
		"all are hidden":                    {Driver{CUDA: "12.4"}, errors.New("start the driver: no device (CUDA error 100)"), "", true, `CUDA_VISIBLE_DEVICES="" hides all GPUs`},
		"all are hidden, it starts":         {Driver{CUDA: "12.4"}, nil, "-1", true, `CUDA_VISIBLE_DEVICES="-1" hides all GPUs`},
		"it has none":                       {Driver{CUDA: "12.4"}, nil, "", false, "shows no GPU"},
		"it is too old":                     {Driver{CUDA: "11.8", GPUs: one}, nil, "", false, "is for CUDA 11.8, and TensorFlow needs 12"},
		"it is newer than what we know":     {Driver{CUDA: "13.0", GPUs: one}, nil, "", false, ""},
	} {
		got := whyNoDriver(test.driver, test.err, test.visible, test.limited)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestLibrariesThatAreMissingAreNamed(t *testing.T) {
	libraries := []GPULibrary{{File: "libcudart.so.12", Package: "nvidia-cuda-runtime-cu12"}}
	if got := whyNoLibraries(libraries); got != "" {
		t.Errorf("got %q", got)
	}
	libraries = append(libraries, GPULibrary{File: "libcudnn.so.9", Package: "nvidia-cudnn-cu12", Err: errors.New("cannot open")})
	if got := whyNoLibraries(libraries); got != "TensorFlow cannot open libcudnn.so.9 (wheel nvidia-cudnn-cu12)" {
		t.Errorf("got %q", got)
	}
}

func TestVersionsOfNVIDIAsLibraries(t *testing.T) {
	for got, want := range map[string]string{
		cudaVersion(12040): "12.4", cudaVersion(0): "", cudaVersion(13000): "13.0",
		thousands(11203): "11.2.3", thousands(11705): "11.7.5", tenThousands(90300): "9.3.0", tenThousands(120903): "12.9.3",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

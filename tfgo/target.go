package tfgo

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	configpb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
)

// Target says what computes. The zero value is a GPU where TensorFlow can use one,
// else the CPU.
type Target struct {
	// Device is AutoDevice or ""; CPUDevice; GPUDevice, the first one, which must be
	// there then; or "gpu:1", the second one, and so on. All sessions of a process that
	// compute on GPUs must compute on the same.
	Device string
	// GPUMemory is the share of the GPU's memory that is taken at once, up to 1. With 0
	// it is taken as it is needed, and kept.
	GPUMemory float64
	// XLA compiles the graph, for each shape of what is fed that comes again; what comes
	// once is run as it is.
	XLA bool
}

// The devices that Target takes.
const (
	AutoDevice = "auto"
	CPUDevice  = "cpu"
	GPUDevice  = "gpu"
)

// ErrNoGPU is in the chain of errors about a GPU that was wanted and cannot be used.
var ErrNoGPU = errors.New("no GPU can be used")

// Check says what is wrong with the target itself, whatever the machine has.
func (t Target) Check() error {
	if _, err := t.gpu(); err != nil {
		return err
	}
	if !(t.GPUMemory >= 0 && t.GPUMemory <= 1) {
		return fmt.Errorf("a GPU's memory is taken up to a share of 1, not %g", t.GPUMemory)
	}
	return nil
}

// Find opens what the target computes on, and closes it again. ErrNoGPU is in the
// chain of its error where a GPU that there must be cannot be used.
func (t Target) Find() error {
	session, err := NewSession(nil, Options{Target: t})
	if err != nil {
		return err
	}
	return session.Close()
}

// NeedsGPU tells whether there must be a GPU.
func (t Target) NeedsGPU() bool {
	index, err := t.gpu()
	return err == nil && index >= 0
}

// findsGPU tells whether sessions for the target compute on a GPU.
func (t Target) findsGPU() bool {
	if index, err := t.gpu(); err != nil || index == noGPU {
		return false
	}
	if built, err := BuiltForGPUs(); err != nil || !built {
		return false
	}
	devices, err := Devices(t)
	return err == nil && slices.ContainsFunc(devices, Device.IsGPU)
}

// The indexes that are none.
const (
	anyGPU = -1 - iota
	noGPU
)

// gpu returns the index of the GPU, or anyGPU or noGPU.
func (t Target) gpu() (int, error) {
	switch t.Device {
	case "", AutoDevice:
		return anyGPU, nil
	case CPUDevice:
		return noGPU, nil
	case GPUDevice:
		return 0, nil
	}
	const most = 1 << 10
	if number, ok := strings.CutPrefix(t.Device, GPUDevice+":"); ok {
		if index, err := strconv.ParseUint(number, 10, 16); err == nil && index < most {
			return int(index), nil
		}
	}
	return 0, fmt.Errorf("a device is %s, %s, %s or %s:N, not %q", AutoDevice, CPUDevice, GPUDevice, GPUDevice, t.Device)
}

// configure writes the target into a session's configuration.
func (t Target) configure(config *configpb.ConfigProto) error {
	if err := t.Check(); err != nil {
		return err
	}
	gpu := &configpb.GPUOptions{AllowGrowth: true}
	if t.GPUMemory > 0 {
		gpu = &configpb.GPUOptions{PerProcessGpuMemoryFraction: t.GPUMemory}
	}
	switch index, _ := t.gpu(); {
	case index == noGPU:
		config.DeviceCount = map[string]int32{"GPU": 0}
	case index >= 0:
		gpu.VisibleDeviceList = strconv.Itoa(index)
	}
	config.GpuOptions = gpu
	if t.XLA {
		compileOnCPUs()
		config.GraphOptions.OptimizerOptions = &configpb.OptimizerOptions{GlobalJitLevel: configpb.OptimizerOptions_ON_1}
	}
	return nil
}

// xlaFlags is the variable that TensorFlow reads once, when it compiles for the first
// time.
const xlaFlags = "TF_XLA_FLAGS"

// compileOnCPUs lets XLA compile also what computes on a CPU, which by itself it does
// for GPUs only.
var compileOnCPUs = sync.OnceFunc(func() {
	const flag = "--tf_xla_cpu_global_jit"
	if given := os.Getenv(xlaFlags); !strings.Contains(given, flag) {
		os.Setenv(xlaFlags, strings.TrimSpace(given+" "+flag))
	}
})

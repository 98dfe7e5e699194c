package tfgo

// #include <stdlib.h>
// #include "gpu.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"
)

// GPU is one of this machine's GPUs, as NVIDIA's driver describes it.
type GPU struct {
	Name       string
	Memory     int64  // bytes
	Capability string // compute capability, such as 9.0
}

// Driver is NVIDIA's driver.
type Driver struct {
	Version string // of its kernel module, such as 550.54.15; "" if it does not say
	CUDA    string // the newest version of CUDA that it supports, such as 12.4
	GPUs    []GPU  // that it shows to this process
}

// ErrNoDriver is in the chain of FindDriver's error where there is none.
var ErrNoDriver = errors.New("there is no NVIDIA driver")

// leastCUDA is the oldest major version that TensorFlow's libraries run on.
const leastCUDA = 12

// FindDriver starts NVIDIA's driver, or says why it cannot.
func FindDriver() (Driver, error) {
	var version, count C.int
	err := takeError(C.tfgo_driver(&version, &count))
	if version == C.tfgo_no_driver {
		return Driver{Version: kernelModule()}, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	d := Driver{Version: kernelModule(), CUDA: cudaVersion(int(version))}
	if err != nil {
		return d, err
	}
	for i := range int(count) {
		var gpu C.tfgo_gpu
		if err := takeError(C.tfgo_gpu_at(C.int(i), &gpu)); err != nil {
			return d, err
		}
		name, _, _ := strings.Cut(C.GoStringN(&gpu.name[0], C.int(len(gpu.name))), "\x00")
		d.GPUs = append(d.GPUs, GPU{
			Name: name, Memory: int64(gpu.memory), Capability: fmt.Sprintf("%d.%d", int(gpu.major), int(gpu.minor)),
		})
	}
	return d, nil
}

// takeError makes an error of C's text, and frees it.
func takeError(why *C.char) error {
	if why == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(why))
	return errors.New(C.GoString(why))
}

// cudaVersion writes CUDA's 12040 as 12.4; "" for 0.
func cudaVersion(number int) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", number/1000, number%1000/10)
}

// kernelModule reads the driver's version, which stands behind the words "Kernel
// Module" and, of the open one, "for x86_64".
func kernelModule() string {
	text, err := os.ReadFile("/proc/driver/nvidia/version")
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for _, word := range strings.Fields(line) {
		if strings.Trim(word, "0123456789.") == "" && strings.Contains(word, ".") {
			return word
		}
	}
	return ""
}

// GPULibrary is a library that TensorFlow opens when it looks for GPUs.
type GPULibrary struct {
	File    string // that TensorFlow asks for, such as libcudnn.so.9
	Package string // the Python wheel that has it
	Version string // that was found, such as 9.3.0; "" if it does not say
	Err     error  // why it cannot be used; nil if it can
}

// gpuLibraries are those of TensorFlow 2.18 to 2.21. If one of the needed ones is
// missing, TensorFlow uses no GPU at all.
var gpuLibraries = []struct {
	file, wheel string
	way         C.int
	function    string
	version     func(int) string
}{
	{"libcudart.so.12", "nvidia-cuda-runtime-cu12", C.tfgo_version_argument, "cudaRuntimeGetVersion", cudaVersion},
	{"libcublas.so.12", "nvidia-cublas-cu12", C.tfgo_no_version, "", nil},
	{"libcublasLt.so.12", "nvidia-cublas-cu12", C.tfgo_version_result, "cublasLtGetVersion", tenThousands},
	{"libcufft.so.11", "nvidia-cufft-cu12", C.tfgo_version_argument, "cufftGetVersion", thousands},
	{"libcusolver.so.11", "nvidia-cusolver-cu12", C.tfgo_version_argument, "cusolverGetVersion", thousands},
	{"libcusparse.so.12", "nvidia-cusparse-cu12", C.tfgo_no_version, "", nil},
	{"libcudnn.so.9", "nvidia-cudnn-cu12", C.tfgo_version_result, "cudnnGetVersion", tenThousands},
}

// thousands writes 11203 as 11.2.3, and tenThousands 90300 as 9.3.0.
func thousands(n int) string    { return fmt.Sprintf("%d.%d.%d", n/1000, n%1000/100, n%100) }
func tenThousands(n int) string { return fmt.Sprintf("%d.%d.%d", n/10000, n%10000/100, n%100) }

// GPULibraries opens what TensorFlow needs to use a GPU, where TensorFlow would:
// beside itself as Python's wheels lie (../nvidia/*/lib), then on the loader's path.
// What can be opened stays open.
func GPULibraries() ([]GPULibrary, error) {
	library, err := Load()
	if err != nil {
		return nil, err
	}
	var found []GPULibrary
	for _, l := range gpuLibraries {
		path := l.file
		beside, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(library.Path)), "nvidia", "*", "lib", l.file))
		if len(beside) > 0 {
			path = beside[0]
		}
		version, err := tryLibrary(path, l.way, l.function)
		one := GPULibrary{File: l.file, Package: l.wheel, Err: err}
		if version > 0 {
			one.Version = l.version(version)
		}
		found = append(found, one)
	}
	return found, nil
}

func tryLibrary(path string, way C.int, function string) (int, error) {
	cPath, cFunction := C.CString(path), C.CString(function)
	defer C.free(unsafe.Pointer(cPath))
	defer C.free(unsafe.Pointer(cFunction))
	var version C.long
	err := takeError(C.tfgo_try(cPath, way, cFunction, &version))
	return int(version), err
}

// visibleDevices is CUDA's variable for the GPUs that a process may see.
const visibleDevices = "CUDA_VISIBLE_DEVICES"

// noDevice is in the driver's error where it sees no GPU (CUDA_ERROR_NO_DEVICE), or
// may see none.
const noDevice = "(CUDA error 100)"

// WhyNoGPU says in a sentence why TensorFlow uses no GPU, where it uses none.
func WhyNoGPU() string {
	if _, err := Load(); err != nil {
		return err.Error()
	}
	if C.tfgo_cuda() == 0 {
		return "this build of TensorFlow computes on CPUs only; the wheel tensorflow[and-cuda] has one for NVIDIA's GPUs (RESIDUAL_TENSORFLOW says where it is)"
	}
	driver, err := FindDriver()
	visible, limited := os.LookupEnv(visibleDevices)
	if why := whyNoDriver(driver, err, visible, limited); why != "" {
		return why
	}
	libraries, err := GPULibraries()
	if err != nil {
		return err.Error()
	}
	if why := whyNoLibraries(libraries); why != "" {
		return why
	}
	return fmt.Sprintf("TensorFlow does not take the GPU that is there (%s, compute capability %s); --debug shows what it says",
		driver.GPUs[0].Name, driver.GPUs[0].Capability)
}

// whyNoDriver is what is wrong with the driver that was found, err where it could not
// be started, or with what visibleDevices is set to, if it is; "" if nothing is.
func whyNoDriver(driver Driver, err error, visible string, limited bool) string {
	switch {
	case errors.Is(err, ErrNoDriver):
		return fmt.Sprintf("%v; in a container it comes with --gpus all", err)
	case limited && len(driver.GPUs) == 0 && (err == nil || strings.Contains(err.Error(), noDevice)):
		if visible == "" || strings.HasPrefix(visible, "-") {
			return fmt.Sprintf("%s=%q hides all GPUs", visibleDevices, visible)
		}
		return fmt.Sprintf("the NVIDIA driver shows no GPU: there is none, or %s=%q hides it", visibleDevices, visible)
	case err != nil:
		return fmt.Sprintf("the NVIDIA driver does not start: %v", err)
	case len(driver.GPUs) == 0:
		return "the NVIDIA driver shows no GPU"
	case newer(leastCUDA, driver.CUDA):
		return fmt.Sprintf("the NVIDIA driver is for CUDA %s, and TensorFlow needs %d: install a newer driver", driver.CUDA, leastCUDA)
	}
	return ""
}

// whyNoLibraries names those that are missing; "" if none is.
func whyNoLibraries(libraries []GPULibrary) string {
	var missing []string
	for _, l := range libraries {
		if l.Err != nil {
			missing = append(missing, fmt.Sprintf("%s (wheel %s)", l.File, l.Package))
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "TensorFlow cannot open " + strings.Join(missing, ", ")
}

// newer tells whether a major version is newer than a version such as 11.8.
func newer(major int, version string) bool {
	var has int
	_, err := fmt.Sscanf(version, "%d", &has)
	return err == nil && major > has
}

// allowTF32 lets TensorFlow compute products of float32 in TF32, or not. It goes
// for the process: the session that was opened last, and may compute on a GPU, decides.
func allowTF32(allowed bool) {
	var one C.int
	if allowed {
		one = 1
	}
	C.tfgo_allow_tf32(one)
}

// BuiltForGPUs tells whether the TensorFlow that is loaded can use NVIDIA's GPUs.
func BuiltForGPUs() (bool, error) {
	if _, err := Load(); err != nil {
		return false, err
	}
	return C.tfgo_cuda() != 0, nil
}

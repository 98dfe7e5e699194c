package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/residual-go/residual/tfgo"
)

// examineDevices says what TensorFlow computes on, and why on no GPU.
func examineDevices(ctx context.Context, found func(finding)) {
	if built, err := tfgo.BuiltForGPUs(); err == nil && built {
		found(examineDriver())
		found(examineGPULibraries())
	}
	devices, err := tfgo.Devices(tfgo.Target{})
	if err != nil {
		found(finding{Name: "devices", Problem: err.Error(), Fatal: true})
		return
	}
	var names []string
	var gpus []tfgo.Device
	for _, d := range devices {
		names = append(names, shortName(d))
		if d.IsGPU() {
			gpus = append(gpus, d)
		}
	}
	found(finding{Name: "devices", Value: strings.Join(names, ", ")})
	if len(gpus) == 0 {
		found(finding{Name: "GPU", Value: "none: " + tfgo.WhyNoGPU()})
	}
	for _, gpu := range gpus {
		found(measureGPU(ctx, gpu))
	}
}

// shortName is GPU:0 of /job:localhost/replica:0/task:0/device:GPU:0.
func shortName(d tfgo.Device) string {
	_, name, _ := strings.Cut(d.Name, "device:")
	return name
}

// examineDriver tells of NVIDIA's driver and the GPUs that it shows.
func examineDriver() finding {
	const name = "driver"
	driver, err := tfgo.FindDriver()
	switch {
	case errors.Is(err, tfgo.ErrNoDriver):
		return finding{Name: name, Problem: err.Error(), Mend: "install NVIDIA's driver; in a container: docker run --gpus all"}
	case err != nil:
		return finding{Name: name, Problem: err.Error(), Mend: "see what nvidia-smi says, and whether CUDA_VISIBLE_DEVICES hides the GPUs"}
	}
	value := fmt.Sprintf("%s, CUDA %s", orUnknown(driver.Version), orUnknown(driver.CUDA))
	for i, gpu := range driver.GPUs {
		value += fmt.Sprintf("; GPU %d: %s, %s, compute capability %s", i, gpu.Name, formatBytes(gpu.Memory), gpu.Capability)
	}
	return finding{Name: name, Value: value}
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

// examineGPULibraries tells which of NVIDIA's libraries there are, and which wheel
// has the others.
func examineGPULibraries() finding {
	const name = "CUDA"
	libraries, err := tfgo.GPULibraries()
	if err != nil {
		return finding{Name: name, Problem: err.Error()}
	}
	var found, missing, wheels []string
	for _, l := range libraries {
		switch {
		case l.Err != nil:
			missing = append(missing, l.File)
			if !slices.Contains(wheels, l.Package) {
				wheels = append(wheels, l.Package)
			}
		case l.Version != "":
			found = append(found, l.File+" "+l.Version)
		default:
			found = append(found, l.File)
		}
	}
	if len(missing) > 0 {
		return finding{
			Name: name, Problem: "TensorFlow cannot open " + strings.Join(missing, ", "),
			Mend: "pip install " + strings.Join(wheels, " ") + ", or all of them: pip install tensorflow[and-cuda]",
		}
	}
	return finding{Name: name, Value: strings.Join(found, ", ")}
}

// measureGPU multiplies matrices on a GPU.
func measureGPU(ctx context.Context, gpu tfgo.Device) finding {
	name := shortName(gpu)
	var speeds []string
	for _, precision := range append(slices.Clone(tfgo.Precisions), tfgo.Float16) {
		peak, err := tfgo.MeasurePeakOn(ctx, gpu, tfgo.Options{Precision: precision}, time.Second/2)
		if err != nil {
			return finding{Name: name, Problem: err.Error()}
		}
		speeds = append(speeds, fmt.Sprintf("%s %s", figure(peak.FLOPS/1e9), precision))
	}
	return finding{Name: name, Value: "matrix product, GFLOP/s: " + strings.Join(speeds, ", ")}
}

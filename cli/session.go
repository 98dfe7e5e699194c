package cli

import (
	"runtime"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo"
)

// The flags that say what computes, and how.
var (
	deviceFlag    = &cli.StringFlag{Name: "device", Usage: "`D` is cpu, gpu, gpu:1 (the second one), or auto: a GPU where there is one", Value: tfgo.AutoDevice}
	gpuMemoryFlag = &cli.StringFlag{Name: "gpu-memory", Usage: "the `SHARE` of the GPU's memory to take at once, such as 0.8, or growth: as it is needed", Value: memoryGrowth}
	xlaFlag       = &cli.BoolFlag{Name: "xla", Usage: "compile the model with XLA: faster on GPUs, slower on CPUs"}
	threadsFlag   = &cli.IntFlag{Name: "threads", Usage: "compute with `N` threads; results depend on it in the last bits", DefaultText: "one for each core, or as GOMAXPROCS or a container's limit has it"}
	precisionFlag = &cli.StringFlag{Name: "precision", Usage: "`P` is float32, tf32 (of GPUs), bfloat16 (of CPUs), or auto: what is faster on this machine", Value: string(tfgo.Float32)}
)

func sessionFlags() []cli.Flag {
	return []cli.Flag{deviceFlag, gpuMemoryFlag, xlaFlag, precisionFlag, threadsFlag}
}

const (
	autoPrecision = "auto"   // the --precision that stands for the fastest one
	memoryGrowth  = "growth" // the --gpu-memory that takes what is needed
)

// sessionOptions reads sessionFlags, and looks for the GPU that they may ask for.
func sessionOptions(c *cli.Context) (savedmodel.Options, error) {
	if err := positive(c, threadsFlag.Name); err != nil {
		return savedmodel.Options{}, err
	}
	target, err := targetOf(c)
	if err != nil {
		return savedmodel.Options{}, err
	}
	if target.NeedsGPU() { // before data are downloaded
		if err := target.Find(); err != nil {
			return savedmodel.Options{}, err
		}
	}
	precision, err := precisionOf(c, target)
	return savedmodel.Options{Threads: threads(c), Precision: precision, Target: target}, err
}

// threads reads --threads. Without it they are as many as Go's runtime uses where that is
// fewer than there are cores: by a container's limit, which Go takes for two at least and
// TensorFlow does not see, or by GOMAXPROCS. 0 leaves the number to TensorFlow.
func threads(c *cli.Context) int {
	if n, cores := runtime.GOMAXPROCS(0), runtime.NumCPU(); !c.IsSet(threadsFlag.Name) && n < cores {
		return n
	}
	return c.Int(threadsFlag.Name)
}

// targetOf reads --device, --gpu-memory and --xla.
func targetOf(c *cli.Context) (tfgo.Target, error) {
	target := tfgo.Target{Device: c.String(deviceFlag.Name), XLA: c.Bool(xlaFlag.Name)}
	if err := target.Check(); err != nil {
		return target, usagef(c, "--%s: %v", deviceFlag.Name, err)
	}
	text := c.String(gpuMemoryFlag.Name)
	if text == memoryGrowth {
		return target, nil
	}
	share, err := strconv.ParseFloat(text, 64)
	if target.GPUMemory = share; err != nil || share == 0 || target.Check() != nil {
		return target, usagef(c, "--%s must be %s or a share such as 0.8, not %q", gpuMemoryFlag.Name, memoryGrowth, text)
	}
	return target, nil
}

func precisionOf(c *cli.Context, target tfgo.Target) (tfgo.Precision, error) {
	precision := tfgo.Precision(c.String(precisionFlag.Name))
	if precision != autoPrecision && !slices.Contains(tfgo.Precisions, precision) {
		return "", usagef(c, "--%s must be %s or one of %v, not %q", precisionFlag.Name, autoPrecision, tfgo.Precisions, precision)
	}
	if precision != autoPrecision && precision != tfgo.BFloat16 {
		return precision, nil
	}
	fastest, why := tfgo.FastestPrecision(target)
	switch {
	case precision == autoPrecision:
		note(c, "precision is %s: %s", fastest, why)
		return fastest, nil
	case fastest == tfgo.TF32:
		return "", usagef(c, "--%s %s is for CPUs, and a GPU computes: residual export --precision bfloat16 makes a model for both", precisionFlag.Name, precision)
	case fastest != precision:
		note(c, "bfloat16 is slower than %s here: %s", fastest, why)
	}
	return precision, nil
}

// openModel loads a model. Where TensorFlow is made for GPUs and uses none, it says why.
func openModel(c *cli.Context, info *savedmodel.Info, o savedmodel.Options) (*savedmodel.Model, error) {
	model, err := info.Open(o)
	if err != nil {
		return nil, err
	}
	if why := whyOnCPU(model, o.Target); why != "" {
		warn(c, "computing on the CPU: %s", why) // also with --quiet: somebody pays for a GPU
	}
	if o.Precision == tfgo.TF32 && !model.OnGPU() {
		warn(c, "%s is of GPUs: the CPU computes float32", tfgo.TF32)
	}
	return model, nil
}

// whyOnCPU is "" where a GPU computes, or nobody would expect one to.
func whyOnCPU(model *savedmodel.Model, target tfgo.Target) string {
	if !mayUseGPU(target) || model.OnGPU() {
		return ""
	}
	return tfgo.WhyNoGPU()
}

// mayUseGPU tells whether TensorFlow would use a GPU if there were one.
func mayUseGPU(target tfgo.Target) bool {
	built, err := tfgo.BuiltForGPUs()
	return err == nil && built && target.Device != tfgo.CPUDevice
}

package savedmodel_test

import (
	"flag"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Each step hands TensorFlow 200 KB of images: were they kept, 10,000 steps
// would take 2 GB. When all is well memory goes up and down by as much as 170 MB
// (docs/log.md): images that wait for the collector, and malloc's arenas, which
// take some thousand steps to fill. The bound lies between.
func TestMemoryIsFlatOver10000Steps(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 steps take a while")
	}
	model := open(t, modeltest.Dir(t, modeltest.Tiny))
	inputs := with(batch(t, 64, 32, 10), "learning_rate", tensor.Scalar(float32(1e-3)))
	const warmUp, steps = 6000, 10_000
	var before int
	for step := range warmUp + steps {
		if step == warmUp {
			before = modeltest.FootprintNow(t).ResidentKB
		}
		call(t, model, "train", inputs)
	}
	after := modeltest.FootprintNow(t).ResidentKB
	t.Logf("resident memory: %d MB before, %d MB after %d steps", before/1024, after/1024, steps)
	if grown := after - before; grown > 600*1024 {
		t.Errorf("resident memory grew by %d MB in %d steps, from %d MB", grown/1024, steps, before/1024)
	}
}

// A model that is closed leaves nothing: less than 10 kB of memory, no goroutine
// and no file. In a process of its own, whose malloc has one arena: another one
// that it makes at some time would look like a leak.
func TestLoadsLeaveNothing(t *testing.T) {
	const arenas = "MALLOC_ARENA_MAX"
	if os.Getenv(arenas) != "1" {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLoadsLeaveNothing$", "-test.v", "-loads", strconv.Itoa(*loads))
		command.Env = append(os.Environ(), arenas+"=1")
		output, err := command.CombinedOutput()
		if t.Logf("%s", output); err != nil {
			t.Error(err)
		}
		return
	}
	const warmUp = 100
	var before, after modeltest.Footprint
	for i := range warmUp + *loads + 1 {
		if i == warmUp {
			before = modeltest.FootprintNow(t)
		}
		model, err := savedmodel.Open(modeltest.Dir(t, modeltest.Tiny), savedmodel.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := model.Close(); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			after = modeltest.FootprintNow(t)
			t.Logf("after %d loads: %+v", i, after)
		}
	}
	perLoad := float64(after.ResidentKB-before.ResidentKB) / float64(*loads)
	t.Logf("%.1f kB a load", perLoad)
	if perLoad > 10 || after.Goroutines > before.Goroutines || after.Descriptors > before.Descriptors {
		t.Errorf("%.1f kB a load; before %+v, after %+v", perLoad, before, after)
	}
}

var loads = flag.Int("loads", 200, "how many loads TestLoadsLeaveNothing counts, beside the first 100")

package savedmodel_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

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
			before = residentKB(t)
		}
		call(t, model, "train", inputs)
	}
	after := residentKB(t)
	t.Logf("resident memory: %d MB before, %d MB after %d steps", before/1024, after/1024, steps)
	if grown := after - before; grown > 600*1024 {
		t.Errorf("resident memory grew by %d MB in %d steps, from %d MB", grown/1024, steps, before/1024)
	}
}

// residentKB is VmRSS of /proc/self/status.
func residentKB(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("there is no /proc here")
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb
}

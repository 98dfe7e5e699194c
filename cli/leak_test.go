package cli_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

var leakSteps = flag.Int("leak-steps", 6000, "how many steps TestALongRunLeavesNothing takes")

// A run with all logs and many checkpoints, in this process: memory is flat, and
// when it is over no goroutine and no file is left. The curve keeps 24 bytes a
// step.
func TestALongRunLeavesNothing(t *testing.T) {
	const batches = 1000
	args := func(steps int) []string {
		return []string{"train", "--model", modeltest.Dir(t, modeltest.Tiny), "--data", "synthetic", "--limit", fmt.Sprint(batches),
			"--batch-size", "1", "--epochs", fmt.Sprint(max(1, steps/batches)), "--log", "tensorboard,wandb", "--checkpoint-every", "500",
			"--out", filepath.Join(t.TempDir(), "run"), "--quiet"}
	}
	must(t, args(batches)...) // TensorFlow's threads and pools stay
	before := modeltest.FootprintNow(t)
	done := make(chan outcome)
	go func() { done <- run(args(*leakSteps)...) }()
	var curve []int
	for ticks := time.NewTicker(time.Second); ; {
		select {
		case <-ticks.C:
			curve = append(curve, modeltest.FootprintNow(t).ResidentKB/1024)
			continue
		case o := <-done:
			ticks.Stop()
			if o.code != 0 {
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
		}
		break
	}
	after := modeltest.FootprintNow(t)
	t.Logf("%d steps; before %+v, after %+v; resident MB each second: %v", *leakSteps, before, after, curve)
	if after.Goroutines > before.Goroutines || after.Descriptors > before.Descriptors {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if grown := after.ResidentKB - before.ResidentKB; grown > 100<<10 {
		t.Errorf("memory grew by %d MB", grown>>10)
	}
}

package tfgo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
)

func TestMeasurePeak(t *testing.T) {
	modeltest.Dir(t, modeltest.Foreign)
	for _, precision := range tfgo.Precisions {
		peak, err := tfgo.MeasurePeak(t.Context(), tfgo.Options{Precision: precision}, 1)
		// Machines differ, but none is slower than a billion or faster than 1e16.
		if err != nil || peak.FLOPS < 1e9 || peak.FLOPS > 1e16 || peak.Side < 1024 {
			t.Errorf("%s: MeasurePeak = %+v, %v", precision, peak, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tfgo.MeasurePeak(ctx, tfgo.Options{}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("of a cancelled context: %v", err)
	}
}

// Go's CPU profiler must not interrupt TensorFlow's threads. They are named tf_…;
// those of TensorFlow 2.18 have the program's name, as Go's own have, so that there it
// can only be seen that some threads are protected.
func TestTheProfilersSignalIsKeptFromTensorFlow(t *testing.T) {
	session := open(t, modeltest.Foreign, tfgo.Options{})
	x := numbers(t, []float32{1, 2, 3, 4}, 1, 4)
	if _, err := session.Run(t.Context(), tfgo.Feeds{foreignInput: x}, []string{foreignOutput}, nil); err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(threads) == 0 {
		t.Skip("there is no /proc here")
	}
	found := 0
	for _, thread := range threads {
		name, nameErr := os.ReadFile(filepath.Join(thread, "comm"))
		status, statusErr := os.ReadFile(filepath.Join(thread, "status"))
		if nameErr != nil || statusErr != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(status), "SigBlk:")
		blocked, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
		const sigprof = 27
		switch protected := err == nil && blocked>>(sigprof-1)&1 == 1; {
		case protected:
			found++
		case strings.HasPrefix(string(name), "tf_"):
			t.Errorf("%s blocks %x, %v: not SIGPROF", strings.TrimSpace(string(name)), blocked, err)
		}
	}
	if found == 0 {
		t.Error("no thread is protected")
	}
}

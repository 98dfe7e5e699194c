package callback

import (
	"context"
	"encoding/csv"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/residual-go/residual/pipeline"
)

func readFile(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCSVWritesSteps(t *testing.T) {
	dir := t.TempDir()
	c := &CSV{Dir: dir}
	s := script{epochs: 2, batches: 3, batchSize: 64, testBatches: 2, step: 1500 * time.Millisecond, testStep: time.Second}
	if err := s.play(c, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	golden(t, "steps.csv", readFile(t, dir, "steps.csv"))
	golden(t, "metrics.csv", readFile(t, dir, "metrics.csv"))
}

func TestCSVLeavesTestColumnsEmptyWithoutTest(t *testing.T) {
	dir := t.TempDir()
	c := &CSV{Dir: dir}
	s := script{epochs: 2, batches: 3, batchSize: 64, step: 1500 * time.Millisecond}
	if err := s.play(c, nil); err != nil {
		t.Fatal(err)
	}
	_ = c.Close(nil)
	golden(t, "metrics-no-test.csv", readFile(t, dir, "metrics.csv"))
}

// Programs rely on these names in this order.
func TestCSVColumns(t *testing.T) {
	dir := t.TempDir()
	c := &CSV{Dir: dir}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	defer c.Close(nil)
	for name, want := range map[string]string{
		"steps.csv":   "step,epoch,loss,accuracy,learning_rate,images_per_second\n",
		"metrics.csv": "epoch,step,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n",
	} {
		if got := string(readFile(t, dir, name)); got != want {
			t.Errorf("%s begins with %q, want %q", name, got, want)
		}
	}
}

func TestCSVHasEachRowAfterItsEvent(t *testing.T) {
	dir := t.TempDir()
	c := &CSV{Dir: dir}
	defer c.Close(nil)
	steps, epochs := 0, 0
	s := script{epochs: 3, batches: 4, batchSize: 8, testBatches: 2, step: time.Millisecond}
	s.onEvent = func(e pipeline.Event) {
		switch e.(type) {
		case pipeline.Step:
			steps++
		case pipeline.Epoch:
			epochs++
		}
		if got := strings.Count(string(readFile(t, dir, "steps.csv")), "\n"); got != 1+steps {
			t.Errorf("steps.csv has %d lines after %d steps", got, steps)
		}
		if got := strings.Count(string(readFile(t, dir, "metrics.csv")), "\n"); got != 1+epochs {
			t.Errorf("metrics.csv has %d lines after %d epochs", got, epochs)
		}
	}
	if err := s.play(c, nil); err != nil {
		t.Fatal(err)
	}
}

func TestCSVGivesEachFloat32Back(t *testing.T) {
	dir := t.TempDir()
	c := &CSV{Dir: dir}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	rng := rand.New(rand.NewPCG(1, 2))
	var want []float32
	for range 2000 {
		x := math.Float32frombits(rng.Uint32())
		if x != x || math.IsInf(float64(x), 0) {
			continue
		}
		want = append(want, x)
		if err := c.Handle(context.Background(), pipeline.Step{Loss: float64(x)}); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close(nil)
	rows, err := csv.NewReader(strings.NewReader(string(readFile(t, dir, "steps.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows[1:] {
		if got, err := strconv.ParseFloat(row[2], 32); err != nil || float32(got) != want[i] {
			t.Fatalf("%q is %g, %v; want %g", row[2], got, err, want[i])
		}
	}
}

func TestCSVOfAStepThatTookNoTime(t *testing.T) {
	dir := t.TempDir()
	c := &CSV{Dir: dir}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	if err := c.Handle(context.Background(), pipeline.Step{Number: 1, Epoch: 1, Examples: 8, Loss: 2.5}); err != nil {
		t.Fatal(err)
	}
	_ = c.Close(nil)
	if got, want := strings.Split(string(readFile(t, dir, "steps.csv")), "\n")[1], "1,1,2.5,0,0,0"; got != want {
		t.Errorf("row is %q, want %q", got, want)
	}
}

func TestCSVDoesNotOverwrite(t *testing.T) {
	for _, name := range []string{"steps.csv", "metrics.csv"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("the results of last week\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		c := &CSV{Dir: dir}
		err := c.Handle(context.Background(), pipeline.Begin{})
		if !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("Handle = %v, want one that says that %s exists", err, path)
		}
		if err := c.Close(err); err != nil {
			t.Errorf("Close = %v", err)
		}
		if got := string(readFile(t, path)); got != "the results of last week\n" {
			t.Errorf("%s was overwritten with %q", name, got)
		}
	}
}

// A run whose tables could not be written goes on in them when it is resumed.
func TestCSVWithoutAState(t *testing.T) {
	for _, test := range []struct {
		steps, metrics         string
		wantSteps, wantMetrics []string // the first fields
	}{
		{"step,epoch\n1,1\n2,1\n3,1\n", "epoch,step\n1,3\n", []string{"step", "1", "2", "3", "5"}, []string{"epoch", "1", "2"}},
		{"step,epoch\n1,1\n4,2\n5,2\n6,2\n", "epoch,step\n1,3\n2,6\n", []string{"step", "1", "4", "5"}, []string{"epoch", "1", "2"}},
		{"step,epoch\n1,1\n2,", "epo", []string{"step", "1", "5"}, []string{"epoch", "2"}},
	} {
		dir := t.TempDir()
		steps, metrics := filepath.Join(dir, "steps.csv"), filepath.Join(dir, "metrics.csv")
		if err := errors.Join(os.WriteFile(steps, []byte(test.steps), 0o644), os.WriteFile(metrics, []byte(test.metrics), 0o644)); err != nil {
			t.Fatal(err)
		}
		c := &CSV{Dir: dir}
		for _, event := range []pipeline.Event{
			pipeline.Begin{Epochs: 2, Step: 4, Epoch: 2, Batches: 3}, pipeline.Step{Number: 5, Epoch: 2}, pipeline.Epoch{Number: 2, Step: 6},
		} {
			if err := c.Handle(context.Background(), event); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(nil); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string][]string{steps: test.wantSteps, metrics: test.wantMetrics} {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(data)) {
				first, _, _ := strings.Cut(line, ",")
				got = append(got, first)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", filepath.Base(path), diff)
			}
		}
	}
}

func TestCSVMakesItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "one")
	c := &CSV{Dir: dir}
	if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
}

func TestCSVInTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	c := &CSV{}
	if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
		t.Fatal(err)
	}
	_ = c.Close(nil)
	if _, err := os.Stat("steps.csv"); err != nil {
		t.Error(err)
	}
}

func TestCSVNamesTheFileThatItCannotWrite(t *testing.T) {
	t.Run("a file stands in the folder's place", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "occupied")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		err := (&CSV{Dir: path}).Handle(context.Background(), pipeline.Begin{})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Handle = %v, want an error that names %s", err, path)
		}
	})
	t.Run("a folder stands in the file's place", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "metrics.csv")
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		c := &CSV{Dir: dir}
		err := c.Handle(context.Background(), pipeline.Begin{})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Handle = %v, want an error that names %s", err, path)
		}
		if err := c.Close(err); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	t.Run("the folder is read-only", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("root may write anywhere")
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		err := (&CSV{Dir: dir}).Handle(context.Background(), pipeline.Begin{})
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), filepath.Join(dir, "steps.csv")) {
			t.Errorf("Handle = %v", err)
		}
	})
}

func TestCSVEndsTheRunWhenTheDiskIsFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	for name, event := range map[string]pipeline.Event{"steps": pipeline.Step{}, "metrics": pipeline.Epoch{}} {
		c := &CSV{steps: &table{journal: &journal{file: full}}, metrics: &table{journal: &journal{file: full}}}
		err := c.Handle(context.Background(), event)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "/dev/full") {
			t.Errorf("%s: Handle = %v, want one that says that /dev/full is full", name, err)
		}
	}
	if err := (&CSV{steps: &table{journal: &journal{file: full}}}).Close(nil); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := (&CSV{steps: &table{journal: &journal{file: full}}}).Close(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close of a file that cannot be closed = %v", err)
	}
}

func TestCSVCloseWithoutEvents(t *testing.T) {
	dir := t.TempDir()
	if err := (&CSV{Dir: dir}).Close(errors.New("there are no examples")); err != nil {
		t.Errorf("Close = %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("Close made %v", entries)
	}
}

func BenchmarkCSVStep(b *testing.B) {
	c := &CSV{Dir: b.TempDir()}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	defer c.Close(nil)
	benchmarkStep(b, c)
}

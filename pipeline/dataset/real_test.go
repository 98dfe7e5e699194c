package dataset

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// unpackReal unpacks the first images of each class of the real CIFAR-10 that
// may stand beside the checkout, or skips the test. It leaves the work to tar,
// since under the race detector Go takes ten seconds for it.
func unpackReal(t *testing.T, train, test int) string {
	t.Helper()
	archive := filepath.Join("..", "..", "..", "shared", "data", "cifar10-jpeg.tar.gz")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("no real images: %v", err)
	}
	dir := t.TempDir()
	args := []string{"-xzf", archive, "-C", dir}
	for _, class := range cifarClasses {
		for i := range train {
			args = append(args, fmt.Sprintf("train/%s/%04d.jpg", class, i))
		}
		for i := range test {
			args = append(args, fmt.Sprintf("test/%s/%04d.jpg", class, i))
		}
	}
	if out, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return dir
}

func TestRealImages(t *testing.T) {
	dir := unpackReal(t, 40, 10)
	data, err := Open(t.Context(), dir, Options{Classes: cifarClasses, Shape: cifarShape, Limit: 305})
	if err != nil {
		t.Fatal(err)
	}
	if data.Train.Len() != 305 || data.Test.Len() != 100 || len(data.Ignored) != 0 {
		t.Errorf("%d train and %d test images, ignored %q", data.Train.Len(), data.Test.Len(), data.Ignored)
	}
	for i := range data.Train.Len() {
		class := filepath.Base(filepath.Dir(data.Train.Name(i)))
		if got := data.Train.Classes()[data.Train.Label(i)]; got != class {
			t.Fatalf("%s is labelled %q", data.Train.Name(i), got)
		}
	}
	var sum, n int
	for _, batch := range mustCollect(t, data.Train, BatchOptions{Size: 32, Seed: 1}) {
		for _, v := range batch.Images.Bytes() {
			sum += int(v)
			n++
		}
	}
	// CIFAR-10's mean is 120.7.
	if mean := float64(sum) / float64(n); n != 305*3072 || mean < 100 || mean > 140 {
		t.Errorf("%d bytes with mean %.1f", n, mean)
	}
}

package dataset

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unpackReal unpacks the first images of each class of ../shared's real
// CIFAR-10 beside the checkout, or skips the test.
func unpackReal(t *testing.T, train, test string) string {
	t.Helper()
	archive := filepath.Join("..", "..", "..", "shared", "data", "cifar10-jpeg.tar.gz")
	f, err := os.Open(archive)
	if err != nil {
		t.Skipf("no real images: %v", err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for members := tar.NewReader(unzipped); ; {
		member, err := members.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		last := train
		if strings.HasPrefix(member.Name, "test/") {
			last = test
		}
		if member.Typeflag != tar.TypeReg || filepath.Base(member.Name) >= last {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(member.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), writeSynced(path, members)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRealImages(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks 18 MB")
	}
	dir := unpackReal(t, "0040.jpg", "0010.jpg")
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

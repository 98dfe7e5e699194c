package imagefile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// read is one image as Pillow reads it.
type read struct {
	Path, RGB     string
	Width, Height int
	Fits          []struct {
		Width, Height int
		File          string
	}
}

// pillow runs testdata/pillow.py in the checkout's Python environment, on the
// images, or on some that it draws.
func pillow(t *testing.T, images ...string) []read {
	t.Helper()
	python := filepath.Join(checkout(t), ".venv", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Skipf("no Python environment to compare with: %v (make build makes it)", err)
	}
	if err := exec.Command(python, "-c", "import PIL, numpy").Run(); err != nil {
		t.Skipf("no Pillow in %s: %v", python, err)
	}
	var stderr bytes.Buffer
	command := exec.Command(python, append([]string{"testdata/pillow.py", t.TempDir()}, images...)...)
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("testdata/pillow.py: %v\n%s", err, &stderr)
	}
	var listed []read
	if err := json.Unmarshal(out, &listed); err != nil {
		t.Fatal(err)
	}
	return listed
}

// checkout is the folder of go.mod.
func checkout(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatal("no go.mod above the test's folder")
	return ""
}

// difference of two images in levels.
type difference struct {
	largest, sum, count int
}

func (d *difference) add(a, b []byte) {
	for i := range a {
		diff := max(int(a[i])-int(b[i]), int(b[i])-int(a[i]))
		d.largest = max(d.largest, diff)
		d.sum += diff
	}
	d.count += len(a)
}

func (d *difference) mean() float64 { return float64(d.sum) / float64(d.count) }

func (d *difference) String() string {
	return fmt.Sprintf("at most %d levels, mean %.4f over %d values", d.largest, d.mean(), d.count)
}

func rgb(t *testing.T, img *image.NRGBA) []byte {
	t.Helper()
	shape := imagefile.Shape{Height: img.Rect.Dy(), Width: img.Rect.Dx(), Channels: 3}
	pixels := make([]byte, shape.Size())
	if err := imagefile.Fit(img, shape, pixels); err != nil {
		t.Fatal(err)
	}
	return pixels
}

// compare returns how far a file that Read decodes is from Pillow's.
func compare(t *testing.T, want read) *difference {
	t.Helper()
	img, err := imagefile.Read(want.Path)
	if err != nil {
		t.Fatal(err)
	}
	if img.Rect != image.Rect(0, 0, want.Width, want.Height) {
		t.Fatalf("%s: read as %v, Pillow as %dx%d", want.Path, img.Rect, want.Width, want.Height)
	}
	bytes, err := os.ReadFile(want.RGB)
	if err != nil {
		t.Fatal(err)
	}
	var d difference
	d.add(rgb(t, img), bytes)
	return &d
}

func TestDecodesAsPillow(t *testing.T) {
	all := map[string]*difference{}
	var order []string
	for _, want := range pillow(t) {
		d := compare(t, want)
		name := filepath.Base(want.Path)
		switch {
		case filepath.Ext(name) == ".png" && d.largest > 0:
			t.Errorf("%s: %v, want no difference", name, d)
		case d.largest > 4 || d.mean() > 0.1 && d.count > 500:
			t.Errorf("%s: %v, want at most 4 levels, mean at most 0.1", name, d)
		}
		group := name[strings.Index(name, "-")+1:]
		if all[group] == nil {
			all[group] = &difference{}
			order = append(order, group)
		}
		sum := all[group]
		sum.largest, sum.sum, sum.count = max(sum.largest, d.largest), sum.sum+d.sum, sum.count+d.count
	}
	for _, group := range order {
		t.Logf("%-24s %v", group, all[group])
	}
}

func TestDecodesRealImagesAsPillow(t *testing.T) {
	archive := filepath.Join(checkout(t), "..", "shared", "data", "cifar10-jpeg.tar.gz")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("no real images to compare with: %v", err)
	}
	images := unpackSome(t, archive)
	var sum difference
	for _, want := range pillow(t, images...) {
		d := compare(t, want)
		if d.largest > 4 {
			t.Errorf("%s: %v, want at most 4 levels", want.Path, d)
		}
		sum.largest, sum.sum, sum.count = max(sum.largest, d.largest), sum.sum+d.sum, sum.count+d.count
	}
	if sum.mean() > 0.1 || sum.count != len(images)*32*32*3 {
		t.Errorf("%d images: %v, want a mean of at most 0.1", len(images), &sum)
	}
	t.Logf("%d images: %v", len(images), &sum)
}

// unpackSome unpacks 50 images of each class, by tar since under the race
// detector Go takes ten seconds for it.
func unpackSome(t *testing.T, archive string) []string {
	t.Helper()
	dir := t.TempDir()
	var names, paths []string
	for _, class := range strings.Fields("airplane automobile bird cat deer dog frog horse ship truck") {
		for i := range 50 {
			name := fmt.Sprintf("test/%s/%04d.jpg", class, i)
			names, paths = append(names, name), append(paths, filepath.Join(dir, filepath.FromSlash(name)))
		}
	}
	args := append([]string{"-xzf", archive, "-C", dir}, names...)
	if out, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return paths
}

func TestFitsAsPillow(t *testing.T) {
	var sum difference
	for _, want := range pillow(t) {
		for _, fit := range want.Fits {
			img, err := imagefile.Read(want.Path)
			if err != nil {
				t.Fatal(err)
			}
			bytes, err := os.ReadFile(fit.File)
			if err != nil {
				t.Fatal(err)
			}
			shape := imagefile.Shape{Height: fit.Height, Width: fit.Width, Channels: 3}
			pixels := make([]byte, shape.Size())
			if err := imagefile.Fit(img, shape, pixels); err != nil {
				t.Fatal(err)
			}
			var d difference
			d.add(pixels, bytes)
			if d.largest > 2 || d.mean() > 0.25 { // halves are rounded differently
				t.Errorf("%s to %s: %v, want at most 2 levels, mean at most 0.25", filepath.Base(want.Path), shape, &d)
			}
			sum.add(pixels, bytes)
		}
	}
	if sum.count == 0 {
		t.Fatal("nothing was compared")
	}
	t.Logf("resized: %v", &sum)
}

package dataset

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// No test of this package may leave a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	small    = imagefile.Shape{Height: 2, Width: 3, Channels: 3}
	catsDogs = []string{"cat", "dog"}
)

// plain is an image of one value; its error is what reading it gives.
type plain struct {
	value byte
	err   error
}

func (p plain) check() error     { return nil }
func (p plain) identity() string { return fmt.Sprint(p.value) }
func (p plain) read(_ imagefile.Shape, pixels []byte) error {
	for i := range pixels {
		pixels[i] = p.value
	}
	return p.err
}

// plainExamples are n images, image i of value i and label i%2.
func plainExamples(n int) *Examples {
	all := make([]example, n)
	for i := range all {
		all[i] = example{name: fmt.Sprintf("image %d", i), label: i % 2, image: plain{value: byte(i)}}
	}
	return newExamples(all, Options{Classes: catsDogs, Shape: small})
}

// filled is a picture of one colour.
func filled(width, height int, c color.Color) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, c)
		}
	}
	return img
}

func pngOf(value byte) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, filled(3, 2, color.NRGBA{value, value, value, 255})); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func jpegOf(value byte) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, filled(3, 2, color.NRGBA{value, value, value, 255}), &jpeg.Options{Quality: 100}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// writeTree writes files into a temporary folder; a nil file is a folder.
func writeTree(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		folder := filepath.Dir(path)
		if data == nil {
			folder = path
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if data == nil {
			continue
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wantError fails unless err holds every one of the parts.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// names and labels of a split.
func contents(e *Examples) []string {
	var all []string
	for i := range e.Len() {
		all = append(all, fmt.Sprintf("%s=%d", filepath.Base(e.Name(i)), e.Label(i)))
	}
	return all
}

func pixelsOf(t *testing.T, e *Examples, i int) []byte {
	t.Helper()
	pixels := make([]byte, e.Shape().Size())
	if err := e.Read(i, pixels); err != nil {
		t.Fatal(err)
	}
	return pixels
}

func values[T tensor.Element](t *testing.T, of tensor.Tensor) []T {
	t.Helper()
	v, err := tensor.Values[T](of)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(v)
}

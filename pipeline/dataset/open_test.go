package dataset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

func TestOpenChecksItsOptions(t *testing.T) {
	good := Options{Classes: catsDogs, Shape: small}
	for _, test := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no classes", func(o *Options) { o.Classes = nil }, "class names are not known"},
		{"a class twice", func(o *Options) { o.Classes = []string{"cat", "cat"} }, `class name "cat" is empty or twice`},
		{"a class without name", func(o *Options) { o.Classes = []string{"cat", ""} }, `class name "" is empty or twice`},
		{"no shape", func(o *Options) { o.Shape = imagefile.Shape{} }, "image shape 0x0x0"},
		{"a grey shape", func(o *Options) { o.Shape.Channels = 1 }, "1 channels are not supported"},
		{"a negative limit", func(o *Options) { o.Limit = -5 }, "limit -5 is negative"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := good
			test.change(&o)
			_, err := Open(t.Context(), Synthetic, o)
			wantError(t, err, `open dataset "synthetic": `, test.want)
		})
	}
}

func TestOpenSaysWhatItExpected(t *testing.T) {
	o := Options{Classes: catsDogs, Shape: small}
	dir := writeTree(t, map[string][]byte{"notes.txt": []byte("hello")})
	for _, test := range []struct {
		name, path string
		want       []string
	}{
		{"no name", "", []string{"it needs a name: cifar10, synthetic or a folder"}},
		{"no such folder", filepath.Join(dir, "cifar"), []string{"there is no such folder", "cifar10", "synthetic"}},
		{"a file", filepath.Join(dir, "notes.txt"), []string{"it is a file", "expected a folder"}},
		{"a folder of something else", dir, []string{`has no folder "train"`, "train/<class>/*.jpg", "data_batch_1.bin"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(t.Context(), test.path, o)
			wantError(t, err, test.want...)
		})
	}
}

func TestSplitsAreChosen(t *testing.T) {
	both := writeTree(t, map[string][]byte{
		"train/cat/1.png": pngOf(1), "train/dog/1.png": pngOf(2), "test/cat/1.png": pngOf(3), "test/dog/1.png": pngOf(4)})
	noTest := writeTree(t, map[string][]byte{"train/cat/1.png": pngOf(1), "train/dog/1.png": pngOf(2)})
	noTrain := writeTree(t, map[string][]byte{"test/cat/1.png": pngOf(1), "test/dog/1.png": pngOf(2)})
	for _, test := range []struct {
		name        string
		dir         string
		splits      Splits
		train, test bool
		want        string
	}{
		{"both", both, TrainAndTest, true, true, ""},
		{"train of both", both, OnlyTrain, true, false, ""},
		{"test of both", both, OnlyTest, false, true, ""},
		{"no test", noTest, TrainAndTest, true, false, ""},
		{"no test, which is needed", noTest, OnlyTest, false, false, `it has no test split: "` + noTest + `" has no folder "test"`},
		{"no train, which is not needed", noTrain, OnlyTest, false, true, ""},
		{"no train", noTrain, TrainAndTest, false, false, `has no folder "train"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			data, err := Open(t.Context(), test.dir, Options{Classes: catsDogs, Shape: small, Splits: test.splits})
			if test.want != "" {
				wantError(t, err, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (data.Train != nil) != test.train || (data.Test != nil) != test.test {
				t.Errorf("train %v, test %v", data.Train != nil, data.Test != nil)
			}
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cifar := writeTree(t, map[string][]byte{"data_batch_1.bin": cifarRecords(0, 1)})
	folders := writeTree(t, map[string][]byte{"train/cat/1.png": pngOf(1), "train/dog/1.png": pngOf(2)})
	for name, o := range map[string]Options{
		Synthetic: {Classes: catsDogs, Shape: small},
		CIFAR10:   {Classes: cifarClasses, Shape: cifarShape, CacheDir: t.TempDir()},
		cifar:     {Classes: cifarClasses, Shape: cifarShape},
		folders:   {Classes: catsDogs, Shape: small},
	} {
		if _, err := Open(ctx, name, o); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want %v", name, err, context.Canceled)
		}
	}
}

// A split that does not fit into memory gives the same images.
func TestImagesAreTheSameInMemoryAndAtUse(t *testing.T) {
	shape := imagefile.Shape{Height: 16, Width: 24, Channels: 3}
	folders := writeTree(t, map[string][]byte{
		"train/cat/1.png": pngOf(1), "train/cat/2.jpg": jpegOf(99), "train/dog/1.png": pngOf(2), "train/dog/3.jpeg": jpegOf(200)})
	cifar := writeTree(t, map[string][]byte{"data_batch_1.bin": cifarRecords(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0)})
	for name, classes := range map[string][]string{Synthetic: {"a", "b", "c"}, folders: catsDogs, cifar: cifarClasses} {
		o := Options{Classes: classes, Shape: shape, Limit: 11, Splits: OnlyTrain}
		held, err := Open(t.Context(), name, o)
		if err != nil {
			t.Fatal(err)
		}
		o.MemoryBytes = -1
		lazy, err := Open(t.Context(), name, o)
		if err != nil {
			t.Fatal(err)
		}
		if held.Train.pixels == nil || lazy.Train.pixels != nil {
			t.Fatalf("%s: held %v, lazy %v", name, held.Train.pixels != nil, lazy.Train.pixels != nil)
		}
		for i := range held.Train.Len() {
			if !slices.Equal(pixelsOf(t, held.Train, i), pixelsOf(t, lazy.Train, i)) {
				t.Errorf("%s: image %d differs", name, i)
			}
		}
	}
}

func TestMemoryBytesIsTheLargestSplitThatIsHeld(t *testing.T) {
	for budget, want := range map[int64]bool{0: true, 18 * 10: true, 18*10 - 1: false, -1: false} {
		o := Options{Classes: catsDogs, Shape: small, Limit: 10, MemoryBytes: budget, Splits: OnlyTest}
		data, err := Open(t.Context(), Synthetic, o)
		if err != nil {
			t.Fatal(err)
		}
		if held := data.Test.pixels != nil; held != want {
			t.Errorf("10 images of 18 bytes within %d: held %v", budget, held)
		}
	}
}

func TestDamageIsFoundWhenItCanBe(t *testing.T) {
	photo := jpegOf(3)
	dir := writeTree(t, map[string][]byte{
		"train/cat/1.png": pngOf(1), "train/dog/1.png": pngOf(2),
		"train/dog/2.jpg": photo[:len(photo)-4], // the header is whole
		"train/dog/3.jpg": []byte("a text"),
	})
	bad := filepath.Join(dir, "train", "dog", "2.jpg")
	o := Options{Classes: catsDogs, Shape: small}
	_, err := Open(t.Context(), dir, o)
	wantError(t, err, "read image", bad, "cut short")

	o.MemoryBytes = -1
	_, err = Open(t.Context(), dir, o)
	wantError(t, err, "3.jpg", "not a JPEG or PNG")

	if err := os.Remove(filepath.Join(dir, "train", "dog", "3.jpg")); err != nil {
		t.Fatal(err)
	}
	data, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = collect(t.Context(), data.Train, BatchOptions{Size: 1})
	wantError(t, err, "read image", bad, "cut short")
}

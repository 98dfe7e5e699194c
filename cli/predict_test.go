package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

type predictOutcome struct {
	Images []struct {
		Path string `json:"path"`
		Top  []struct {
			Class       string  `json:"class"`
			Probability float64 `json:"probability"`
		} `json:"top"`
	} `json:"images"`
}

func (p predictOutcome) paths() []string {
	var paths []string
	for _, image := range p.Images {
		paths = append(paths, image.Path)
	}
	return paths
}

// atPictures makes the working directory one with images of odd names and
// sizes.
func atPictures(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "cat.jpg", jpegImage(t, 40, 30))
	write(t, "sub dir/größe <1> & \"2\".png", pngImage(t, 7, 90))
	write(t, "no extension", pngImage(t, 16, 16))
	write(t, "--json", pngImage(t, 16, 16))
	write(t, "-top", pngImage(t, 16, 16))
	write(t, "--", pngImage(t, 16, 16))
}

func TestPredictTakesFlagsAndFilesInAnyOrder(t *testing.T) {
	pets := modeltest.Dir(t, modeltest.Pets)
	small := modeltest.Dir(t, modeltest.Small)
	atPictures(t)
	for name, test := range map[string]struct {
		args  []string
		paths []string
		top   int
	}{
		"flags first":                {[]string{"--model", small, "--json", "cat.jpg"}, []string{"cat.jpg"}, 5},
		"flags last":                 {[]string{"cat.jpg", "--model", small, "--json"}, []string{"cat.jpg"}, 5},
		"flags between":              {[]string{"cat.jpg", "--model=" + small, "no extension", "--json", "--top", "1", "cat.jpg"}, []string{"cat.jpg", "no extension", "cat.jpg"}, 1},
		"one dash is enough":         {[]string{"cat.jpg", "-model", small, "-json", "-top=2"}, []string{"cat.jpg"}, 2},
		"top beyond the classes":     {[]string{"--model", small, "--json", "--top", "99", "cat.jpg"}, []string{"cat.jpg"}, 10},
		"default beyond the classes": {[]string{"--model", pets, "--json", "cat.jpg"}, []string{"cat.jpg"}, 2},
		"paths as given": {
			[]string{"--model", small, "--json", "./cat.jpg", "sub dir/../sub dir/größe <1> & \"2\".png"},
			[]string{"./cat.jpg", "sub dir/../sub dir/größe <1> & \"2\".png"}, 5,
		},
		"files named like flags": {[]string{"--json", "--model", small, "--", "--json", "-top", "--"}, []string{"--json", "-top", "--"}, 5},
		"files before two dashes": {
			[]string{"cat.jpg", "--json", "--model", small, "--", "--json"}, []string{"cat.jpg", "--json"}, 5,
		},
		"a file named like a flag, by its folder": {[]string{"--model", small, "./--json", "--json"}, []string{"./--json"}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			var got predictOutcome
			o := must(t, append([]string{"predict"}, test.args...)...)
			o.lastLine(t, &got)
			if diff := cmp.Diff(test.paths, got.paths()); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
			for _, image := range got.Images {
				if len(image.Top) != test.top {
					t.Errorf("%d classes for %s, want %d", len(image.Top), image.Path, test.top)
				}
				if !slices.IsSortedFunc(image.Top, func(a, b struct {
					Class       string  `json:"class"`
					Probability float64 `json:"probability"`
				}) int {
					if a.Probability < b.Probability {
						return 1
					}
					return 0
				}) {
					t.Errorf("the best is not first: %v", image.Top)
				}
			}
		})
	}
}

// More images than are asked about at once come back in their order.
func TestPredictManyImages(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	must(t, "data", "unpack", "--data", "synthetic", "--limit", "70", "--out", "images")
	paths, err := filepath.Glob("images/test/*/*.png")
	if err != nil || len(paths) != 70 {
		t.Fatalf("%d images were unpacked: %v", len(paths), err)
	}
	var together predictOutcome
	must(t, append([]string{"predict", "--json", "--model", small}, paths...)...).lastLine(t, &together)
	if diff := cmp.Diff(paths, together.paths()); diff != "" {
		t.Fatal(diff)
	}
	for _, i := range []int{0, 33, 69} {
		var alone predictOutcome
		must(t, "predict", "--json", "--model", small, paths[i]).lastLine(t, &alone)
		if alone.Images[0].Top[0].Class != together.Images[i].Top[0].Class {
			t.Errorf("%s is %v alone and %v among others", paths[i], alone.Images[0].Top, together.Images[i].Top)
		}
	}
}

func TestPredictPrintsATable(t *testing.T) {
	pets := modeltest.Dir(t, modeltest.Pets)
	atPictures(t)
	o := must(t, "predict", "--model", pets, "cat.jpg", "no extension")
	lines := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("two classes of two images are\n%s", o.stdout)
	}
	for i, start := range []string{"cat.jpg  ", "         ", "no extension  ", "         "} {
		if !strings.HasPrefix(lines[i], start) || !strings.HasSuffix(lines[i], " %") || len(lines[i]) != len(lines[0]) {
			t.Errorf("line %d is %q", i+1, lines[i])
		}
	}
	if o.stderr != "" {
		t.Errorf("standard error has %q", o.stderr)
	}
}

// An image is brought to the model's size by one rule: the same picture in
// another size, or in another format, stays the same thing.
func TestPredictTakesAnySize(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	for _, size := range [][2]int{{1, 1}, {32, 32}, {1, 500}, {700, 3}, {1024, 768}} {
		if err := os.WriteFile("image", pngImage(t, size[0], size[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		must(t, "predict", "--model", small, "image")
	}
}

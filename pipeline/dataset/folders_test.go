package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

func openFolders(t *testing.T, files map[string][]byte, o Options) (*Data, error) {
	t.Helper()
	o.Classes, o.Shape = catsDogs, small
	return Open(t.Context(), writeTree(t, files), o)
}

func TestClassFoldersAreReadInPathOrder(t *testing.T) {
	data, err := openFolders(t, map[string][]byte{
		"train/dog/b.png":         pngOf(3),
		"train/dog/a.jpg":         jpegOf(40),
		"train/cat/10.JPEG":       jpegOf(90),
		"train/cat/2.PNG":         pngOf(2),
		"train/cat/.hidden.png":   []byte("not looked at"),
		"train/.DS_Store":         []byte("not looked at"),
		"train/.cache/x.png":      pngOf(1),
		"train/cat/notes.txt":     []byte("ignored"),
		"train/labels.csv":        []byte("ignored"),
		"test/cat/only.png":       pngOf(7),
		"test/dog/only.png":       pngOf(8),
		"elsewhere/tiger/one.png": pngOf(9),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contents(data.Train), []string{"10.JPEG=0", "2.PNG=0", "a.jpg=1", "b.png=1"}; !slices.Equal(got, want) {
		t.Errorf("train has %v, want %v", got, want)
	}
	if got, want := contents(data.Test), []string{"only.png=0", "only.png=1"}; !slices.Equal(got, want) {
		t.Errorf("test has %v, want %v", got, want)
	}
	for i, want := range []byte{90, 2, 40, 3} {
		if got := pixelsOf(t, data.Train, i); got[0] != want || got[17] != want {
			t.Errorf("%s holds %v, want %d", data.Train.Name(i), got, want)
		}
	}
	var ignored []string
	for _, path := range data.Ignored {
		ignored = append(ignored, filepath.Base(path))
	}
	if want := []string{"labels.csv", "notes.txt"}; !slices.Equal(ignored, want) {
		t.Errorf("ignored %v, want %v", ignored, want)
	}
}

// The model's order of classes counts, not the alphabet's.
func TestLabelsAreFoundByName(t *testing.T) {
	dir := writeTree(t, map[string][]byte{"train/cat/1.png": pngOf(1), "train/dog/1.png": pngOf(2), "train/ant/1.png": pngOf(3)})
	data, err := Open(t.Context(), dir, Options{Classes: []string{"dog", "ant", "cat"}, Shape: small})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range data.Train.Len() {
		got = append(got, fmt.Sprintf("%s=%d", filepath.Base(filepath.Dir(data.Train.Name(i))), data.Train.Label(i)))
	}
	if want := []string{"ant=1", "cat=2", "dog=0"}; !slices.Equal(got, want) {
		t.Errorf("labels %v, want %v", got, want)
	}
	if got := data.Train.Classes(); !slices.Equal(got, []string{"dog", "ant", "cat"}) {
		t.Errorf("classes %v", got)
	}
}

func TestErrorsShowTheBeginningOfLongLists(t *testing.T) {
	names := make([]string, 20_000)
	for i := range names {
		names[i] = fmt.Sprintf("c%05d", i)
	}
	err := sameClasses("here", names[:19_999], names)
	wantError(t, err, `lacks the model's classes ["c19999"]`, `"c00019"] and 19979 more, the model has`, `"c00019"] and 19980 more`)
	if n := len(err.Error()); n > 1000 {
		t.Errorf("the error has %d letters", n)
	}
}

func TestClassFoldersThatDoNotFit(t *testing.T) {
	cat, dog := pngOf(1), pngOf(2)
	for _, test := range []struct {
		name  string
		files map[string][]byte
		want  []string
	}{
		{"a folder with nothing", map[string][]byte{"train": nil}, []string{"/train\" has no images", `["cat" "dog"]`}},
		{"only loose images", map[string][]byte{"train/1.png": cat}, []string{"/train\" has no images", "a folder for each class"}},
		{"a class missing", map[string][]byte{"train/cat/1.png": cat},
			[]string{`lacks the model's classes ["dog"]`, `it has ["cat"]`, `the model has ["cat" "dog"]`}},
		{"a class too many", map[string][]byte{"train/cat/1.png": cat, "train/dog/1.png": dog, "train/tiger/1.png": cat},
			[]string{`has classes ["tiger"], which the model has not`, `the model has ["cat" "dog"]`}},
		{"other classes", map[string][]byte{"train/Cat/1.png": cat, "train/dog/1.png": dog},
			[]string{`has classes ["Cat"]`, `lacks ["cat"]`, `it has ["Cat" "dog"]`, `the model has ["cat" "dog"]`}},
		{"a class without images", map[string][]byte{"train/cat/1.png": cat, "train/dog": nil},
			[]string{"/train\" has no images of class \"dog\""}},
		{"a class with only text", map[string][]byte{"train/cat/1.png": cat, "train/dog/1.txt": dog},
			[]string{"/train\" has no images of class \"dog\""}},
		{"a test class without images", map[string][]byte{
			"train/cat/1.png": cat, "train/dog/1.png": dog, "test/cat/1.png": cat, "test/dog": nil},
			[]string{"/test\" has no images of class \"dog\""}},
		{"a test class missing", map[string][]byte{"train/cat/1.png": cat, "train/dog/1.png": dog, "test/cat/1.png": cat},
			[]string{"/test\" lacks the model's classes"}},
		{"folders in a class", map[string][]byte{"train/cat/1.png": cat, "train/dog/puppies/1.png": dog},
			[]string{"/train/dog/puppies\" is a folder", "directly in the folder of their class"}},
		{"an image of another format", map[string][]byte{"train/cat/1.png": cat, "train/dog/1.WebP": dog},
			[]string{"/train/dog/1.WebP\" is a webp image: only JPEG and PNG are read"}},
		{"train is a file", map[string][]byte{"train": []byte("x")}, []string{"/train\" is a file, expected a folder"}},
		{"an empty image", map[string][]byte{"train/cat/1.png": cat, "train/dog/1.png": {}},
			[]string{`/train/dog/1.png": it is empty`}},
		{"a text file named .jpg", map[string][]byte{"train/cat/1.png": cat, "train/dog/1.jpg": []byte("woof")},
			[]string{`/train/dog/1.jpg": it is not a JPEG or PNG image: it begins with "woof"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := openFolders(t, test.files, Options{})
			wantError(t, err, test.want...)
		})
	}
}

func TestClassFoldersMayBeLinks(t *testing.T) {
	real := writeTree(t, map[string][]byte{"cats/1.png": pngOf(1), "rex.png": pngOf(2)})
	dir := writeTree(t, map[string][]byte{"train/dog": nil})
	for from, to := range map[string]string{"cats": "train/cat", "rex.png": "train/dog/rex.png"} {
		if err := os.Symlink(filepath.Join(real, from), filepath.Join(dir, to)); err != nil {
			t.Skip(err)
		}
	}
	data, err := Open(t.Context(), dir, Options{Classes: catsDogs, Shape: small})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contents(data.Train), []string{"1.png=0", "rex.png=1"}; !slices.Equal(got, want) {
		t.Errorf("train has %v, want %v", got, want)
	}
}

func TestImagesAreFittedToTheModel(t *testing.T) {
	dir := writeTree(t, map[string][]byte{"train/cat/1.png": pngOf(50), "train/dog/1.png": pngOf(60)})
	shape := imagefile.Shape{Height: 8, Width: 8, Channels: 3}
	data, err := Open(t.Context(), dir, Options{Classes: catsDogs, Shape: shape})
	if err != nil {
		t.Fatal(err)
	}
	if pixels := pixelsOf(t, data.Train, 1); len(pixels) != 192 || slices.Min(pixels) != 60 || slices.Max(pixels) != 60 {
		t.Errorf("%d bytes from %d to %d, want 192 of 60", len(pixels), slices.Min(pixels), slices.Max(pixels))
	}
}

func TestAFingerprintMovesWithItsFolder(t *testing.T) {
	files := map[string][]byte{"train/cat/1.png": pngOf(50), "train/dog/1.png": pngOf(60)}
	for _, budget := range []int64{0, -1} {
		first, err := openFolders(t, files, Options{MemoryBytes: budget})
		if err != nil {
			t.Fatal(err)
		}
		second, err := openFolders(t, files, Options{MemoryBytes: budget})
		if err != nil {
			t.Fatal(err)
		}
		if first.Train.Fingerprint() != second.Train.Fingerprint() {
			t.Errorf("memory %d: a copy of the folder has another fingerprint", budget)
		}
	}
}

package cli_test

import (
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

func TestDataUnpack(t *testing.T) {
	out := filepath.Join(t.TempDir(), "new", "images")
	o := must(t, "data", "unpack", "--data", "synthetic", "--limit", "20", "--out", out, "--json")
	needFields(t, o, "path", "examples.train", "examples.test")
	var want []string
	for _, split := range []string{"test", "train"} {
		for _, class := range []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"} {
			for i := range 2 {
				want = append(want, fmt.Sprintf("%s/%s/%04d.png", split, class, i+1))
			}
		}
	}
	if diff := cmp.Diff(want, files(t, out)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("others may not look into %v: %v", info.Mode(), err)
	}

	// PNG loses nothing: what is unpacked is the data itself.
	small := modeltest.Dir(t, modeltest.Small)
	var own, unpacked evaluateOutcome
	must(t, "evaluate", "--model", small, "--data", "synthetic", "--limit", "20", "--json").lastLine(t, &own)
	must(t, "evaluate", "--model", small, "--data", out, "--json").lastLine(t, &unpacked)
	if diff := cmp.Diff(own.Confusion, unpacked.Confusion); diff != "" {
		t.Error(diff)
	}
}

func TestDataPreview(t *testing.T) {
	pets := modeltest.Dir(t, modeltest.Pets)
	t.Chdir(t.TempDir())
	petFolders(t, "pets")
	for name, test := range map[string]struct {
		args []string
		file string
		says string
	}{
		"class folders":   {[]string{"--data", "pets"}, "preview.png", "4 training and 4 test images of 2 classes"},
		"named":           {[]string{"--data", "pets", "--out", "new/p.png"}, "new/p.png", "new/p.png"},
		"as a model sees": {[]string{"--data", "synthetic", "--model", pets, "--out", "s.png"}, "s.png", "5,000 training and 1,000 test images of 2 classes"},
	} {
		t.Run(name, func(t *testing.T) {
			o := must(t, append([]string{"data", "preview"}, test.args...)...)
			if !strings.Contains(o.stdout, test.says) {
				t.Errorf("it says %q", o.stdout)
			}
			file, err := os.Open(test.file)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := png.Decode(file); err != nil {
				t.Error(err)
			}
		})
	}
	if err := os.RemoveAll("pets/test"); err != nil {
		t.Fatal(err)
	}
	needFields(t, must(t, "data", "preview", "--data", "pets", "--json"), "picture", "examples.train", "classes")
}

func TestFilesThatAreNoImagesAreTold(t *testing.T) {
	pets := modeltest.Dir(t, modeltest.Pets)
	t.Chdir(t.TempDir())
	petFolders(t, "pets")
	write(t, "pets/test/cat/notes.txt", []byte("mine"))
	o := must(t, "evaluate", "--model", pets, "--data", "pets")
	if want := "ignored 1 file without a JPEG's or PNG's name, such as pets/test/cat/notes.txt\n"; !strings.HasPrefix(o.stderr, want) {
		t.Errorf("standard error is %q", o.stderr)
	}
	if o := must(t, "evaluate", "--model", pets, "--data", "pets", "--quiet"); o.stderr != "" {
		t.Errorf("--quiet printed %q", o.stderr)
	}
}

// A class's name becomes a folder's.
func TestUnpackStaysInItsFolder(t *testing.T) {
	for _, class := range []string{"../escaped", "a/b", ".hidden", ".."} {
		t.Chdir(t.TempDir())
		write(t, "cifar/batches.meta.txt", []byte(class+"\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"))
		var records []byte
		for label := range byte(10) {
			records = append(append(records, label), make([]byte, 3072)...)
		}
		write(t, "cifar/data_batch_1.bin", records)
		write(t, "cifar/test_batch.bin", records)
		before := files(t, ".")
		refused(t, run("data", "unpack", "--data", "cifar", "--out", "sub/images"), 1, "unpack data", fmt.Sprintf("%q", class))
		if after := files(t, "."); !slices.Equal(before, after) {
			t.Errorf("class %q left %v", class, after)
		}
	}
}

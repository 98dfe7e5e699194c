package dataset

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// cifarRecords makes one record a label. Red counts the pixels, green is the
// record's number, blue 255 minus red.
func cifarRecords(labels ...byte) []byte {
	var data []byte
	for number, label := range labels {
		record := make([]byte, cifarRecord)
		record[0] = label
		for i := range cifarPlane {
			record[1+i] = byte(i)
			record[1+cifarPlane+i] = byte(number)
			record[1+2*cifarPlane+i] = 255 - byte(i)
		}
		data = append(data, record...)
	}
	return data
}

func openCIFAR(t *testing.T, files map[string][]byte, o Options) (*Data, error) {
	t.Helper()
	if o.Classes == nil {
		o.Classes = cifarClasses
	}
	if o.Shape == (imagefile.Shape{}) {
		o.Shape = cifarShape
	}
	return Open(t.Context(), writeTree(t, files), o)
}

func TestCIFARPlanesBecomePixels(t *testing.T) {
	data, err := openCIFAR(t, map[string][]byte{"data_batch_1.bin": cifarRecords(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pixels := pixelsOf(t, data.Train, 4)
	for i := range cifarPlane {
		if want := []byte{byte(i), 4, 255 - byte(i)}; !bytes.Equal(pixels[3*i:][:3], want) {
			t.Fatalf("pixel %d is %v, want %v", i, pixels[3*i:][:3], want)
		}
	}
}

func TestCIFARFilesAreReadInOrder(t *testing.T) {
	all := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for name, folder := range map[string]string{"the folder itself": "", "the folder above": cifarFolder + "/"} {
		t.Run(name, func(t *testing.T) {
			data, err := openCIFAR(t, map[string][]byte{
				folder + "data_batch_5.bin": cifarRecords(9, 9),
				folder + "data_batch_2.bin": cifarRecords(all...),
				folder + "test_batch.bin":   cifarRecords(all...),
				folder + "readme.html":      []byte("not looked at"),
			}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if data.Train.Len() != 12 || data.Test.Len() != 10 {
				t.Errorf("%d train and %d test examples, want 12 and 10", data.Train.Len(), data.Test.Len())
			}
			if got := data.Train.Name(11); got != "data_batch_5.bin#1" || data.Train.Label(11) != 9 {
				t.Errorf("the last is %s of class %d", got, data.Train.Label(11))
			}
		})
	}
}

func TestCIFARLabelsAreFoundByName(t *testing.T) {
	reversed := slices.Clone(cifarClasses)
	slices.Reverse(reversed)
	records := cifarRecords(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	for _, test := range []struct {
		name  string
		model []string
		meta  string
		want  int // label of record 0
	}{
		{"the usual names", cifarClasses, "", 0},
		{"a model in another order", reversed, "", 9},
		{"names from the folder", reversed, strings.Join(reversed, "\r\n") + "\r\n\r\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string][]byte{"data_batch_1.bin": records}
			if test.meta != "" {
				files[cifarMeta] = []byte(test.meta)
			}
			data, err := openCIFAR(t, files, Options{Classes: test.model})
			if err != nil {
				t.Fatal(err)
			}
			if got := data.Train.Label(0); got != test.want {
				t.Errorf("record 0 has label %d, want %d", got, test.want)
			}
		})
	}
}

func TestBadCIFARFiles(t *testing.T) {
	good := cifarRecords(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	for _, test := range []struct {
		name  string
		files map[string][]byte
		o     Options
		want  []string
	}{
		{"a cut record", map[string][]byte{"data_batch_1.bin": good[:2*cifarRecord+100]}, Options{},
			[]string{"data_batch_1.bin", "record 2 is cut short: it has 100 of 3073 bytes"}},
		{"a byte too many", map[string][]byte{"data_batch_1.bin": append(good[:len(good):len(good)], 0)}, Options{},
			[]string{"record 10 is cut short: it has 1 of 3073 bytes"}},
		{"an empty file", map[string][]byte{"data_batch_1.bin": good, "data_batch_3.bin": {}}, Options{},
			[]string{"data_batch_3.bin", "it is empty"}},
		{"a label out of range", map[string][]byte{"data_batch_1.bin": good, "test_batch.bin": cifarRecords(3, 10)}, Options{},
			[]string{"test_batch.bin", "record 1 has label 10, expected 0 to 9"}},
		{"no train files", map[string][]byte{"test_batch.bin": good}, Options{},
			[]string{"has none of data_batch_1.bin to data_batch_5.bin"}},
		{"no test file", map[string][]byte{"data_batch_1.bin": good}, Options{Splits: OnlyTest},
			[]string{"it has no test split", "has no test_batch.bin"}},
		{"a class without images", map[string][]byte{"data_batch_1.bin": good[:9*cifarRecord]}, Options{},
			[]string{`has no images of class "truck"`}},
		{"a folder in a file's place", map[string][]byte{"data_batch_1.bin": nil}, Options{},
			[]string{"data_batch_1.bin", "is a directory"}},
		{"another model", map[string][]byte{"data_batch_1.bin": good}, Options{Classes: catsDogs},
			[]string{`CIFAR-10 has classes ["airplane"`, `the model has ["cat" "dog"]`}},
		{"too few names", map[string][]byte{"data_batch_1.bin": good, cifarMeta: []byte("cat\ndog\n")}, Options{},
			[]string{`CIFAR-10 lacks the model's classes ["airplane"`}},
		{"a name twice", map[string][]byte{"data_batch_1.bin": good, cifarMeta: []byte("cat\ndog\ncat\n")}, Options{Classes: catsDogs},
			[]string{cifarMeta, `"cat" twice`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := openCIFAR(t, test.files, test.o)
			wantError(t, err, test.want...)
		})
	}
}

func TestCIFARImagesAreFittedToTheModel(t *testing.T) {
	records := map[string][]byte{"data_batch_1.bin": cifarRecords(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)}
	shape := imagefile.Shape{Height: 64, Width: 64, Channels: 3}
	large, err := openCIFAR(t, records, Options{Shape: shape})
	if err != nil {
		t.Fatal(err)
	}
	own, err := openCIFAR(t, records, Options{})
	if err != nil {
		t.Fatal(err)
	}
	img, err := imagefile.ToImage(pixelsOf(t, own.Train, 3), cifarShape)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, shape.Size())
	if err := imagefile.Fit(img, shape, want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pixelsOf(t, large.Train, 3), want) {
		t.Error("the image is not what imagefile.Fit makes of it")
	}
}

func FuzzCIFAR10(f *testing.F) {
	f.Add(cifarRecords(0, 9))
	f.Add(cifarRecords(10))
	f.Add(cifarRecords(1)[:100])
	f.Add([]byte{})
	labels := pathOrder(10)
	f.Fuzz(func(t *testing.T, data []byte) {
		examples, err := parseCIFAR(bytes.NewReader(data), "x.bin", labels)
		if whole := len(data) > 0 && len(data)%cifarRecord == 0; err == nil && !whole {
			t.Errorf("%d bytes are %d examples", len(data), len(examples))
		}
		if err != nil {
			return
		}
		if len(examples) != len(data)/cifarRecord {
			t.Errorf("%d bytes are %d examples", len(data), len(examples))
		}
		pixels := make([]byte, cifarShape.Size())
		for i, example := range examples {
			if example.label != int(data[i*cifarRecord]) {
				t.Errorf("record %d has label %d, want %d", i, example.label, data[i*cifarRecord])
			}
			if err := example.image.read(cifarShape, pixels); err != nil {
				t.Error(err)
			}
		}
	})
}

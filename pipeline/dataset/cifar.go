package dataset

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// CIFAR-10's binary files hold nothing but records: a byte of label, then
// 32x32 pixels as a red, a green and a blue plane.
// https://www.cs.toronto.edu/~kriz/cifar.html
const (
	cifarPlane  = 32 * 32
	cifarRecord = 1 + 3*cifarPlane
	cifarFolder = "cifar-10-batches-bin"
	cifarMeta   = "batches.meta.txt"
)

var cifarShape = imagefile.Shape{Height: 32, Width: 32, Channels: 3}

// cifarClasses are the names in label order, for folders without cifarMeta.
var cifarClasses = []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}

var (
	cifarTrain = []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}
	cifarTest  = []string{"test_batch.bin"}
)

// cifarDir is a folder with some of CIFAR-10's binary files.
type cifarDir string

// findCIFAR looks in a folder and in the one that the archive unpacks to.
func findCIFAR(dir string) (cifarDir, bool) {
	for _, dir := range []string{dir, filepath.Join(dir, cifarFolder)} {
		for _, name := range slices.Concat(cifarTrain, cifarTest) {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return cifarDir(dir), true
			}
		}
	}
	return "", false
}

func (dir cifarDir) missing() string { return fmt.Sprintf("%q has no %s", string(dir), cifarTest[0]) }

// list reads those of the split's files that are there. They are kept as they
// are, 180 MB for all, until verify has brought them to the model's shape.
func (dir cifarDir) list(ctx context.Context, split string, o Options) (*listing, error) {
	labels, err := dir.labels(o.Classes)
	if err != nil {
		return nil, err
	}
	names := cifarTrain
	if split == "test" {
		names = cifarTest
	}
	all := &listing{where: fmt.Sprintf("%q", string(dir))}
	found := false
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		examples, err := readCIFAR(filepath.Join(string(dir), name), labels)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = true
		all.examples = append(all.examples, examples...)
	}
	switch {
	case found:
		return all, nil
	case split == "train":
		return nil, fmt.Errorf("%q has none of %s to %s", string(dir), cifarTrain[0], cifarTrain[len(cifarTrain)-1])
	default:
		return nil, nil
	}
}

// names returns the class names in the order of the files' labels.
func (dir cifarDir) names() ([]string, error) {
	names := cifarClasses
	path := filepath.Join(string(dir), cifarMeta)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		names = strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%q names the class %q twice", path, name)
		}
	}
	return slices.Clone(names), nil
}

// labels maps the files' labels to the model's, by name.
func (dir cifarDir) labels(model []string) ([]int, error) {
	names, err := dir.names()
	if err != nil {
		return nil, err
	}
	if err := sameClasses("CIFAR-10", names, model); err != nil {
		return nil, err
	}
	labels := make([]int, len(names))
	for i, name := range names {
		labels[i] = slices.Index(model, name)
	}
	return labels, nil
}

// readCIFAR reads one file of records.
func readCIFAR(path string, labels []int) ([]example, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	examples, err := parseCIFAR(bufio.NewReaderSize(f, 1<<20), filepath.Base(path), labels)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return examples, nil
}

func parseCIFAR(r io.Reader, name string, labels []int) ([]example, error) {
	var examples []example
	for i := 0; ; i++ {
		record := make([]byte, cifarRecord)
		switch n, err := io.ReadFull(r, record); {
		case err == io.EOF && i == 0:
			return nil, errors.New("it is empty")
		case err == io.EOF:
			return examples, nil
		case err == io.ErrUnexpectedEOF:
			return nil, fmt.Errorf("record %d is cut short: it has %d of %d bytes", i, n, cifarRecord)
		case err != nil:
			return nil, err
		}
		if int(record[0]) >= len(labels) {
			return nil, fmt.Errorf("record %d has label %d, expected 0 to %d", i, record[0], len(labels)-1)
		}
		examples = append(examples, example{
			name:  fmt.Sprintf("%s#%d", name, i),
			label: labels[record[0]],
			image: cifarImage(record[1:]),
		})
	}
}

// cifarImage is the three planes of one record.
type cifarImage []byte

func (cifarImage) check() error { return nil }

func (image cifarImage) identity() string { return string(image) }

func (image cifarImage) read(shape imagefile.Shape, pixels []byte) error {
	if shape == cifarShape {
		image.interleave(pixels)
		return nil
	}
	own := make([]byte, cifarShape.Size())
	image.interleave(own)
	img, err := imagefile.ToImage(own, cifarShape)
	if err != nil {
		return err
	}
	return imagefile.Fit(img, shape, pixels)
}

func (image cifarImage) interleave(pixels []byte) {
	for i := range cifarPlane {
		pixels[3*i] = image[i]
		pixels[3*i+1] = image[cifarPlane+i]
		pixels[3*i+2] = image[2*cifarPlane+i]
	}
}

package dataset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Examples is a split: labelled images of one shape, in path order.
type Examples struct {
	shape       imagefile.Shape
	classes     []string
	examples    []example
	pixels      []byte // of all images, nil where they are decoded at use
	fingerprint func() string
}

// example is one labelled image, wherever it comes from.
type example struct {
	name  string
	label int
	image picture
}

// picture draws or decodes one image.
type picture interface {
	// check looks at what can be seen without decoding.
	check() error
	// read fills pixels, which have the shape's size.
	read(shape imagefile.Shape, pixels []byte) error
	// identity is what tells the image from others while it is not decoded.
	identity() string
}

func newExamples(examples []example, o Options) *Examples {
	e := &Examples{shape: o.Shape, classes: slices.Clone(o.Classes), examples: examples}
	e.fingerprint = sync.OnceValue(e.sum)
	return e
}

// Len returns the number of examples; 0 for nil, which Data has in place of a
// split that is not there.
func (e *Examples) Len() int {
	if e == nil {
		return 0
	}
	return len(e.examples)
}

// Shape returns the shape of each image.
func (e *Examples) Shape() imagefile.Shape { return e.shape }

// Classes returns the model's class names in label order.
func (e *Examples) Classes() []string { return slices.Clone(e.classes) }

// Label returns the class of example i.
func (e *Examples) Label(i int) int { return e.examples[i].label }

// Name returns where example i is from: a path, or "data_batch_1.bin#17".
func (e *Examples) Name(i int) string { return e.examples[i].name }

// Read copies the image of example i, row-major RGB, into pixels, which must
// have the shape's size.
func (e *Examples) Read(i int, pixels []byte) error {
	size := e.shape.Size()
	if len(pixels) != size {
		return fmt.Errorf("read example %d: %s needs %d bytes, there is room for %d", i, e.shape, size, len(pixels))
	}
	if i < 0 || i >= e.Len() {
		return fmt.Errorf("read example %d: there are %d", i, e.Len())
	}
	if e.pixels != nil {
		copy(pixels, e.pixels[i*size:])
		return nil
	}
	return e.examples[i].image.read(e.shape, pixels)
}

// Size is how many bytes all images take.
func (e *Examples) Size() int64 { return int64(e.Len()) * int64(e.shape.Size()) }

// All returns all images, uint8 [N,H,W,C], and their labels, int64 [N], in path order.
// They must not be changed: images that are in memory are not copied.
func (e *Examples) All(ctx context.Context) (images, labels tensor.Tensor, err error) {
	if e.pixels == nil {
		batch, err := e.gather(ctx, pathOrder(e.Len()))
		return batch.Images, batch.Labels, err
	}
	all := make([]int64, e.Len())
	for i, example := range e.examples {
		all[i] = int64(example.label)
	}
	images, err = tensor.Of(e.pixels, e.Len(), e.shape.Height, e.shape.Width, e.shape.Channels)
	if err == nil {
		labels, err = tensor.Of(all, len(all))
	}
	return images, labels, err
}

// Fingerprint tells data apart: the SHA-256 of shape, classes, labels and
// pixels. Where images are decoded at use, their names and sizes stand for
// their pixels.
func (e *Examples) Fingerprint() string { return e.fingerprint() }

// Modified tells image files that are decoded at use from what they were before
// they were changed: Fingerprint does not look into them. It is the SHA-256 of their
// times of modification; "" where there are none.
func (e *Examples) Modified() string {
	hash, files := sha256.New(), 0
	for _, example := range e.examples {
		file, ok := example.image.(imageFile)
		if !ok {
			continue
		}
		files++
		if info, err := os.Stat(string(file)); err != nil {
			fmt.Fprintln(hash, err) // reading it will say so
		} else {
			fmt.Fprintln(hash, info.ModTime().UnixNano())
		}
	}
	if files == 0 {
		return ""
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func (e *Examples) sum() string {
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %q %d\n", e.shape, e.classes, e.Len())
	for _, example := range e.examples {
		_ = binary.Write(hash, binary.LittleEndian, int64(example.label))
	}
	if e.pixels != nil {
		hash.Write(e.pixels)
	} else {
		for _, example := range e.examples {
			io.WriteString(hash, example.image.identity()+"\n")
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// verify finds bad images before anyone trains on them: by decoding all of
// them if they fit into memory, else by their headers.
func (e *Examples) verify(ctx context.Context, split string, o Options) error {
	report := newReporter(o.Progress, Progress{Doing: "check " + split + " images", Unit: "images", Total: int64(e.Len())})
	if !e.fits(cmp.Or(o.MemoryBytes, defaultMemoryBytes)) {
		return forEach(ctx, e.Len(), func(i int) error {
			defer report.add(1)
			return e.examples[i].image.check()
		})
	}
	report.p.Doing = "read " + split + " images"
	size := e.shape.Size()
	pixels := make([]byte, e.Len()*size)
	err := forEach(ctx, e.Len(), func(i int) error {
		defer report.add(1)
		return e.Read(i, pixels[i*size:][:size])
	})
	if err != nil {
		return err
	}
	e.pixels = pixels
	for i := range e.examples {
		e.examples[i].image = nil // CIFAR-10's records would stay in memory twice
	}
	return nil
}

func (e *Examples) fits(budget int64) bool {
	return int64(e.Len()) <= budget/int64(e.shape.Size())
}

// listing is a split before Limit cuts it.
type listing struct {
	where    string // for errors
	examples []example
	ignored  []string
}

// check makes sure that every class has an example and every example a class.
func (l *listing) check(classes []string) error {
	counts := make([]int, len(classes))
	for _, example := range l.examples {
		if example.label < 0 || example.label >= len(classes) {
			return fmt.Errorf("%s: label %d is out of range, the model has %d classes", example.name, example.label, len(classes))
		}
		counts[example.label]++
	}
	if len(l.examples) == 0 {
		return fmt.Errorf("%s has no images", l.where)
	}
	for label, count := range counts {
		if count == 0 {
			return fmt.Errorf("%s has no images of class %q", l.where, classes[label])
		}
	}
	return nil
}

// limit takes one example from each class in turn until there are n, and
// returns them in the order they stood in.
func (l *listing) limit(n int) []example {
	if n == 0 || n >= len(l.examples) {
		return l.examples
	}
	type ticket struct{ turn, label, index int }
	tickets := make([]ticket, len(l.examples))
	turns := map[int]int{}
	for i, example := range l.examples {
		tickets[i] = ticket{turns[example.label], example.label, i}
		turns[example.label]++
	}
	slices.SortFunc(tickets, func(a, b ticket) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.label, b.label))
	})
	tickets = tickets[:n]
	slices.SortFunc(tickets, func(a, b ticket) int { return cmp.Compare(a.index, b.index) })
	chosen := make([]example, n)
	for i, ticket := range tickets {
		chosen[i] = l.examples[ticket.index]
	}
	return chosen
}

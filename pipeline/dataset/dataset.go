// Package dataset opens labelled images as batches of tensors.
//
// # Basics
//
// Open takes what a --data flag does: "cifar10", "synthetic", or a folder that
// holds CIFAR-10's binary files or class folders:
//
//	pets/train/cat/*.jpg   pets/test/cat/*.jpg
//	pets/train/dog/*.jpg   pets/test/dog/*.jpg
//
// It returns a train and a test split. Batches walks over one epoch of a split
// while images of the next batches are decoded beside the caller's work:
//
//	data, err := dataset.Open(ctx, "pets", dataset.Options{Classes: classes, Shape: shape})
//	for batch, err := range data.Train.Batches(ctx, dataset.BatchOptions{Size: 64, Seed: 1, Epoch: epoch}) {
//
// Images are uint8 [n,H,W,3], labels int64 [n]; a label is an index of the
// model's classes, found by the class's name.
//
// # Caveats
//
// An epoch's order is a pure function of (seed, epoch), so the epoch's number
// is an argument: the same number gives the same batches.
//
// Everything that Open can check it checks: names, headers, and every pixel of
// a split that fits into Options.MemoryBytes. Images of larger splits are
// decoded when a batch needs them, and a damaged one is an error of its batch.
//
// A batch that comes with an error holds nothing, and the error is the last
// thing a loop sees. A cancelled context is such an error: an epoch that was
// cut short never looks like one that ended.
package dataset

import (
	"context"
	"fmt"
	"os"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// The names that Open knows. A folder of that name is opened as "./cifar10".
const (
	CIFAR10   = "cifar10"
	Synthetic = "synthetic"
)

// Data is what Open found.
type Data struct {
	Name  string    // as given to Open
	Train *Examples // nil with OnlyTest
	Test  *Examples // nil where there is none, and with OnlyTrain
	// Ignored are files among the class folders that are no images.
	Ignored []string
}

// Splits chooses what Open reads.
type Splits int

// The choices. The zero value reads a test split if there is one; OnlyTest
// makes its absence an error.
const (
	TrainAndTest Splits = iota
	OnlyTrain
	OnlyTest
)

// Options say what Open looks for.
type Options struct {
	// Classes are the model's class names in label order. Required.
	Classes []string
	// Shape is what a model's images are brought to. Required.
	Shape imagefile.Shape
	// Splits chooses what is read; both by default.
	Splits Splits
	// Limit is the number of examples of a split, spread evenly over the
	// classes, the first ones in path order. 0 means all.
	Limit int
	// CacheDir holds the downloaded CIFAR-10; by default the folder
	// "residual" in the user's cache.
	CacheDir string
	// MemoryBytes is the largest split that is decoded when it is opened.
	// 0 means 1 GiB, less than 0 that images are always decoded at use.
	MemoryBytes int64
	// Progress, if set, hears how far Open is. Calls do not overlap.
	Progress func(Progress)
}

const defaultMemoryBytes = 1 << 30

// Open opens a dataset by its name or its folder.
func Open(ctx context.Context, name string, o Options) (*Data, error) {
	data, err := open(ctx, name, o)
	if err != nil {
		return nil, fmt.Errorf("open dataset %q: %w", name, err)
	}
	return data, nil
}

func open(ctx context.Context, name string, o Options) (*Data, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	data := &Data{Name: name}
	source, err := find(ctx, name, o)
	if err != nil {
		return nil, err
	}
	if o.Splits != OnlyTest {
		if data.Train, err = load(ctx, source, "train", o, data); err != nil {
			return nil, err
		}
	}
	if o.Splits != OnlyTrain {
		if data.Test, err = load(ctx, source, "test", o, data); err != nil {
			return nil, err
		}
	}
	if o.Splits == OnlyTest && data.Test == nil {
		return nil, fmt.Errorf("it has no test split: %s", source.missing())
	}
	return data, nil
}

// source is a place that splits come from.
type source interface {
	// list returns all examples of a split, checked as far as that is cheap.
	// It returns nil where there is no such split.
	list(ctx context.Context, split string, o Options) (*listing, error)
	// missing says what would make a test split.
	missing() string
}

// find chooses the source by the dataset's name.
func find(ctx context.Context, name string, o Options) (source, error) {
	switch name {
	case "":
		return nil, fmt.Errorf("it needs a name: %s, %s or a folder", CIFAR10, Synthetic)
	case Synthetic:
		return synthetic{}, nil
	case CIFAR10:
		dir, err := Download(ctx, o.CacheDir, o.Progress)
		return cifarDir(dir), err
	}
	info, err := os.Stat(name)
	switch {
	case os.IsNotExist(err):
		return nil, fmt.Errorf("there is no such folder, and it is not one of the names %s and %s", CIFAR10, Synthetic)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("it is a file: expected a folder with CIFAR-10's binary files or with class folders")
	}
	if dir, ok := findCIFAR(name); ok {
		return dir, nil
	}
	return classFolders(name), nil
}

// load turns a split's listing into Examples.
func load(ctx context.Context, from source, split string, o Options, data *Data) (*Examples, error) {
	all, err := from.list(ctx, split, o)
	if all == nil || err != nil {
		return nil, err
	}
	data.Ignored = append(data.Ignored, all.ignored...)
	if err := all.check(o.Classes); err != nil {
		return nil, err
	}
	e := newExamples(all.limit(o.Limit), o)
	if err := e.verify(ctx, split, o); err != nil {
		return nil, err
	}
	return e, nil
}

func (o Options) check() error {
	if len(o.Classes) == 0 {
		return fmt.Errorf("the model's class names are not known")
	}
	seen := map[string]bool{}
	for _, class := range o.Classes {
		if class == "" || seen[class] {
			return fmt.Errorf("class name %q is empty or twice among the model's classes", class)
		}
		seen[class] = true
	}
	if o.Limit < 0 {
		return fmt.Errorf("limit %d is negative", o.Limit)
	}
	return o.Shape.Check()
}

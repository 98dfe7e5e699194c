package dataset

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Classes returns the names that a dataset's own labels stand for, in the order
// of the labels: class folders sorted, CIFAR-10's as its authors count them.
// Synthetic has as many classes as the model, and CIFAR-10's names without one.
func Classes(name string) ([]string, error) {
	if name == CIFAR10 || name == Synthetic {
		return slices.Clone(cifarClasses), nil
	}
	if dir, ok := findCIFAR(name); ok {
		return dir.names()
	}
	classes, _, err := readFolder(filepath.Join(name, "train"))
	if err != nil {
		return nil, fmt.Errorf("find classes of %q: expected cifar10, synthetic, or a folder with CIFAR-10's binary files or train/<class>/: %w", name, err)
	}
	if len(classes) == 0 {
		return nil, fmt.Errorf("find classes of %q: its folder train has no class folders", name)
	}
	return classes, nil
}

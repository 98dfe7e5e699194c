package dataset

import (
	"slices"
	"testing"
)

func TestClassesOfADataset(t *testing.T) {
	named := writeTree(t, map[string][]byte{"test_batch.bin": cifarRecords(0), cifarMeta: []byte("b\na\n")})
	folders := writeTree(t, map[string][]byte{"train/dog": nil, "train/ant": nil, "train/.git": nil, "train/notes.txt": {}})
	for name, want := range map[string][]string{
		CIFAR10:   cifarClasses,
		Synthetic: cifarClasses,
		named:     {"b", "a"},
		folders:   {"ant", "dog"},
	} {
		got, err := Classes(name)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, error %v, want %q", name, got, err, want)
		}
	}
}

func TestClassesOfNoDataset(t *testing.T) {
	for want, dir := range map[string]string{
		"has no class folders":            writeTree(t, map[string][]byte{"train": nil}),
		"expected cifar10, synthetic, or": writeTree(t, nil),
	} {
		_, err := Classes(dir)
		wantError(t, err, "find classes of ", dir, want)
	}
}

func TestClassesAreNotShared(t *testing.T) {
	first, err := Classes(CIFAR10)
	if err != nil {
		t.Fatal(err)
	}
	first[0] = "changed"
	if second, _ := Classes(CIFAR10); second[0] != "airplane" {
		t.Error("a caller can change CIFAR-10's class names")
	}
}

package savedmodel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// The examples in README are the code that Example runs.
func TestReadmeShowsTheExamples(t *testing.T) {
	root := modeltest.Root()
	readme := read(t, filepath.Join(root, "README.md"))
	source := read(t, filepath.Join(root, "savedmodel", "example_test.go"))
	blocks := strings.Split(readme, "```go\n")[1:]
	if len(blocks) != 3 {
		t.Fatalf("README has %d blocks of Go, want 3", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(source, code) {
			t.Errorf("this is in README and not in example_test.go:\n%s", code)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

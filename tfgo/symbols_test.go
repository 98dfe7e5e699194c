package tfgo

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A function that graft calls and symbols.h lacks would only be missed by the
// linker of some program that uses it.
func TestSymbolsAreThoseThatGraftCalls(t *testing.T) {
	listed := matches(t, `SYMBOL\((\w+)\)`, "symbols.h")

	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/wamuir/graft/tensorflow").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal("graft's source was not found", err)
	}
	var sources []string
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			sources = append(sources, file)
		}
	}
	called := matches(t, `C\.(TFE?_\w+)\(`, sources...)
	// Types in a conversion, inline functions of the headers, and a helper that
	// graft defines itself.
	inline := regexp.MustCompile(`^TF_DataType$|^TF_TString_|_Helper$`)
	called = slices.DeleteFunc(called, inline.MatchString)

	if diff := cmp.Diff(called, listed); diff != "" {
		t.Errorf("symbols.h (+) is not what graft calls (-):\n%s", diff)
	}
}

func matches(t *testing.T, pattern string, files ...string) []string {
	t.Helper()
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			found = append(found, match[1])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/cli"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// roleVariable makes another program of the test binary. What depends on a
// process of its own, such as signals, is tested with it.
const roleVariable = "RESIDUAL_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		// Commands that need no model are run as well: all find TensorFlow.
		_, _ = modeltest.Find(modeltest.Small)
		os.Exit(m.Run())
	case "residual":
		os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr))
	case "replay":
		os.Exit(replay(os.Args[1:]))
	case "saver":
		os.Exit(saver(os.Args[1:]))
	case "python":
		os.Exit(fakePython())
	default:
		fmt.Fprintf(os.Stderr, "there is no role %q\n", role)
		os.Exit(99)
	}
}

// outcome is what a command left to its caller.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs a command in this process.
func run(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := cli.Main(append([]string{"residual"}, args...), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// must runs a command in this process that has to succeed.
func must(t *testing.T, args ...string) outcome {
	t.Helper()
	o := run(args...)
	if o.code != 0 {
		t.Fatalf("residual %s: exit code %d\n%s%s", strings.Join(args, " "), o.code, o.stdout, o.stderr)
	}
	return o
}

// process prepares a command in a process of its own, with these changes to
// the environment: NAME=VALUE, or NAME to take it away.
func process(t *testing.T, args []string, environment ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return processOf(t, program, args, environment...)
}

func processOf(t *testing.T, program string, args []string, environment ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Args[0] = "residual"
	command.Env = os.Environ()
	// tfgo has set TensorFlow's log level in this process: a new one decides anew.
	for _, change := range append(environment, "TF_CPP_MIN_LOG_LEVEL", roleVariable+"=residual") {
		name, _, set := strings.Cut(change, "=")
		command.Env = slices.DeleteFunc(command.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		if set {
			command.Env = append(command.Env, change)
		}
	}
	return command
}

// finish runs a process to its end.
func finish(t *testing.T, command *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if command.Stdout == nil {
		command.Stdout = &stdout
	}
	command.Stderr = &stderr
	err := command.Run()
	return outcome{exitCodeOf(t, err), stdout.String(), stderr.String()}
}

func exitCodeOf(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

// lastLine reads the last line of standard output as JSON.
func (o outcome) lastLine(t *testing.T, into any) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		t.Fatalf("the last line is not JSON: %v\n%s", err, o.stdout)
	}
}

// needFields checks that a JSON object has fields, "test.loss" being loss in
// the object test. Scripts rely on them: see docs.
func needFields(t *testing.T, o outcome, fields ...string) {
	t.Helper()
	var object any
	o.lastLine(t, &object)
	for _, field := range fields {
		value := object
		for name := range strings.SplitSeq(field, ".") {
			fields, _ := value.(map[string]any)
			var ok bool
			if value, ok = fields[name]; !ok {
				t.Errorf("there is no %s in %s", field, o.stdout)
				break
			}
		}
	}
}

// listing returns all paths below dir with the files' sizes, sorted.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() {
			paths = append(paths, name+"/")
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size := info.Size()
		if entry.Name() == ".lock" { // it says which process was last inside
			size = 0
		}
		paths = append(paths, fmt.Sprintf("%s %d", name, size))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// files returns the paths of the files below dir, sorted.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, path := range listing(t, dir) {
		if name, _, ok := strings.Cut(path, " "); ok {
			names = append(names, name)
		}
	}
	return names
}

// unchanged returns a check that nothing below dir has come or gone since.
func unchanged(t *testing.T, dir string) func() {
	t.Helper()
	before := listing(t, dir)
	return func() {
		t.Helper()
		if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
			t.Errorf("something was left on disk (+) or is gone (-):\n%s", diff)
		}
	}
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// checkOutput compares text with a golden file in testdata.
func checkOutput(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		write(t, path, []byte(got))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./cli -update makes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test ./cli -update takes it over):\n%s", path, diff)
	}
}

var changing = []struct {
	pattern *regexp.Regexp
	stable  string
}{
	{regexp.MustCompile(`(residual )\d+\.\d+\.\d+( \([0-9a-f]+\))?`), "${1}VERSION"},
	{regexp.MustCompile(`(TensorFlow )\d+\.\d+\.\d+`), "${1}VERSION"},
	{regexp.MustCompile(`("(?:tensorflow|keras|python|residual)": ?)"\d+\.\d+[^"]*"`), `${1}"VERSION"`},
	// TensorFlow's versions differ in what they write into the graph.
	{regexp.MustCompile(`(?m)^(size\s+).*$`), "${1}SIZE"},
	{regexp.MustCompile(`^(\{"bytes":)\d+`), "${1}0"},
}

// stable replaces what differs from machine to machine.
func stable(text string) string {
	text = strings.ReplaceAll(text, modeltest.Root(), "ROOT")
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.stable)
	}
	return text
}

// withoutTensorFlow is the environment of a machine that has nothing of ours.
func withoutTensorFlow(t *testing.T) []string {
	return []string{tfgo.LibraryVariable, "RESIDUAL_PYTHON", "LD_LIBRARY_PATH", "HOME=" + t.TempDir()}
}

package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
)

// installed copies the program, alone, to dir/bin/residual.
func installed(t *testing.T, dir string) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "bin", "residual")
	if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Link(program, copied) == nil {
		return copied
	}
	if err := os.CopyFS(filepath.Join(dir, "copied"), os.DirFS(filepath.Dir(program))); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "copied", filepath.Base(program)), copied); err != nil {
		t.Fatal(err)
	}
	return copied
}

// needTensorFlow are commands that cannot work without the C library.
func needTensorFlow(t *testing.T) map[string][]string {
	small := modeltest.Dir(t, modeltest.Small)
	image := write(t, filepath.Join(t.TempDir(), "x.png"), pngImage(t, 9, 9))
	return map[string][]string{
		"train":    {"train", "--model", small, "--data", "synthetic", "--limit", "10", "--out", "new/run"},
		"evaluate": {"evaluate", "--model", small, "--data", "synthetic", "--limit", "10", "--out", "pictures"},
		"predict":  {"predict", "--model", small, image},
		"bench":    {"bench", "--model", small, "--predict"},
		"env":      {"doctor", "--env"},
	}
}

func TestStartsWithoutTensorFlow(t *testing.T) {
	home := t.TempDir()
	program := installed(t, home)
	small := modeltest.Dir(t, modeltest.Small)
	work := t.TempDir()
	start := func(t *testing.T, args ...string) outcome {
		command := processOf(t, program, args, withoutTensorFlow(t)...)
		command.Dir = work
		return finish(t, command)
	}
	doctor := start(t, "doctor")
	if doctor.code == 0 {
		t.Skipf("the loader finds a TensorFlow on this machine:\n%s", doctor.stdout)
	}
	for _, part := range []string{"C library", "problem: ", "pip install tensorflow-cpu", tfgo.LibraryVariable, "make build", "Python", "CPU"} {
		if !strings.Contains(unbroken(doctor.stdout), part) {
			t.Errorf("doctor does not say %q:\n%s", part, doctor.stdout)
		}
	}
	if doctor.code != 1 || doctor.stderr != "" {
		t.Errorf("doctor: exit code %d, %q", doctor.code, doctor.stderr)
	}
	for _, args := range [][]string{
		{"--help"}, {"--version"}, {"train", "--help"},
		{"inspect", small}, {"summary", "--model", small},
		{"data", "preview", "--data", "synthetic"},
		{"data", "unpack", "--data", "synthetic", "--limit", "10", "--out", "images"},
		{"data", "preview", "--data", "images", "--model", small, "--out", "again.png"},
	} {
		if o := start(t, args...); o.code != 0 || o.stderr != "" || o.stdout == "" {
			t.Errorf("%v: exit code %d: %s", args, o.code, o.stderr)
		}
	}
	check := unchanged(t, work)
	for name, args := range needTensorFlow(t) {
		t.Run(name, func(t *testing.T) {
			refused(t, start(t, append(args, "--json")...), 1, "C library", filepath.Join(home, "lib"), "make build", "pip install tensorflow-cpu", tfgo.LibraryVariable)
		})
	}
	check()
}

func TestALibraryThatIsNotThere(t *testing.T) {
	t.Chdir(t.TempDir())
	check := unchanged(t, ".")
	for name, args := range needTensorFlow(t) {
		t.Run(name, func(t *testing.T) {
			refused(t, finish(t, process(t, args, tfgo.LibraryVariable+"=/nowhere/at/all")), 1, tfgo.LibraryVariable, `"/nowhere/at/all"`, "libtensorflow_cc.so.2")
		})
	}
	check()
}

func TestALibraryOfAWrongVersion(t *testing.T) {
	library := fakeLibrary(t, "1.15.0")
	t.Chdir(t.TempDir())
	check := unchanged(t, ".")
	for name, args := range needTensorFlow(t) {
		t.Run(name, func(t *testing.T) {
			refused(t, finish(t, process(t, args, tfgo.LibraryVariable+"="+library)), 1, library, "1.15.0", "2.18")
		})
	}
	o := finish(t, process(t, []string{"doctor", "--json"}, tfgo.LibraryVariable+"="+library))
	if o.code != 1 || !strings.Contains(o.stdout, "1.15.0") {
		t.Errorf("doctor: exit code %d\n%s", o.code, o.stdout)
	}
	check()
}

// fakeLibrary builds a library that has all functions of TensorFlow's, and a
// version.
func fakeLibrary(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	source := write(t, filepath.Join(dir, "fake.c"), []byte(`
#define SYMBOL(name) void name(void) {}
#define TF_Version other_TF_Version
#include "symbols.h"
#undef TF_Version
const char *TF_Version(void) { return "`+version+`"; }
`))
	library := filepath.Join(dir, "libtensorflow.so.2")
	out, err := exec.Command("cc", "-w", "-fno-builtin", "-shared", "-fPIC", "-I", filepath.Join(modeltest.Root(), "tfgo"), "-o", library, source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return library
}

// The program looks at RESIDUAL_TENSORFLOW, then beside itself (../lib), then
// in the checkout it was built in.
func TestWhereTheLibraryIsLookedFor(t *testing.T) {
	home := t.TempDir()
	program := installed(t, home)
	place := func(folder string) {
		t.Helper()
		write(t, filepath.Join(home, folder, "libtensorflow_cc.so.2"), []byte("from "+folder))
	}
	uses := func(want string, environment ...string) {
		t.Helper()
		o := finish(t, processOf(t, program, []string{"doctor"}, append(withoutTensorFlow(t), environment...)...))
		if !strings.Contains(unbroken(o.stdout), "load "+filepath.Join(home, want, "libtensorflow_cc.so.2")) {
			t.Errorf("doctor does not try %s:\n%s", want, o.stdout)
		}
	}
	place(".venv/lib/python3.11/site-packages/tensorflow")
	uses(".venv/lib/python3.11/site-packages/tensorflow")
	place("lib")
	uses("lib")
	place("named")
	uses("named", tfgo.LibraryVariable+"="+filepath.Join(home, "named"))

	link := filepath.Join(t.TempDir(), "residual")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	program = link // what a link in /usr/local/bin finds is beside the program itself
	uses("lib")
}

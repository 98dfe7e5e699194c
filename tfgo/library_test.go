package tfgo

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestLibraryAtFindsTheFileWhereverItIs(t *testing.T) {
	dir := t.TempDir()
	for _, layout := range []string{
		"direct/libtensorflow_cc.so.2",
		"archive/libtensorflow.so.2",
		"packages/tensorflow/libtensorflow_cc.so.2",
		"venv/lib/python3.11/site-packages/tensorflow/libtensorflow_cc.so.2",
	} {
		t.Run(layout, func(t *testing.T) {
			want := filepath.Join(dir, layout)
			touch(t, want)
			folder := filepath.Join(dir, strings.Split(layout, "/")[0])
			for _, named := range []string{folder, want} {
				if got, ok := libraryAt(named); !ok || got != want {
					t.Errorf("libraryAt(%q) = %q, %v, want %q", named, got, ok, want)
				}
			}
		})
	}
	odd := filepath.Join(dir, "a[1]*", "libtensorflow.so")
	touch(t, odd)
	if got, ok := libraryAt(filepath.Dir(odd)); !ok || got != odd {
		t.Errorf("libraryAt of a folder with a pattern's characters = %q, %v", got, ok)
	}
	if got, ok := libraryAt(t.TempDir()); ok {
		t.Errorf("an empty folder holds %q", got)
	}
}

func TestCandidatesAreNoOthersThanTheVariableNames(t *testing.T) {
	empty := t.TempDir()
	t.Setenv(LibraryVariable, empty)
	_, err := candidates()
	if !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), empty) {
		t.Errorf("candidates: %v, want an ErrNoLibrary that names %s", err, empty)
	}
}

func TestLoadFileRefusesWhatIsNotTensorFlow(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "libtensorflow.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "libother.so")
	source := filepath.Join(dir, "other.c")
	if err := os.WriteFile(source, []byte("int other(void) { return 1; }"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", other, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for file, reason := range map[string]string{
		text:                          "file too short",
		other:                         "undefined symbol",
		filepath.Join(dir, "none.so"): "No such file",
	} {
		err := loadFile(file)
		if !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), reason) {
			t.Errorf("loadFile: %v, want an ErrNoLibrary with %s and %q", err, file, reason)
		}
	}
}

func TestChooseTellsOfTheLibraryThatIsThere(t *testing.T) {
	none := func(name string) error {
		return errors.New(name + ": cannot open shared object file: No such file or directory")
	}
	for _, broken := range []error{errors.New("b.so: undefined symbol: TF_Version"), none("libtensorflow_framework.so.2")} {
		if got := choose([]string{"a.so", "b.so", "c.so"}, []error{none("a.so"), broken, none("c.so")}); got != broken {
			t.Errorf("choose: %v, want %v", got, broken)
		}
	}
	if got := choose([]string{"a.so", "b.so"}, []error{none("a.so"), none("b.so")}); !errors.Is(got, ErrNoLibrary) || !strings.Contains(got.Error(), "make build") {
		t.Errorf("choose: %v, want how to get the library", got)
	}
}

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.18.0": true, "2.18.1": true, "2.21.0": true, "2.100.0-rc1": true,
		"2.17.1": false, "1.15.5": false, "3.0.0": false, "": false, "new": false,
	} {
		err := checkVersion(Library{Path: "/lib/x.so", Version: version})
		if (err == nil) != ok {
			t.Errorf("checkVersion(%q) = %v", version, err)
		}
		if err != nil && (!errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "/lib/x.so")) {
			t.Errorf("checkVersion(%q) = %v, want an ErrNoLibrary that names the file", version, err)
		}
	}
}

func TestQuietlyPassesOnWhatIsNotALogLine(t *testing.T) {
	// In a process of its own, since standard error is the process's.
	if os.Getenv("TFGO_TEST_QUIETLY") != "" {
		err := quietly(func() error {
			os.Stderr.WriteString("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n" +
				"I0000 00:00:1795446588.771119    8087 port.cc:153] oneDNN is on.\n" +
				"a person's line\n")
			return errors.New("loaded")
		})
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(0)
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), "TFGO_TEST_QUIETLY=1", xlaFlags+"=")
	var stderr strings.Builder
	command.Stderr = &stderr
	if err := command.Run(); err != nil {
		t.Fatal(err)
	}
	if got, want := stderr.String(), "a person's line\nloaded\n"; got != want {
		t.Errorf("standard error is %q, want %q", got, want)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

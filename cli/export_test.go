package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// call is how the program called Python.
type call struct {
	Args     []string
	Path     string // PYTHONPATH
	SafePath string // PYTHONSAFEPATH
	Dir      string
}

// fakePython is this test binary in the role of Python. It prints how it was
// called, as the last line, and exits as told.
func fakePython() int {
	if file := os.Getenv("FAKE_SIGNALS"); file != "" {
		return countSignals(file)
	}
	dir, err := os.Getwd()
	if err != nil {
		return 99
	}
	fmt.Println("a line of Python's")
	fmt.Fprintln(os.Stderr, "a line of Python's log")
	_ = json.NewEncoder(os.Stdout).Encode(call{os.Args[1:], os.Getenv("PYTHONPATH"), os.Getenv("PYTHONSAFEPATH"), dir})
	code, _ := strconv.Atoi(os.Getenv("FAKE_EXIT"))
	return code
}

// countSignals writes a line to file for each signal, and ends a while after
// the first one; with FAKE_STUBBORN it does not end.
func countSignals(file string) int {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 99
	}
	fmt.Fprintln(out, "started", os.Getpid())
	var end <-chan time.Time
	for {
		select {
		case s := <-signals:
			fmt.Fprintln(out, s)
			if os.Getenv("FAKE_STUBBORN") == "" {
				end = time.After(300 * time.Millisecond)
			}
		case <-end:
			return 130
		}
	}
}

// pythonScript makes an executable that is fakePython.
func pythonScript(t *testing.T, path string) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, fmt.Appendf(nil, "#!/bin/sh\n%s=python exec '%s' \"$@\"\n", roleVariable, program))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExportPassesOnWhatItWasGiven(t *testing.T) {
	python := pythonScript(t, filepath.Join(t.TempDir(), "python"))
	dir := t.TempDir()
	for name, test := range map[string]struct {
		args, want []string
	}{
		"only the folder": {[]string{"--out", "models/a"}, []string{"--out=models/a"}},
		"all flags": {
			[]string{"--out", "a b", "--recipe", "keras", "--upsample", "2", "--classes", "cat,dog,a fox", "--image-size", "48", "--weights", "w.npz",
				"--seed", "-3", "--batch-norm", "keras", "--save-keras", "k.keras", "--json"},
			[]string{"--out=a b", "--recipe=keras", "--upsample=2", "--classes=cat,dog,a fox", "--image-size=48", "--weights=w.npz",
				"--seed=-3", "--batch-norm=keras", "--save-keras=k.keras", "--json"},
		},
		"zeros are values":           {[]string{"--out=a", "--upsample=0", "--seed=0"}, []string{"--out=a", "--upsample=0", "--seed=0"}},
		"values like flags":          {[]string{"--out", "--json", "--classes", "-x,--y"}, []string{"--out=--json", "--classes=-x,--y"}},
		"what is wrong Python knows": {[]string{"--out", "a", "--recipe", "torch", "--upsample", "99"}, []string{"--out=a", "--recipe=torch", "--upsample=99"}},
	} {
		t.Run(name, func(t *testing.T) {
			command := process(t, append([]string{"export"}, test.args...), "RESIDUAL_PYTHON="+python)
			command.Dir = dir
			o := finish(t, command)
			if o.code != 0 || o.stderr != "a line of Python's log\n" || !strings.HasPrefix(o.stdout, "a line of Python's\n") {
				t.Fatalf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
			}
			var got call
			o.lastLine(t, &got)
			slices.Sort(got.Args[3:])
			slices.Sort(test.want)
			if diff := cmp.Diff(append([]string{"-m", "python_export", "export"}, test.want...), got.Args); diff != "" {
				t.Errorf("Python's arguments (-want +got):\n%s", diff)
			}
			if got.Dir != dir || got.SafePath == "" {
				t.Errorf("Python ran in %s, want %s, not looking for modules there", got.Dir, dir)
			}
		})
	}
}

func TestExportEndsAsPythonDoes(t *testing.T) {
	python := pythonScript(t, filepath.Join(t.TempDir(), "python"))
	for _, code := range []int{0, 1, 2, 77} {
		o := finish(t, process(t, []string{"export", "--out", "a"}, "RESIDUAL_PYTHON="+python, fmt.Sprintf("FAKE_EXIT=%d", code)))
		if o.code != code || o.stderr != "a line of Python's log\n" {
			t.Errorf("Python ended with %d, export with %d: %s", code, o.code, o.stderr)
		}
	}
}

func TestWhereExportFindsPython(t *testing.T) {
	home := t.TempDir()
	program := installed(t, home)
	elsewhere := pythonScript(t, filepath.Join(t.TempDir(), "python"))
	export := func(environment ...string) outcome {
		return finish(t, processOf(t, program, []string{"export", "--out", "a"}, append(withoutTensorFlow(t), environment...)...))
	}
	pathOf := func(o outcome) string {
		t.Helper()
		if o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		var got call
		o.lastLine(t, &got)
		return got.Path
	}

	// Outside of a checkout: RESIDUAL_PYTHON, with its own python_export.
	refused(t, export(), 1, "RESIDUAL_PYTHON", "python_export", "not in a checkout")
	refused(t, export("RESIDUAL_PYTHON=/no/such/python"), 1, "RESIDUAL_PYTHON", `"/no/such/python"`)
	if got := pathOf(export("RESIDUAL_PYTHON="+elsewhere, "PYTHONPATH=/mine")); got != "/mine" {
		t.Errorf("PYTHONPATH is %q", got)
	}

	// In a checkout without .venv: RESIDUAL_PYTHON, with the checkout's package.
	write(t, filepath.Join(home, "python_export", "__main__.py"), nil)
	refused(t, export(), 1, home, ".venv", "make build", "RESIDUAL_PYTHON")
	if got := pathOf(export("RESIDUAL_PYTHON="+elsewhere, "PYTHONPATH=/mine")); got != home+":/mine" {
		t.Errorf("PYTHONPATH is %q", got)
	}

	// With .venv that is the one, wherever the program is called from.
	pythonScript(t, filepath.Join(home, ".venv", "bin", "python"))
	if got := pathOf(export("RESIDUAL_PYTHON=/no/such/python")); got != home {
		t.Errorf("PYTHONPATH is %q", got)
	}
	link := filepath.Join(t.TempDir(), "residual")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	program = link
	pathOf(export())
}

// interruptible starts an export with a Python that counts signals, as the
// leader of a group of processes, such as a terminal sends Ctrl-C to.
func interruptible(t *testing.T, environment ...string) (s started, signals string) {
	t.Helper()
	dir := t.TempDir()
	signals = filepath.Join(dir, "signals")
	python := pythonScript(t, filepath.Join(dir, "python"))
	command := process(t, []string{"export", "--out", "a"}, append(environment, "RESIDUAL_PYTHON="+python, "FAKE_SIGNALS="+signals)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s = start(t, command)
	until(t, "Python runs", func() bool {
		text, err := os.ReadFile(signals)
		return err == nil && strings.HasSuffix(string(text), "\n")
	})
	t.Cleanup(func() {
		var pid int
		if _, err := fmt.Sscanf(read(t, signals), "started %d", &pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return s, signals
}

// Python cleans up after the first signal; a second one would break that off.
func TestPythonHearsOfCtrlCOnce(t *testing.T) {
	s, signals := interruptible(t)
	if err := syscall.Kill(-s.command.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if o := s.wait(t); o.code != 130 || o.stderr != "residual: interrupted\n" {
		t.Errorf("exit code %d: %q", o.code, o.stderr)
	}
	if text := read(t, signals); strings.Count(text, "\n") != 2 || !strings.HasSuffix(text, "\ninterrupt\n") {
		t.Errorf("Python's signals:\n%s", text)
	}
}

func TestTheSecondSignalDoesNotWaitForPython(t *testing.T) {
	s, signals := interruptible(t, "FAKE_STUBBORN=1")
	s.signal(t, syscall.SIGTERM)
	until(t, "Python hears of it", func() bool { return strings.Count(read(t, signals), "\n") == 2 })
	s.signal(t, syscall.SIGINT)
	if o := s.wait(t); o.code != 130 {
		t.Errorf("exit code %d: %q", o.code, o.stderr)
	}
}

// The help lists the options that Python takes.
func TestExportHelpIsPythons(t *testing.T) {
	python := filepath.Join(modeltest.Root(), ".venv", "bin", "python")
	command := exec.Command(python, "-m", "python_export", "export", "--help")
	command.Dir = modeltest.Root()
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	optionsOf := func(help string) []string {
		var names []string
		for _, match := range regexp.MustCompile(`(?m)^ +(?:-h, )?(--[a-z-]+)`).FindAllStringSubmatch(help, -1) {
			names = append(names, match[1])
		}
		slices.Sort(names)
		return names
	}
	want, got := optionsOf(string(out)), optionsOf(must(t, "export", "--help").stdout)
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("Python's options (-) and the command's (+):\n%s", diff)
	}
}

func TestExportTellsThatPythonWasKilled(t *testing.T) {
	python := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(python, []byte("#!/bin/sh\nkill -9 $$\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, finish(t, process(t, []string{"export", "--out", "a"}, "RESIDUAL_PYTHON="+python)), 1, "run Python", "killed", "memory")
}

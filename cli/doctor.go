package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/tfgo"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "say what this machine has, what is missing, and how to get it",
		UsageText: "residual doctor",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "env", Usage: "print what a Go program needs to build with residual: eval \"$(residual doctor --env)\""},
			&cli.StringFlag{Name: urlName, Usage: "only ask the server at `URL`, such as http://localhost:8501, whether it is well (/readyz, if there is no path): exit code 0 if it answers 200"},
			debugFlag, jsonFlag,
		},
		Action: doctor,
	}
}

// finding is one thing that was looked at.
type finding struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	// Problem and Mend are empty where all is well.
	Problem string `json:"problem,omitempty"`
	Mend    string `json:"mend,omitempty"`
	// Fatal says that training, evaluating and predicting cannot work so.
	Fatal bool `json:"fatal,omitempty"`
}

func doctor(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.Bool("env") {
		return printEnvironment(c)
	}
	if c.IsSet(urlName) {
		return askServer(c, c.String(urlName))
	}
	// A driver that hangs cannot be cancelled: a signal ends the process at once.
	signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	var all []finding
	var unsaid error
	examine(c.Context, func(f finding) {
		all = append(all, f)
		if !c.Bool(jsonFlag.Name) && unsaid == nil { // at once: what is looked at next may end the process
			unsaid = printLine(c, "%s", f)
		}
	})
	if c.Bool(jsonFlag.Name) {
		unsaid = printJSON(c, map[string]any{"findings": all})
	}
	if unsaid != nil {
		return unsaid
	}
	if slices.ContainsFunc(all, func(f finding) bool { return f.Fatal }) {
		return silentExit(exitFailure)
	}
	return nil
}

// examine looks at one thing after the other.
func examine(ctx context.Context, found func(finding)) {
	found(finding{Name: "residual", Value: fmt.Sprintf("%s, %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)})
	found(finding{Name: "graft", Value: moduleVersion(graftModule)})
	if library, err := tfgo.Load(); err != nil {
		found(finding{Name: "C library", Problem: err.Error(), Fatal: true})
	} else {
		found(finding{Name: "C library", Value: fmt.Sprintf("TensorFlow %s, %s", library.Version, library.Path)})
		found(examineHeaders(library))
		examineDevices(ctx, found)
	}
	found(examinePython())
	found(examineCPU())
}

// String is the finding as lines of a terminal's width.
func (f finding) String() string {
	const name = len("C library") // the longest one
	const width = 80 - name - len("  ")
	lines := wrap(f.Value, width)
	if f.Problem != "" {
		lines = wrap("problem: "+f.Problem, width)
	}
	if f.Mend != "" {
		lines = append(lines, wrap("mend it: "+f.Mend, width)...)
	}
	var text strings.Builder
	label := f.Name
	for _, line := range lines {
		fmt.Fprintf(&text, "%-*s  %s\n", name, label, line)
		label = ""
	}
	return trimEnd(text.String())
}

// headersOf returns the folder with the C headers that belong to a library.
func headersOf(library tfgo.Library) (string, error) {
	folder := filepath.Dir(library.Path)
	for _, include := range []string{filepath.Join(folder, "include"), filepath.Join(filepath.Dir(folder), "include")} {
		if _, err := os.Stat(filepath.Join(include, "tensorflow", "c", "c_api.h")); err == nil {
			return include, nil
		}
	}
	return "", fmt.Errorf("tensorflow/c/c_api.h is not beside %s; the Python wheel of TensorFlow has it", library.Path)
}

func examineHeaders(library tfgo.Library) finding {
	include, err := headersOf(library)
	if err != nil {
		return finding{Name: "C headers", Value: "none; only needed to build Go programs: `pip install tensorflow-cpu` has them"}
	}
	return finding{Name: "C headers", Value: include}
}

// pythonVersions prints versions without importing TensorFlow, which takes
// seconds.
const pythonVersions = `
import importlib.metadata as m, sys
def v(*names):
    for n in names:
        try: return m.version(n)
        except m.PackageNotFoundError: pass
    return "missing"
print(sys.version.split()[0], v("tensorflow-cpu", "tensorflow"), v("keras"))`

func examinePython() finding {
	const name = "Python"
	mend := "only `residual export` needs it: run `make build` in a checkout"
	python, _, err := findPython()
	if _, inCheckout := checkout(); err != nil && !inCheckout && os.Getenv(pythonVariable) == "" {
		return finding{Name: name, Value: "none; only `residual export` needs it: set " + pythonVariable + " to a Python that has the package python_export"}
	}
	if err != nil {
		return finding{Name: name, Problem: err.Error(), Mend: mend}
	}
	out, err := exec.Command(python, "-I", "-c", pythonVersions).Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) != 3 {
		return finding{Name: name, Problem: fmt.Sprintf("%s does not run: %v", python, err), Mend: mend}
	}
	value := fmt.Sprintf("%s with TensorFlow %s, Keras %s, %s", fields[0], fields[1], fields[2], python)
	if slices.Contains(fields, "missing") {
		return finding{Name: name, Problem: value, Mend: mend}
	}
	return finding{Name: name, Value: value}
}

// examineCPU names the instructions that TensorFlow's kernels make use of.
func examineCPU() finding {
	f := finding{Name: "CPU", Value: fmt.Sprintf("%d cores", runtime.NumCPU())}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return f
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			fields[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	var has []string
	flags := strings.Fields(fields["flags"])
	for _, feature := range []string{"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"} {
		if slices.Contains(flags, feature) {
			has = append(has, feature)
		}
	}
	f.Value = fmt.Sprintf("%s, %s: %s", fields["model name"], f.Value, strings.Join(has, " "))
	if tfgo.OneDNN() {
		f.Value += "; oneDNN is on"
	}
	return f
}

func printEnvironment(c *cli.Context) error {
	library, err := tfgo.Load()
	if err != nil {
		return err
	}
	include, err := headersOf(library)
	if err != nil {
		return err
	}
	file, err := filepath.Abs(library.Path)
	if err != nil {
		return fmt.Errorf("find library: %w", err)
	}
	flags := "-I" + include
	if strings.ContainsAny(flags, " \t") {
		flags = `"` + flags + `"` // go splits CGO_CFLAGS at blanks outside of quotes
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]string{"CGO_CFLAGS": flags, tfgo.LibraryVariable: file})
	}
	return printLine(c, "export CGO_CFLAGS=%s\nexport %s=%s", shellQuote(flags), tfgo.LibraryVariable, shellQuote(file))
}

// shellQuote writes a word that a POSIX shell reads as it is.
func shellQuote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

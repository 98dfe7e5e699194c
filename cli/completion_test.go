package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// words are the first column of what __complete prints.
func completed(t *testing.T, words ...string) []string {
	t.Helper()
	var found []string
	for line := range strings.Lines(must(t, append([]string{"__complete"}, words...)...).stdout) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		found = append(found, word)
	}
	return found
}

func TestCompletion(t *testing.T) {
	for name, test := range map[string]struct {
		line []string
		want []string // among others
		not  []string
	}{
		"commands":                  {[]string{""}, []string{"train", "serve", "completion"}, []string{"__complete", "."}},
		"commands that begin so":    {[]string{"e"}, []string{"export", "evaluate"}, []string{"train"}},
		"commands of a group":       {[]string{"checkpoints", ""}, []string{"list", "export"}, []string{"train"}},
		"flags":                     {[]string{"train", "--e"}, []string{"--epochs", "--early-stopping"}, []string{"--data"}},
		"flags of the program":      {[]string{"--v"}, []string{"--version"}, nil},
		"flags behind a value":      {[]string{"train", "--data", "cifar10", "--ou"}, []string{"--out"}, nil},
		"values":                    {[]string{"train", "--device", ""}, []string{"auto", "cpu", "gpu"}, []string{"."}},
		"values that begin so":      {[]string{"train", "--precision", "b"}, []string{"bfloat16"}, []string{"float32"}},
		"values behind =":           {[]string{"train", "--precision=f"}, []string{"float32"}, []string{"bfloat16"}},
		"values and files":          {[]string{"evaluate", "--data", ""}, []string{"cifar10", "synthetic", "."}, nil},
		"files":                     {[]string{"predict", "--model", ""}, []string{"."}, []string{"train"}},
		"files without a flag":      {[]string{"predict", "--model", "x", ""}, []string{"."}, nil},
		"nothing where nothing is":  {[]string{"train", "--epochs", ""}, nil, []string{"."}},
		"no value behind a switch":  {[]string{"train", "--quiet", "--js"}, []string{"--json"}, nil},
		"shells":                    {[]string{"completion", ""}, []string{"bash", "fish", "zsh"}, []string{"."}},
		"words that are no command": {[]string{"fly", ""}, []string{"train"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := completed(t, test.line...)
			for _, want := range test.want {
				if !slices.Contains(got, want) {
					t.Errorf("%q is not in %q", want, got)
				}
			}
			for _, not := range test.not {
				if slices.Contains(got, not) {
					t.Errorf("%q is in %q", not, got)
				}
			}
		})
	}
}

// Every word that is offered for a flag is taken, or refused for another reason.
func TestWordsThatAreOfferedAreTaken(t *testing.T) {
	for flag, other := range map[string][]string{
		"device": {"evaluate"}, "gpu-memory": {"evaluate"}, "precision": {"evaluate"}, "schedule": {"train"}, "log-format": {"serve"},
	} {
		words := completed(t, append(other, "--"+flag, "")...)
		if len(words) < 1 {
			t.Errorf("nothing is offered for --%s", flag)
		}
		for _, word := range words {
			o := run(append(other, "--"+flag, word, "--model", "/nowhere", "--data", "synthetic")...)
			if strings.Contains(o.stderr, "--"+flag) {
				t.Errorf("--%s %s: %s", flag, word, o.stderr)
			}
		}
	}
}

// The shells themselves complete by the scripts, where they are installed.
func TestShellsComplete(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(program, filepath.Join(folder, "residual")); err != nil {
		t.Fatal(err)
	}
	for shell, script := range map[string]string{
		"bash": `eval "$(residual completion bash)"
			COMP_WORDS=(residual train --de); COMP_CWORD=2; _residual residual --de train; printf '%s\n' "${COMPREPLY[@]}"
			COMP_WORDS=(residual train --device = g); COMP_CWORD=4; _residual residual g =; printf '%s\n' "${COMPREPLY[@]}"`,
		"fish": `residual completion fish | source; complete -C "residual train --de"; complete -C "residual train --device g"`,
		"zsh": `autoload -U compinit; compinit -u -D; eval "$(residual completion zsh)"
			_describe() { print -rl -- "${(@P)2}"; }
			words=(residual train --de); CURRENT=3; _residual
			words=(residual train --device g); CURRENT=4; _residual`,
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip("there is no", shell)
			}
			command := exec.Command(shell, "-c", script)
			command.Env = []string{"PATH=" + folder + ":/usr/bin:/bin", "HOME=" + t.TempDir(), roleVariable + "=residual"}
			out, err := command.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--device") || !strings.Contains(string(out), "gpu") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestCompletionRefuses(t *testing.T) {
	refused(t, run("completion"), 2, "bash", "fish", "zsh")
	refused(t, run("completion", "tcsh"), 2, "tcsh")
	refused(t, run("completion", "bash", "zsh"), 2, "bash zsh")
}

// The manual has every command and flag that --help has, and man finds nothing wrong.
func TestManual(t *testing.T) {
	page := must(t, "man").stdout
	for _, command := range commands {
		if !strings.Contains(page, ".SS residual "+command) {
			t.Errorf("there is no %s", command)
		}
	}
	for _, flag := range []string{"device", "resume", "checkpoint\\-every", "drain"} {
		if !strings.Contains(page, "\n.B \\-\\-"+flag) {
			t.Errorf("there is no --%s", flag)
		}
	}
	if strings.Contains(page, "\x1b") || strings.Contains(page, "__complete") {
		t.Error("it has what it should not")
	}
	if _, err := exec.LookPath("groff"); err != nil {
		return
	}
	command := exec.Command("groff", "-man", "-ww", "-Tutf8", "-z")
	command.Stdin = strings.NewReader(page)
	if out, err := command.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff says %v: %s", err, out)
	}
}

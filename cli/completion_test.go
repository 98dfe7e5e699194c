package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
		"values behind =":           {[]string{"train", "--precision=f"}, []string{"--precision=float32"}, []string{"--precision=bfloat16"}},
		"values of export alone":    {[]string{"export", "--precision", ""}, []string{"float16"}, []string{"auto", "tf32"}},
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
	files := t.TempDir()
	for _, name := range []string{"a1.jpg", "a[1].jpg", "so far"} {
		write(t, filepath.Join(files, name), nil)
	}
	for shell, script := range map[string]string{
		"bash": `eval "$(residual completion bash)"
			COMP_WORDS=(residual ""); COMP_CWORD=1; _residual residual "" residual; printf '%s\n' "${COMPREPLY[@]}"; echo "=="
			COMP_WORDS=(residual train --de); COMP_CWORD=2; _residual residual --de train; printf '%s\n' "${COMPREPLY[@]}"; echo "=="
			COMP_WORDS=(residual train --device g); COMP_CWORD=3; _residual residual g --device; printf '%s\n' "${COMPREPLY[@]}"; echo "=="
			COMP_WORDS=(residual train --device = g); COMP_CWORD=4; _residual residual g =; printf '%s\n' "${COMPREPLY[@]}"; echo "=="
			compopt() { :; }
			COMP_WORDS=(residual predict a); COMP_CWORD=2; _residual residual a predict; printf '%s\n' "${COMPREPLY[@]}"; echo "=="
			COMP_WORDS=(residual serve --model cats = s); COMP_CWORD=5; _residual residual s =; printf '%s\n' "${COMPREPLY[@]}"; echo "=="
			COMP_WORDS=(residual serve --model = cats = s); COMP_CWORD=6; _residual residual s =; printf '%s\n' "${COMPREPLY[@]}"`,
		"fish": `residual completion fish | source; complete -C "residual "; echo "=="; complete -C "residual train --de"; echo "=="
			complete -C "residual train --device g"; echo "=="; complete -C "residual train --device=g"; echo "=="
			complete -C "residual predict a"; echo "=="; complete -C "residual serve --model cats=s"; echo "=="; complete -C "residual serve --model=cats=s"`,
		"zsh": `autoload -U compinit; compinit -u -D; eval "$(residual completion zsh)"
			_describe() { print -rl -- "${(@P)2}"; }
			words=(residual ""); CURRENT=2; _residual; echo "=="
			words=(residual train --de); CURRENT=3; _residual; echo "=="
			words=(residual train --device g); CURRENT=4; _residual; echo "=="
			words=(residual train --device=g); CURRENT=3; _residual; echo "=="
			compset() { PREFIX=${PREFIX#$~3}; }; _files() { print -rl -- $PREFIX*; }
			words=(residual predict a); CURRENT=3; PREFIX=a; _residual; echo "=="
			words=(residual serve --model cats=s); CURRENT=4; PREFIX=cats=s; _residual; echo "=="
			words=(residual serve --model=cats=s); CURRENT=3; PREFIX=--model=cats=s; _residual`,
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip("there is no", shell)
			}
			command := exec.Command(shell, "-c", script)
			command.Dir = files
			command.Env = []string{"PATH=" + folder + ":/usr/bin:/bin", "HOME=" + t.TempDir(), roleVariable + "=residual"}
			var stderr bytes.Buffer
			command.Stderr = &stderr
			out, err := command.Output()
			if err != nil || stderr.Len() > 0 {
				t.Fatalf("%v: %s%s", err, out, &stderr)
			}
			answers := strings.Split(string(out), "==\n")
			for i, begins := range []string{
				`(?m)^evaluate\b`, `(?m)^--device\b`, `(?m)^gpu\b`, `(?m)^(--device=)?gpu\b`, `(?m)^a1\.jpg\n(.*\n)*a\\?\[1`, `(?m)^(cats=)?so\\? far`, `(?m)^(--model=cats=)?so\\? far`,
			} {
				if len(answers) != 7 || !regexp.MustCompile(begins).MatchString(answers[i]) {
					t.Errorf("answer %d has no line with %s:\n%s", i, begins, out)
				}
			}
		})
	}
}

func TestCompletionRefuses(t *testing.T) {
	refused(t, run("completion"), 2, "bash", "fish", "zsh")
	refused(t, run("completion", "tcsh"), 2, "tcsh")
	refused(t, run("completion", "bash", "zsh"), 2, "bash zsh")
}

// The manual has every command, flags among them, and groff finds nothing wrong.
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

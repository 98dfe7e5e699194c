package cli_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commands are all commands that do something.
var commands = []string{
	"export", "train", "evaluate", "predict", "serve", "summary", "inspect", "plot",
	"data preview", "data download", "data unpack", "checkpoints list", "checkpoints export", "bench", "doctor",
}

func TestHelp(t *testing.T) {
	for _, command := range append([]string{"", "data", "checkpoints", "completion", "man"}, commands...) {
		t.Run(command, func(t *testing.T) {
			words := strings.Fields(command)
			o := must(t, append(words, "--help")...)
			if o.stderr != "" {
				t.Errorf("standard error has %q", o.stderr)
			}
			for line := range strings.Lines(o.stdout) {
				if n := len([]rune(line)) - 1; n > 80 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			checkOutput(t, "help/"+strings.Join(append([]string{"residual"}, words...), "-")+".txt", stable(o.stdout))
			if short := must(t, append(words, "-h")...); short.stdout != o.stdout {
				t.Errorf("-h prints something else than --help:\n%s", short.stdout)
			}
		})
	}
}

func TestHelpWithoutACommandIsTheHelp(t *testing.T) {
	for _, command := range []string{"", "data", "checkpoints"} {
		words := strings.Fields(command)
		if bare, help := must(t, words...), must(t, append(words, "--help")...); bare.stdout != help.stdout {
			t.Errorf("residual %s prints\n%s", command, bare.stdout)
		}
	}
	for command, asked := range map[string]string{"help": "--help", "help train": "train --help", "checkpoints help list": "checkpoints list --help"} {
		if got, want := must(t, strings.Fields(command)...), must(t, strings.Fields(asked)...); got.stdout != want.stdout {
			t.Errorf("residual %s prints\n%s", command, got.stdout)
		}
	}
}

// Every command has an example, --json, and flags spelled as in every other.
func TestHelpKeepsTheRules(t *testing.T) {
	meanings := map[string]string{}
	for _, command := range commands {
		text := must(t, append(strings.Fields(command), "--help")...).stdout
		if !strings.Contains(text, "EXAMPLE\n   residual "+command) {
			t.Errorf("%s has no example", command)
		}
		if !strings.Contains(text, "\n   --json ") {
			t.Errorf("%s has no --json", command)
		}
		text = regexp.MustCompile(`\n {10,}`).ReplaceAllString(text, " ") // a line that was broken
		for _, match := range regexp.MustCompile(`(?m)^   --([a-z-]+).*?  +(.*?)( \(default.*)?$`).FindAllStringSubmatch(text, -1) {
			name, meaning := match[1], match[2]
			if !slices.Contains([]string{"data", "limit", "epochs", "batch-size", "precision", "threads", "quiet", "json"}, name) {
				continue // --out is a folder here and a file there
			}
			if command == "export" && name == "precision" {
				continue // the model's, not the run's
			}
			if other, ok := meanings[name]; ok && other != meaning {
				t.Errorf("--%s of %s means %q, elsewhere %q", name, command, meaning, other)
			}
			meanings[name] = meaning
		}
	}
	if len(meanings) < 8 {
		t.Errorf("only %v were found", meanings)
	}
}

func TestVersion(t *testing.T) {
	for _, flag := range []string{"--version", "-v"} {
		if got := must(t, flag).stdout; !regexp.MustCompile(`^residual version \d+\.\d+\.\d+( \([\w.-]+\))?, (TensorFlow \d+\.\d+\.\d+|no TensorFlow), linux/amd64\n$`).MatchString(got) {
			t.Errorf("%s prints %q", flag, got)
		}
	}
}

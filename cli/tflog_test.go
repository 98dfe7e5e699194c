package cli_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// TensorFlow's lines are shown as the program's own with --debug, and not without.
func TestDebugShowsTensorFlowsLog(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	args := []string{"evaluate", "--model", small, "--data", "synthetic", "--limit", "20", "--out", t.TempDir()}
	quiet := finish(t, process(t, args))
	if quiet.code != 0 || strings.Contains(quiet.stderr, "tensorflow:") || strings.Contains(quiet.stderr, ".cc:") {
		t.Errorf("exit code %d: %s", quiet.code, quiet.stderr)
	}
	shown := finish(t, process(t, append(args, "--debug")))
	if shown.code != 0 || !strings.Contains(shown.stderr, "\ntensorflow: info: ") && !strings.HasPrefix(shown.stderr, "tensorflow: info: ") {
		t.Errorf("exit code %d: %s", shown.code, shown.stderr)
	}
	for line := range strings.Lines(shown.stderr) {
		if strings.HasPrefix(line, "I0000") || strings.HasPrefix(line, "WARNING: All log") {
			t.Errorf("a line is as TensorFlow writes it: %s", line)
		}
	}
	if shown.stdout != quiet.stdout {
		t.Errorf("standard output is %q and with --debug %q", quiet.stdout, shown.stdout)
	}
	// What the program says itself is there, the error that ends it too.
	failed := finish(t, process(t, []string{"evaluate", "--model", filepath.Join(small, "none"), "--data", "synthetic", "--debug"}))
	if failed.code != 1 || !strings.Contains(failed.stderr, "residual: ") {
		t.Errorf("exit code %d: %s", failed.code, failed.stderr)
	}
}

func TestLogsAreFolded(t *testing.T) {
	log := "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n" +
		"I0000 00:00:1795664569.788451   24663 port.cc:153] oneDNN custom operations are on.\n" +
		"2026-11-26 03:43:07.123456: W tensorflow/core/common/gpu_device.cc:2344] Cannot dlopen some GPU libraries.\n" +
		"a line of somebody else: I am no log\n" +
		"\n" +
		"no end of line"
	fold := func(format string) string {
		t.Helper()
		command := process(t, []string{"__fold-log", "--log-format", format})
		command.Stdin = strings.NewReader(log)
		o := finish(t, command)
		if o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		return o.stderr
	}
	want := "tensorflow: info: oneDNN custom operations are on. (port.cc:153)\n" +
		"tensorflow: warning: Cannot dlopen some GPU libraries. (tensorflow/core/common/gpu_device.cc:2344)\n" +
		"a line of somebody else: I am no log\n\nno end of line"
	if got := fold(""); got != want {
		t.Errorf("got %q", got)
	}
	first, _, _ := strings.Cut(fold("json"), "\n")
	var got map[string]string
	if err := json.Unmarshal([]byte(first), &got); err != nil || got["msg"] != "tensorflow" || got["severity"] != "info" || got["source"] != "port.cc:153" {
		t.Errorf("got %s, %v", first, err)
	}
	if text := fold("text"); !strings.Contains(text, "msg=tensorflow severity=warning") {
		t.Errorf("got %s", text)
	}
}

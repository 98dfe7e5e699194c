package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// logged trains with these logs and flags in the working directory, which is
// a new one.
func logged(t *testing.T, names string, flags ...string) outcome {
	t.Helper()
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	args := []string{"train", "--model", small, "--data", "synthetic", "--limit", "40", "--epochs", "1", "--out", "run", "--log", names}
	return must(t, append(args, flags...)...)
}

// offlineRun returns the folder of the run's W&B log.
func offlineRun(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("run/wandb/offline-run-*")
	if err != nil || len(found) != 1 {
		t.Fatalf("there are %v (%v), want one run", found, err)
	}
	return found[0]
}

func TestTrainSaysHowToLookAtItsLogs(t *testing.T) {
	o := logged(t, "wandb,tensorboard, csv,wandb")
	for _, want := range []string{"tensorboard --logdir run/tensorboard\n", "wandb sync " + offlineRun(t)} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("%q is not in\n%s", want, o.stdout)
		}
	}
	for _, pattern := range []string{"", "train/", "validation/"} {
		if found, _ := filepath.Glob("run/tensorboard/" + pattern + "events.out.tfevents.*"); len(found) != 1 {
			t.Errorf("run/tensorboard/%s has the event files %v", pattern, found)
		}
	}
}

func TestTrainNotesItsLogs(t *testing.T) {
	type noted struct {
		Log           []string
		Project, Name string
	}
	for name, test := range map[string]struct {
		names string
		flags []string
		want  noted
	}{
		"csv":          {"csv", nil, noted{Log: []string{"csv"}}},
		"tensorboard":  {"tensorboard", nil, noted{Log: []string{"csv", "tensorboard"}}},
		"wandb":        {"wandb", nil, noted{[]string{"csv", "wandb"}, "residual", "run"}},
		"wandb, named": {"wandb", []string{"--project", "p", "--name", "n"}, noted{[]string{"csv", "wandb"}, "p", "n"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := logged(t, test.names, append(test.flags, "--json")...)
			var got noted
			if err := json.Unmarshal([]byte(read(t, "run/config.json")), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("config.json (-want +got):\n%s", diff)
			}
			var said struct {
				Logs     map[string]string
				Warnings []string
			}
			o.lastLine(t, &said)
			for log, path := range said.Logs {
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s: %v", log, err)
				}
			}
			if len(said.Logs) != len(test.want.Log)-1 || said.Warnings != nil {
				t.Errorf("train says %s", o.stdout)
			}
		})
	}
}

// fakeWandb puts a program `wandb` on the PATH that says what it was told, and
// where.
func fakeWandb(t *testing.T, code string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"fake wandb $* in $(pwd -P)\"\nexit " + code + "\n"
	if err := os.WriteFile(filepath.Join(dir, "wandb"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestTrainUploadsToWandB(t *testing.T) {
	fakeWandb(t, "0")
	o := logged(t, "wandb", "--wandb-sync", "--quiet")
	here, err := filepath.Abs("run")
	if err != nil {
		t.Fatal(err)
	}
	want := "fake wandb sync wandb/" + filepath.Base(offlineRun(t)) + " in " + here + "\n"
	if o.stderr != want {
		t.Errorf("standard error has %q, want %q", o.stderr, want)
	}
}

func TestAnUploadThatFailsIsAWarning(t *testing.T) {
	for name, test := range map[string]struct {
		setup func(t *testing.T)
		wants []string
	}{
		"wandb fails":         {func(t *testing.T) { fakeWandb(t, "7") }, []string{"exit status 7"}},
		"wandb is not there":  {func(t *testing.T) { t.Setenv("PATH", t.TempDir()) }, []string{"no program `wandb`", "pip install wandb"}},
		"wandb cannot be run": {func(t *testing.T) { t.Setenv("PATH", unrunnable(t)) }, []string{"wandb"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.setup(t)
			o := logged(t, "wandb", "--wandb-sync", "--quiet", "--json") // must succeed
			var said struct{ Warnings []string }
			if o.lastLine(t, &said); len(said.Warnings) != 1 {
				t.Fatalf("train says %s", o.stdout)
			}
			for _, want := range append(test.wants, "wandb sync "+offlineRun(t)) {
				if !strings.Contains(said.Warnings[0], want) || !strings.Contains(o.stderr, "residual: warning: "+said.Warnings[0]+"\n") {
					t.Errorf("%q is not in %q, or that is not in\n%s", want, said.Warnings[0], o.stderr)
				}
			}
		})
	}
}

// unrunnable is a folder with a program `wandb` whose interpreter is missing.
func unrunnable(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "wandb"), []byte("#!/nosuch\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Two logs fail, the run does not.
func TestLogsThatFailDoNotEndARun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	s := endless(t, dir, "--log", "tensorboard,wandb", "--quiet")
	// Removed folders do not hurt open files: what is new in them fails.
	until(t, "files are in the way of pictures", func() bool {
		found, err := filepath.Glob(filepath.Join(dir, "wandb", "*", "files", "media"))
		if err != nil || len(found) != 1 {
			return false
		}
		for _, folder := range []string{found[0], filepath.Join(dir, "plots")} {
			if os.RemoveAll(folder) != nil || os.WriteFile(folder, nil, 0o644) != nil {
				return false
			}
		}
		return true
	})
	until(t, "two warnings", func() bool { return strings.Count(read(t, s.stderr), "\n") == 2 })
	s.signal(t, syscall.SIGTERM)
	o := s.wait(t)
	if o.code != 143 || strings.Count(o.stderr, "residual: warning: ") != 2 || !strings.Contains(o.stderr, "\nresidual: terminated after step ") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	for _, want := range []string{"write W&B picture", "write training curve", "the training itself is not affected"} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("%q is not in %s", want, o.stderr)
		}
	}
	must(t, "checkpoints", "list", dir, "--verify")
}

func TestAnInterruptedRunIsNotUploaded(t *testing.T) {
	fakeWandb(t, "0")
	dir := filepath.Join(t.TempDir(), "run")
	s := endless(t, dir, "--log", "wandb", "--wandb-sync", "--quiet")
	s.signal(t, syscall.SIGINT)
	o := s.wait(t)
	if o.code != 130 || strings.Contains(o.stderr, "fake wandb") || !strings.Contains(o.stderr, "wandb sync "+dir) {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
}

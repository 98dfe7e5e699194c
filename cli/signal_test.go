package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
)

// started is a process that runs.
type started struct {
	command        *exec.Cmd
	stdout, stderr string // files
}

// start starts a process. Its output goes to files, so that a child that stays
// does not keep wait waiting.
func start(t *testing.T, command *exec.Cmd) started {
	t.Helper()
	dir := t.TempDir()
	s := started{command, filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")}
	stdout, err := os.Create(s.stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(s.stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	command.Stdout, command.Stderr = stdout, stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s started) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := s.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

func (s started) wait(t *testing.T) outcome {
	t.Helper()
	code := exitCodeOf(t, s.command.Wait())
	return outcome{code, read(t, s.stdout), read(t, s.stderr)}
}

// until waits for something to become true. Only a broken program makes it
// wait long.
func until(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !isTrue(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute has gone by, and still not: %s", what)
		}
	}
}

// endless starts a run that never ends by itself, and waits for some steps.
func endless(t *testing.T, out string, flags ...string) started {
	t.Helper()
	args := append([]string{"train", "--model", modeltest.Dir(t, modeltest.Tiny), "--data", "synthetic", "--limit", "50",
		"--batch-size", "16", "--epochs", "100000000", "--threads", "1", "--seed", "5", "--out", out}, flags...)
	s := start(t, process(t, args))
	until(t, "some steps", func() bool {
		steps, err := os.ReadFile(filepath.Join(out, "steps.csv"))
		return err == nil && strings.Count(string(steps), "\n") > 30
	})
	return s
}

func TestASignalEndsARunInGoodOrder(t *testing.T) {
	for _, test := range []struct {
		signal  syscall.Signal
		code    int
		message string
	}{
		{syscall.SIGINT, 130, "interrupted"},
		{syscall.SIGTERM, 143, "terminated"},
	} {
		t.Run(test.signal.String(), func(t *testing.T) {
			run := filepath.Join(t.TempDir(), "run")
			s := endless(t, run)
			s.signal(t, test.signal)
			o := s.wait(t)
			steps := stepsOf(t, run) // fails over a row that is not whole
			last := steps[len(steps)-1][0]
			if last != strconv.Itoa(len(steps)) {
				t.Errorf("steps.csv has %d rows and ends with step %s", len(steps), last)
			}
			wantEnd := fmt.Sprintf("residual: %s after step %s; residual train --out %s --resume goes on from there\n", test.message, last, run)
			if o.code != test.code || o.stdout != "" || !strings.HasSuffix(o.stderr, "\n"+wantEnd) {
				t.Errorf("exit code %d, want %d; standard output %q, standard error ends with\n%s\nwant\n%s",
					o.code, test.code, o.stdout, o.stderr[max(0, len(o.stderr)-300):], wantEnd)
			}
			// The same steps, driven by hand, lead to the same weights.
			again := filepath.Join(t.TempDir(), "again")
			command := process(t, []string{modeltest.Dir(t, modeltest.Tiny), again, last})
			command.Env = append(command.Env, roleVariable+"=replay")
			if o := finish(t, command); o.code != 0 {
				t.Fatalf("replay: %s", o.stderr)
			}
			stopped := filepath.Join(t.TempDir(), "stopped")
			must(t, "checkpoints", "export", "last", "--from", run, "--out", stopped)
			if diff := cmp.Diff(contents(t, again), contents(t, stopped)); diff != "" {
				t.Errorf("the checkpoint is not of the last step: %s", diff)
			}
			for _, model := range []string{run, filepath.Join(run, "model"), filepath.Join(run, "model", "1")} {
				o := finish(t, process(t, []string{"evaluate", "--model", model, "--data", "synthetic"}))
				refused(t, o, 1, model, "not finished", "checkpoints export last --from "+run+" ")
			}
			for _, name := range files(t, run) {
				if strings.Contains(name, "/.") || strings.HasPrefix(name, "model") {
					t.Errorf("there is %s", name)
				}
			}
		})
	}
}

// replay trains as endless does, for so many steps: MODEL OUT STEPS.
func replay(args []string) int {
	err := func() error {
		steps, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		ctx := context.Background()
		model, err := savedmodel.Open(args[0], savedmodel.Options{Threads: 1})
		if err != nil {
			return err
		}
		defer model.Close()
		data, err := dataset.Open(ctx, dataset.Synthetic, dataset.Options{
			Classes: model.Info().Metadata.Classes, Shape: imagefile.Shape{Height: 32, Width: 32, Channels: 3}, Limit: 50,
		})
		if err != nil {
			return err
		}
		for step, err := range pipeline.Steps(ctx, model, data.Train, pipeline.Options{Epochs: steps, BatchSize: 16, Seed: 5}) {
			if err != nil {
				return err
			}
			if step.Number == steps {
				break
			}
		}
		return model.Save(ctx, args[1])
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// contents returns the files below dir by their names.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range files(t, dir) {
		found[name] = read(t, filepath.Join(dir, name))
	}
	return found
}

// A save that fails after Ctrl-C must not look like one that went well.
func TestASignalDoesNotHideThatStepsAreLost(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	s := endless(t, run, "--quiet")
	checkpoints := filepath.Join(run, "checkpoints")
	until(t, "a file is in the place of the checkpoints", func() bool {
		return os.RemoveAll(checkpoints) == nil && os.WriteFile(checkpoints, nil, 0o644) == nil
	})
	until(t, "a warning", func() bool { return strings.Contains(read(t, s.stderr), "it is tried again later\n") })
	s.signal(t, syscall.SIGINT)
	o := s.wait(t)
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "residual: warning: save checkpoint of step ") {
			t.Errorf("a line says %s", line)
		}
	}
	o.stderr = lines[len(lines)-1] + "\n"
	refused(t, o, 1, "save checkpoint", checkpoints, "not a directory", "the run was at step", "the last checkpoint is of step")
}

// A full disk costs a run its logs, and at the end its model, but until then
// there may be room again.
func TestADiskThatFillsUpDoesNotEndARun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, dir, 0, "size=20m")
	run := filepath.Join(dir, "run")
	s := endless(t, run, "--quiet")
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); len(block) > 0; block = block[:len(block)/2] {
		for err == nil {
			_, err = filler.Write(block)
		}
		err = nil
	}
	until(t, "a warning", func() bool { return strings.Contains(read(t, s.stderr), "it is tried again later\n") })
	s.signal(t, syscall.SIGINT)
	o := s.wait(t)
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "residual: ") || !strings.Contains(line, run) || !strings.Contains(strings.ToLower(line), "no space left") {
			t.Errorf("a line says %s", line)
		}
	}
	if last := lines[len(lines)-1]; o.code != 1 || !strings.Contains(last, "the last checkpoint is of step") {
		t.Errorf("exit code %d: %s", o.code, last)
	}
	// With room on the disk it goes on from the last checkpoint there was.
	if err := errors.Join(filler.Close(), os.Remove(filler.Name())); err != nil {
		t.Fatal(err)
	}
	o = finish(t, process(t, []string{"train", "--out", run, "--resume", "--override", "--epochs", strconv.Itoa(lastStep(t, run)/4 + 1), "--quiet"}))
	if o.code != 0 {
		t.Errorf("resumed: exit code %d: %s", o.code, o.stderr)
	}
	must(t, "evaluate", "--model", run, "--data", "synthetic", "--limit", "10")
}

// readingPipe starts a run that waits for one of its images, which comes
// through a pipe, and returns the pipe's other end.
func readingPipe(t *testing.T) (started, *os.File) {
	t.Helper()
	data := petFolders(t, filepath.Join(t.TempDir(), "pets"))
	pipe := filepath.Join(data, "train", "cat", "1.png")
	if err := os.Remove(pipe); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	command := process(t, []string{"train", "--model", modeltest.Dir(t, modeltest.Pets), "--data", data, "--out", "new/run"})
	command.Dir = t.TempDir()
	s := start(t, command)
	var image *os.File
	until(t, "the program reads its images", func() (ok bool) {
		descriptor, err := unix.Open(pipe, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			image = os.NewFile(uintptr(descriptor), pipe)
		}
		return err == nil
	})
	return s, image
}

func TestASignalBeforeTheFirstStepLeavesNothing(t *testing.T) {
	s, image := readingPipe(t)
	s.signal(t, syscall.SIGINT)
	if _, err := image.Write(pngImage(t, 16, 16)); err != nil {
		t.Fatal(err)
	}
	if err := image.Close(); err != nil {
		t.Fatal(err)
	}
	if o := s.wait(t); o.code != 130 || o.stderr != "residual: interrupted\n" || o.stdout != "" {
		t.Errorf("exit code %d, %q, %q", o.code, o.stdout, o.stderr)
	}
	if left := files(t, s.command.Dir); left != nil {
		t.Errorf("it left %v", left)
	}
}

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	s, image := readingPipe(t) // a read that nothing interrupts
	defer image.Close()
	s.signal(t, syscall.SIGINT)
	until(t, "the first signal has arrived", func() bool { return !pending(t, s.command.Process.Pid, syscall.SIGINT) })
	s.signal(t, syscall.SIGTERM)
	if o := s.wait(t); o.code != 143 && o.code != 130 { // two signals at once come in any order
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if left := files(t, s.command.Dir); left != nil {
		t.Errorf("it left %v", left)
	}
}

// pending tells whether a signal waits to be taken by a process.
func pending(t *testing.T, pid int, signal syscall.Signal) bool {
	t.Helper()
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if mask, ok := strings.CutPrefix(line, "ShdPnd:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return bits>>(signal-1)&1 == 1
		}
	}
	return false
}

func TestALossThatIsNoNumberEndsARun(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	o := run("train", "--model", small, "--data", "synthetic", "--limit", "100", "--batch-size", "20", "--learning-rate", "1e38", "--out", "run", "--quiet")
	refused(t, o, 1, "learning rate", "no model was saved", "run")
	said := regexp.MustCompile(`the loss of step (\d+) is (NaN|[+-]Inf)`).FindStringSubmatch(o.stderr)
	if rows := stepsOf(t, "run"); said == nil || said[1] != strconv.Itoa(len(rows)+1) {
		t.Errorf("steps.csv has %d rows: %s", len(rows), o.stderr)
	}
	if slices.ContainsFunc(files(t, "run"), func(name string) bool { return strings.HasPrefix(name, "model") }) {
		t.Errorf("there is a model: %v", files(t, "run"))
	}
}

// What a run's last step did shows in its test, or later.
func TestALastStepThatDiverges(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	must(t, "data", "unpack", "--data", "synthetic", "--limit", "20", "--out", "images")
	train := []string{"train", "--model", small, "--data", "images", "--batch-size", "20", "--epochs", "1", "--learning-rate", "1e20", "--quiet", "--json", "--out"}
	refused(t, run(append(train, "tested")...), 1, "loss", "no model was saved", "tested")

	if err := os.Rename("images/test", "images/unseen"); err != nil {
		t.Fatal(err)
	}
	must(t, append(train, "untested")...)
	if err := os.Rename("images/unseen", "images/test"); err != nil {
		t.Fatal(err)
	}
	refused(t, run("evaluate", "--model", "untested", "--data", "images", "--quiet", "--json"), 1, "loss")
	refused(t, run("predict", "--model", "untested", "images/test/cat/0001.png", "--json"), 1, "images/test/cat/0001.png", "diverged")
}

// What has nothing to do with the weights must not cost them.
func TestACurveThatCannotBeWrittenIsAWarning(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	s := endless(t, dir, "--quiet")
	plots := filepath.Join(dir, "plots")
	until(t, "a file is in the way of the plots", func() bool {
		return os.RemoveAll(plots) == nil && os.WriteFile(plots, nil, 0o644) == nil
	})
	until(t, "a warning", func() bool { return strings.Contains(read(t, s.stderr), "\n") })
	steps := len(read(t, filepath.Join(dir, "steps.csv")))
	until(t, "more steps", func() bool { return len(read(t, filepath.Join(dir, "steps.csv"))) > steps })
	s.signal(t, syscall.SIGINT)
	o := s.wait(t)
	warning, rest, _ := strings.Cut(o.stderr, "\n")
	if !strings.HasPrefix(warning, "residual: warning: ") || !strings.Contains(warning, plots) ||
		o.code != 130 || !strings.HasPrefix(rest, "residual: interrupted after step ") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	must(t, "checkpoints", "list", dir, "--verify")
}

// Whoever reads the log may go away, as head does; the run must not.
func TestAClosedLogDoesNotEndARun(t *testing.T) {
	dir := t.TempDir()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	command := process(t, []string{"train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic", "--limit", "100", "--batch-size", "20", "--epochs", "2", "--out", filepath.Join(dir, "run")})
	command.Stderr = writer
	err = command.Run()
	writer.Close()
	if err != nil {
		t.Errorf("the run ended: %v", err)
	}
	if _, err := savedmodel.Inspect(filepath.Join(dir, "run")); err != nil {
		t.Error(err)
	}
}

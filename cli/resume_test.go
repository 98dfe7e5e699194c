package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// stopped makes a run of 4 epochs of 4 steps that --max-time or a signal has
// ended in its second epoch, and returns its directory.
func stopped(t *testing.T) string {
	t.Helper()
	return stoppedRun(t, modeltest.Small, "--batch-size", "16")
}

// stoppedRun is stopped for a model and flags that make 4 steps of 60 images.
func stoppedRun(t *testing.T, model string, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	args := []string{"train", "--model", modeltest.Dir(t, model), "--data", "synthetic", "--limit", "60",
		"--epochs", "4", "--threads", "1", "--seed", "5", "--out", dir, "--quiet", "--checkpoint-every", "1"}
	s := start(t, process(t, append(args, flags...)))
	// A process that is stopped while it is looked at cannot run away.
	until(t, "the second epoch", func() bool {
		s.signal(t, syscall.SIGSTOP)
		rows, err := os.ReadFile(filepath.Join(dir, "steps.csv"))
		there := err == nil && strings.Count(string(rows), "\n") > 1+5
		if !there {
			s.signal(t, syscall.SIGCONT)
		}
		return there
	})
	s.signal(t, syscall.SIGTERM)
	s.signal(t, syscall.SIGCONT)
	if o := s.wait(t); o.code != 143 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	return dir
}

// config reads a run's config.json.
func config(t *testing.T, run string) (fields struct {
	Epochs       int     `json:"epochs"`
	LearningRate float64 `json:"learning_rate"`
	Keep         int     `json:"keep"`
	Resumed      []struct {
		Step    int                 `json:"step"`
		Changed []map[string]string `json:"changed"`
	} `json:"resumed"`
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, filepath.Join(run, "config.json"))), &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// lastStep returns the newest checkpoint's step.
func lastStep(t *testing.T, run string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(run, "checkpoints", "step-*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("there is no checkpoint (%v)", err)
	}
	step, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(found[len(found)-1]), "step-"))
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func TestARunThatIsThereIsToldOf(t *testing.T) {
	dir := stopped(t)
	check := unchanged(t, dir)
	small := modeltest.Dir(t, modeltest.Small)
	step := lastStep(t, dir)
	refused(t, run("train", "--model", small, "--data", "synthetic", "--out", dir), 2,
		dir, "not finished", fmt.Sprintf("step %d, in epoch %d of 4", step, step/4+1), "--resume", "start over")
	refused(t, run("train", "--out", dir, "--resume=auto", "--epochs", "5", "--learning-rate", "0.5", "--no-shuffle"), 2,
		"--epochs 5, which was 4", "--learning-rate 0.5, which was 0.01", "--no-shuffle true, which was false", "--override")
	refused(t, run("train", "--out", dir, "--resume", "--model", modeltest.Dir(t, modeltest.Tiny)), 1, "tiny is not the model", dir, "fingerprint")
	refused(t, run("train", "--out", dir, "--resume", "--limit", "50"), 1, "training data", "50 images", "60 images")
	images := filepath.Join(t.TempDir(), "images")
	must(t, "data", "unpack", "--data", "synthetic", "--limit", "60", "--out", images)
	refused(t, run("train", "--out", dir, "--resume", "--data", images), 1, "training data of "+images, "60 images with the fingerprint")
	refused(t, run("train", "--out", dir, "--resume", "--override", "--seed", "6"), 1, "the seed, which can change only between epochs", "it was 5, it is 6")
	check()
}

func TestAResumedRunIsTheSameRun(t *testing.T) {
	dir := stopped(t)
	step := lastStep(t, dir)
	// In processes of their own: how many threads there are is decided once in each.
	o := finish(t, process(t, []string{"train", "--out", dir, "--resume", "--keep", "3"}))
	if o.code != 0 || !strings.Contains(o.stderr, fmt.Sprintf("going on with %s after step %d", dir, step)) {
		t.Errorf("it says %s", o.stderr)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	uncut := finish(t, process(t, []string{"train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic",
		"--limit", "60", "--batch-size", "16", "--epochs", "4", "--threads", "1", "--seed", "5", "--out", whole, "--quiet"}))
	if uncut.code != 0 {
		t.Fatalf("exit code %d: %s", uncut.code, uncut.stderr)
	}
	steps, weights := result(t, dir)
	wantSteps, wantWeights := result(t, whole)
	if weights != wantWeights || steps != wantSteps {
		t.Errorf("it ended as another run: %s", cmp.Diff(wantSteps, steps))
	}
	// The curve has the steps from before, and as many points as the other's.
	points := regexp.MustCompile(`[\d.]+,[\d.]+`)
	picture, wantPicture := read(t, filepath.Join(dir, "plots", "training.svg")), read(t, filepath.Join(whole, "plots", "training.svg"))
	if got, want := len(points.FindAllString(picture, -1)), len(points.FindAllString(wantPicture, -1)); got != want {
		t.Errorf("the curve has %d points, want %d", got, want)
	}
	c := config(t, dir)
	if len(c.Resumed) != 1 || c.Resumed[0].Step != step || c.Resumed[0].Changed != nil || c.Keep != 3 {
		t.Errorf("config.json says %+v", c)
	}

	// There is nothing left to do.
	check := unchanged(t, dir)
	for _, flag := range []string{"--resume", "--resume=auto"} {
		again := must(t, "train", "--out", dir, flag)
		if !strings.Contains(again.stderr, dir+" is finished") || again.stdout == "" || !strings.HasPrefix(o.stdout, again.stdout[:100]) {
			t.Errorf("%s says %s%s", flag, again.stderr, again.stdout)
		}
	}
	var first, second trainOutcome
	must(t, "train", "--out", whole, "--resume", "--json").lastLine(t, &first)
	must(t, "train", "--out", dir, "--resume", "--json").lastLine(t, &second)
	first.Run, first.Model, first.ImagesPerSecond, first.DataWait = second.Run, second.Model, second.ImagesPerSecond, second.DataWait
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two reports of the same: %s", diff)
	}
	refused(t, run("train", "--model", "m", "--data", "synthetic", "--out", dir), 2, dir, "finished", "model/1")
	refused(t, run("train", "--out", dir, "--resume", "--epochs", "5"), 2, dir+" is finished", "--epochs 5, which was 4", "--override")
	refused(t, run("train", "--out", dir, "--resume", "--override", "--epochs", "3"), 1,
		"the number of epochs, of which 4 have begun, is not the same: it was 4, it is 3")
	check()

	// It can go on beyond its end, as if it had been longer from the start.
	longer := filepath.Join(t.TempDir(), "longer")
	for _, args := range [][]string{
		{"train", "--out", dir, "--resume", "--epochs", "5", "--override", "--quiet"},
		{"train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic", "--limit", "60", "--batch-size", "16", "--epochs", "5",
			"--threads", "1", "--seed", "5", "--out", longer, "--quiet"},
	} {
		if o := finish(t, process(t, args)); o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
	}
	steps, weights = result(t, dir)
	wantSteps, wantWeights = result(t, longer)
	if weights != wantWeights || steps != wantSteps {
		t.Errorf("it went on as another run: %s", cmp.Diff(wantSteps, steps))
	}
	if err := os.RemoveAll(filepath.Join(dir, "checkpoints")); err != nil {
		t.Fatal(err)
	}
	if o := must(t, "train", "--out", dir, "--resume"); strings.Contains(o.stdout, "accuracy") || !strings.Contains(o.stdout, dir+"/model/1") {
		t.Errorf("without its checkpoints it says %s", o.stdout)
	}
}

func TestOverride(t *testing.T) {
	dir := stopped(t)
	o := must(t, "train", "--out", dir, "--resume", "--override", "--learning-rate", "0.5", "--epochs", "3")
	if !strings.Contains(o.stderr, "overriding --epochs 3, which was 4\noverriding --learning-rate 0.5, which was 0.01\n") {
		t.Errorf("it says %s", o.stderr)
	}
	c := config(t, dir)
	want := []map[string]string{
		{"setting": "epochs", "was": "4", "is": "3"},
		{"setting": "learning-rate", "was": "0.01", "is": "0.5"},
	}
	if len(c.Resumed) != 1 || cmp.Diff(want, c.Resumed[0].Changed) != "" || c.Epochs != 3 || c.LearningRate != 0.5 {
		t.Errorf("config.json says %+v", c)
	}
	steps := stepsOf(t, dir)
	if len(steps) != 12 || steps[0][4] != "0.01" || steps[11][4] != "0.5" {
		t.Errorf("the steps are %v", steps)
	}
}

func TestPlacesWhereARunBegins(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	for _, test := range []struct {
		name  string
		setup func(t *testing.T, dir string)
	}{
		{"nothing", func(*testing.T, string) {}},
		{"an empty folder", func(t *testing.T, dir string) {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"a start that was killed", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, ".lock"), []byte("process 1\n"))
			write(t, filepath.Join(dir, ".residual-graph-123", "saved_model.pb"), nil)
			write(t, filepath.Join(dir, "graph", "saved_model.pb"), nil)
			write(t, filepath.Join(dir, ".config.json123"), []byte("{"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			test.setup(t, dir)
			refused(t, run("train", "--model", small, "--data", "synthetic", "--out", dir, "--resume"), 1, dir, "no run", "--resume=auto")
			must(t, "train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", dir, "--resume=auto", "--quiet")
			for _, name := range files(t, dir) {
				if base := filepath.Base(name); strings.HasPrefix(base, ".") && base != ".lock" {
					t.Errorf("there is %s", name)
				}
			}
		})
	}
}

// Killed before its first checkpoint, a run begins again, in the same files.
func TestARunWithoutACheckpointBeginsAgain(t *testing.T) {
	dir := stopped(t)
	checkpoints := filepath.Join(dir, "checkpoints")
	if err := os.Rename(checkpoints, checkpoints+".lost"); err != nil {
		t.Fatal(err)
	}
	// A disk that is not mounted is no reason to begin again.
	refused(t, run("train", "--out", dir, "--resume=auto"), 1, dir, "there is no checkpoint in "+checkpoints, "start over")
	if err := os.Mkdir(checkpoints, 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, run("train", "--out", dir, "--resume=auto"), 1, dir, "there is no checkpoint in "+checkpoints, "start over")
	// Killed between the row of the first epoch and its checkpoint.
	early := filepath.Join(t.TempDir(), "early")
	if err := os.CopyFS(early, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for name, rows := range map[string]int{"steps.csv": 1 + 4, "metrics.csv": 1 + 1} {
		lines := slices.Collect(strings.Lines(read(t, filepath.Join(early, name))))
		write(t, filepath.Join(early, name), []byte(strings.Join(lines[:rows], "")))
	}
	if o := must(t, "train", "--out", early, "--resume=auto"); !strings.Contains(o.stderr, "from the beginning") || len(stepsOf(t, early)) != 16 || len(epochsOf(t, early)) != 4 {
		t.Errorf("it says %s", o.stderr)
	}
	head, _, _ := strings.Cut(read(t, filepath.Join(dir, "metrics.csv")), "\n")
	write(t, filepath.Join(dir, "metrics.csv"), []byte(head+"\n")) // no epoch is whole
	refused(t, run("train", "--model", "m", "--data", "synthetic", "--out", dir), 2, "it has no checkpoint yet", "--resume")
	o := must(t, "train", "--out", dir, "--resume=auto")
	if !strings.Contains(o.stderr, "from the beginning") || len(stepsOf(t, dir)) != 16 || len(epochsOf(t, dir)) != 4 {
		t.Errorf("it says %s", o.stderr)
	}
}

func TestDamagedCheckpointsArePassedOver(t *testing.T) {
	dir := stopped(t)
	found, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*"))
	if err != nil || len(found) < 2 {
		t.Fatalf("%v, %v", found, err)
	}
	newest, before := found[len(found)-1], found[len(found)-2]
	data := []byte(read(t, filepath.Join(newest, "variables.data-00000-of-00001")))
	data[len(data)/2] ^= 1
	write(t, filepath.Join(newest, "variables.data-00000-of-00001"), data)

	if o := must(t, "checkpoints", "list", dir); strings.Contains(o.stdout, "damaged") {
		t.Errorf("sizes alone cannot tell: %s", o.stdout)
	}
	o := run("checkpoints", "list", dir, "--verify")
	if o.code != 1 || !strings.Contains(o.stdout, newest+"/variables.data-00000-of-00001 is damaged") ||
		!strings.Contains(o.stderr, "1 of ") {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	model := filepath.Join(t.TempDir(), "model")
	refused(t, run("checkpoints", "export", fmt.Sprint(lastStep(t, dir)), "--from", dir, "--out", model), 1, newest, "damaged")

	o = must(t, "train", "--out", dir, "--resume", "--quiet")
	want := "residual: warning: " + newest + "/variables.data-00000-of-00001 is damaged: its contents are not those that were saved (SHA-256); " +
		"going on from step " + strings.TrimLeft(strings.TrimPrefix(filepath.Base(before), "step-"), "0") + ", the one before\n"
	if o.stderr != want || len(stepsOf(t, dir)) != 16 {
		t.Errorf("it says\n%swant\n%s", o.stderr, want)
	}
}

func TestNoCheckpointIsWhole(t *testing.T) {
	dir := stopped(t)
	found, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*", "MANIFEST"))
	if err != nil || len(found) < 2 {
		t.Fatalf("%v, %v", found, err)
	}
	for _, manifest := range found {
		write(t, manifest, nil)
	}
	check := unchanged(t, dir)
	for _, flag := range []string{"--resume", "--resume=auto"} { // hours of work are not thrown away without being asked
		refused(t, run("train", "--out", dir, flag), 1, found[len(found)-1], "no checkpoint is whole", fmt.Sprintf("and so with %d more", len(found)-1))
	}
	refused(t, run("checkpoints", "export", "last", "--from", dir, "--out", filepath.Join(t.TempDir(), "x")), 1, append(found, "no checkpoint is whole")...)
	check()
}

func TestTheLockKeepsOthersOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	s := endless(t, dir, "--quiet")
	small := modeltest.Dir(t, modeltest.Small)
	for _, flags := range [][]string{{"--model", small, "--data", "synthetic"}, {"--resume"}, {"--resume=auto"}} {
		o := run(append([]string{"train", "--out", dir}, flags...)...)
		refused(t, o, 75, dir+" is in use", fmt.Sprintf("process %d", s.command.Process.Pid))
	}
	s.signal(t, syscall.SIGKILL)
	s.wait(t)
	must(t, "train", "--out", dir, "--resume", "--override", "--epochs", strconv.Itoa(lastStep(t, dir)/4+1), "--quiet") // a stale one keeps nobody out
}

func TestSIGUSR1SavesACheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	s := endless(t, dir, "--quiet", "--limit", "1000", "--batch-size", "2")
	s.signal(t, syscall.SIGUSR1)
	until(t, "a checkpoint in the middle of an epoch", func() bool {
		found, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*"))
		if err != nil || !s.running(t) {
			t.Fatalf("%v; %s", err, read(t, s.stderr))
		}
		return len(found) > 0 && lastStep(t, dir)%500 != 0
	})
	s.signal(t, syscall.SIGINT)
	if o := s.wait(t); o.code != 130 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
}

// A model and data that were given from another directory are found from here.
func TestAResumeFromAnotherDirectory(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "models", "small"), os.DirFS(modeltest.Dir(t, modeltest.Small))); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	must(t, "data", "unpack", "--data", "synthetic", "--limit", "20", "--out", "images")
	must(t, "train", "--model", "models/small", "--data", "images", "--epochs", "1", "--out", "run[1]", "--quiet")
	t.Chdir(t.TempDir())
	dir := filepath.Join(root, "run[1]")
	must(t, "train", "--out", dir, "--resume", "--override", "--epochs", "2", "--quiet")
	must(t, "checkpoints", "export", "last", "--from", dir, "--out", "a*[b]")
	must(t, "evaluate", "--model", "a*[b]", "--data", "synthetic", "--limit", "10", "--quiet")
	if err := os.Rename(filepath.Join(root, "models"), filepath.Join(root, "moved")); err != nil {
		t.Fatal(err)
	}
	refused(t, run("train", "--out", dir, "--resume", "--override", "--epochs", "3"), 1, "models/small", dir+"/config.json", "give --model")
	must(t, "train", "--out", dir, "--resume", "--override", "--epochs", "3", "--model", filepath.Join(root, "moved", "small"), "--quiet")
}

// A run that stopped early goes on when it is told to, also if it is killed before
// its next checkpoint.
func TestARunThatStoppedEarlyGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	must(t, "train", "--model", modeltest.Dir(t, modeltest.Tiny), "--data", "synthetic", "--limit", "1000", "--batch-size", "1", "--epochs", "9",
		"--learning-rate", "1e-30", "--early-stopping", "1", "--out", dir, "--quiet")
	if n := len(epochsOf(t, dir)); n != 2 {
		t.Fatalf("it stopped after %d epochs", n)
	}
	s := start(t, process(t, []string{"train", "--out", dir, "--resume", "--override", "--early-stopping", "0", "--epochs", "4", "--quiet"}))
	until(t, "a further step", func() bool { return strings.Contains(read(t, filepath.Join(dir, "steps.csv")), "\n2001,") })
	s.signal(t, syscall.SIGKILL)
	s.wait(t)
	must(t, "train", "--out", dir, "--resume", "--quiet")
	if n := len(epochsOf(t, dir)); n != 4 {
		t.Errorf("it ended after %d epochs", n)
	}
}

func TestTheCheckpointOfAnotherRunIsRefused(t *testing.T) {
	dir, other := stopped(t), stopped(t)
	settings := []byte(strings.Replace(read(t, filepath.Join(dir, "config.json")), `"seed": 5`, `"seed": 6`, 1))
	write(t, filepath.Join(dir, "config.json"), settings)
	refused(t, run("train", "--out", dir, "--resume"), 1, dir+"/checkpoints/step-", "of another run", "Seed:5", "Seed:6")
	// Tables that were changed are no reason to write into the middle of a row.
	steps := filepath.Join(other, "steps.csv")
	write(t, steps, []byte(strings.Replace(read(t, steps), "\n2,", "\n  2,", 1)))
	must(t, "train", "--out", other, "--resume", "--quiet")
	if rows := strings.Split(strings.TrimSpace(read(t, steps)), "\n"); !strings.HasPrefix(rows[len(rows)-1], "16,4,") {
		t.Errorf("steps.csv ends with %s", rows[len(rows)-1])
	}
}

func TestARunWhoseDirectoryIsMoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	s := endless(t, dir)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	until(t, "a warning", func() bool { return strings.Contains(read(t, s.stderr), dir+" was moved or removed") })
	s.signal(t, syscall.SIGINT)
	o := s.wait(t)
	if o.code != 1 || !strings.Contains(o.stderr, "the last checkpoint is of step") {
		t.Errorf("exit code %d: %s", o.code, o.stderr[max(0, len(o.stderr)-500):])
	}
	if _, err := os.Stat(filepath.Join(dir, "checkpoints")); err == nil {
		t.Error("there are checkpoints where the run is not any more")
	}
	must(t, "checkpoints", "list", dir+".moved", "--verify")
}

func TestPlacesThatAreNoRun(t *testing.T) {
	whole := stopped(t)
	for _, test := range []struct {
		name  string
		setup func(t *testing.T, dir string) error
		wants []string
	}{
		{"an empty model", func(_ *testing.T, dir string) error { return os.MkdirAll(filepath.Join(dir, "model", "1"), 0o755) }, []string{"model/1", "remove it"}},
		{"a file for a model", func(t *testing.T, dir string) error { write(t, filepath.Join(dir, "model", "1"), nil); return nil }, []string{"model/1", "remove it"}},
		{"a file for the models", func(t *testing.T, dir string) error { write(t, filepath.Join(dir, "model"), nil); return nil }, []string{"model: not a directory"}},
		{"checkpoints without a config", func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "config.json")) }, []string{"no run"}},
		{"a pipe for a config", func(_ *testing.T, dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "config.json")), unix.Mkfifo(filepath.Join(dir, "config.json"), 0o644))
		}, []string{"config.json", "not a file"}},
		{"a link for checkpoints", func(_ *testing.T, dir string) error {
			checkpoints := filepath.Join(dir, "checkpoints")
			return errors.Join(os.RemoveAll(checkpoints), os.Symlink("/nowhere/at/all", checkpoints))
		}, []string{"no checkpoint in"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := copyOf(t, whole)
			if err := test.setup(t, dir); err != nil {
				t.Fatal(err)
			}
			check := unchanged(t, dir)
			for _, flag := range []string{"--resume", "--resume=auto"} {
				refused(t, run("train", "--out", dir, flag), 1, append(test.wants, dir)...)
			}
			check()
		})
	}
	// The lock may be a link.
	linked := copyOf(t, whole)
	lock := filepath.Join(linked, ".lock")
	if err := errors.Join(os.Remove(lock), os.Symlink(filepath.Join(t.TempDir(), "lock"), lock)); err != nil {
		t.Fatal(err)
	}
	must(t, "train", "--out", linked, "--resume", "--quiet")
}

func TestMaxTimeEndsARunInGoodOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	args := []string{"train", "--model", modeltest.Dir(t, modeltest.Tiny), "--data", "synthetic", "--limit", "50", "--epochs", "100000000",
		"--out", dir, "--max-time", "2s", "--json"}
	o := finish(t, process(t, args))
	if o.code != 75 || !strings.Contains(o.stderr, "\nresidual: --max-time was over after step ") || !strings.HasSuffix(o.stderr, "goes on from there\n") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	var trained trainOutcome
	if o.lastLine(t, &trained); trained.Steps != lastStep(t, dir) || trained.Steps == 0 || trained.Model != "" {
		t.Errorf("it says %s, its last checkpoint is of step %d", o.stdout, lastStep(t, dir))
	}
	// Too short for a step: to start it again would go on for ever.
	empty := filepath.Join(t.TempDir(), "none")
	refused(t, finish(t, process(t, append(args, "--out", empty, "--max-time", "1ms"))), 1, "--max-time 1ms was over before the next step")
	if _, err := os.Stat(empty); err == nil {
		t.Error("it left something")
	}
	refused(t, finish(t, process(t, []string{"train", "--out", dir, "--resume", "--quiet", "--max-time", "1ms"})), 1, "--max-time 1ms was over before the next step")
}

func TestCheckpointsExport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	must(t, "train", "--model", modeltest.Dir(t, modeltest.Small), "--data", "synthetic", "--limit", "60", "--batch-size", "16",
		"--epochs", "3", "--out", dir, "--quiet", "--keep", "1")
	var list struct {
		Checkpoints []struct {
			Step  int  `json:"step"`
			Best  bool `json:"best"`
			Valid bool `json:"valid"`
		} `json:"checkpoints"`
	}
	must(t, "checkpoints", "list", dir, "--json").lastLine(t, &list)
	if n := len(list.Checkpoints); n != 1 || list.Checkpoints[0].Step != 12 || !list.Checkpoints[0].Valid || !list.Checkpoints[0].Best {
		t.Errorf("list says %+v", list)
	}
	out := t.TempDir()
	trained := contents(t, filepath.Join(dir, "model", "1"))
	for _, which := range []string{"12", "last", "best"} {
		o := must(t, "checkpoints", "export", which, "--from", dir, "--out", filepath.Join(out, which), "--json")
		needFields(t, o, "run", "step", "model")
		if diff := cmp.Diff(trained, contents(t, filepath.Join(out, which))); diff != "" {
			t.Errorf("%s is not the trained model: %.2000s", which, diff)
		}
	}
	check := unchanged(t, out)
	refused(t, run("checkpoints", "export", "7", "--from", dir, "--out", filepath.Join(out, "7")), 1, "step 7", "only 12")
	refused(t, run("checkpoints", "export", "last", "--from", dir, "--out", filepath.Join(out, "12")), 1, "12 exists")
	refused(t, run("checkpoints", "export", "last", "--from", out, "--out", filepath.Join(out, "x")), 1, out, "not a run directory")
	if err := os.RemoveAll(filepath.Join(dir, "graph")); err != nil {
		t.Fatal(err)
	}
	refused(t, run("checkpoints", "export", "last", "--from", dir, "--out", filepath.Join(out, "x")), 1, filepath.Join(dir, "graph"), "no such file")
	check()
}

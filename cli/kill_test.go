package cli_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

var kills = flag.Int("kills", 12, "how often TestARunSurvivesKills kills")

// killable is a run that is killed and resumed until it has come to its end.
type killable struct {
	dir     string
	batches int  // of an epoch
	hold    bool // the data, which changes nothing
}

// The run has all that a run can have whose state must be kept: dropout, so that
// its steps need random numbers, an optimizer with slots, schedules that depend
// on the step and on earlier epochs, and a test as long as its training.
var killableArgs = []string{
	"--data", "synthetic", "--limit", "160", "--batch-size", "8", "--epochs", "3", "--threads", "1", "--seed", "11",
	"--validation-split", "0.2", "--schedule", "cosine", "--warmup", "5", "--plateau", "1", "--early-stopping", "3",
	"--checkpoint-every", "7", "--log", "tensorboard,wandb", "--name", "killed",
}

func (k killable) start(t *testing.T) started {
	t.Helper()
	args := append([]string{"train", "--model", modeltest.Dir(t, modeltest.Pets), "--out", k.dir, "--resume=auto", "--quiet"}, killableArgs...)
	if k.hold {
		args = append(args, "--hold-data", "on")
	}
	return start(t, process(t, args))
}

// moment is what a run was doing.
type moment string

const (
	starting   moment = "start"
	stepping   moment = "step"
	saving     moment = "save"
	evaluating moment = "evaluation"
	ending     moment = "end"
)

// moment looks at the files.
func (k killable) moment() moment {
	drafts, _ := filepath.Glob(filepath.Join(k.dir, "checkpoints", ".residual-*"))
	models, _ := filepath.Glob(filepath.Join(k.dir, "model", ".residual-*"))
	steps, epochs := k.rows("steps.csv"), k.rows("metrics.csv")
	switch {
	case len(models) > 0:
		return ending
	case len(drafts) > 0:
		return saving
	case steps > 0 && steps == (epochs+1)*k.batches:
		return evaluating
	case steps > epochs*k.batches:
		return stepping
	default:
		return starting
	}
}

// rows counts the whole rows of a table without its head.
func (k killable) rows(table string) int {
	data, err := os.ReadFile(filepath.Join(k.dir, table))
	if err != nil {
		return 0
	}
	return max(0, strings.Count(string(data), "\n")-1)
}

// outcome is all that must be the same, however often a run was killed: weights
// and optimizer, and the tables without what tells the time.
func (k killable) outcome(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{"variables.index", "variables.data-00000-of-00001"} {
		found["model "+name] = read(t, filepath.Join(k.dir, "model", "1", "variables", name))
		last := fmt.Sprintf("checkpoints/step-%08d/%s", 3*k.batches, name)
		found[last] = read(t, filepath.Join(k.dir, last))
	}
	for _, row := range stepsOf(t, k.dir) {
		found["steps.csv"] += strings.Join(row[:5], ",") + "\n"
	}
	for _, row := range table(t, filepath.Join(k.dir, "metrics.csv"), "epoch", "step", "train_loss", "train_accuracy",
		"test_loss", "test_accuracy", "seconds", "validation_loss", "validation_accuracy") {
		found["metrics.csv"] += strings.Join(slices.Delete(row, 6, 7), ",") + "\n"
	}
	return found
}

// A real process is killed at random moments, and at moments that are rare, and
// started again each time: it ends with the same bits as one that was not.
func TestARunSurvivesKills(t *testing.T) {
	whole := killable{filepath.Join(t.TempDir(), "whole"), 16, false}
	began := time.Now()
	if o := whole.start(t).wait(t); o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	life := time.Since(began) // of a whole run, start included
	want := whole.outcome(t)
	if n := strings.Count(want["steps.csv"], "\n"); n != 3*whole.batches {
		t.Fatalf("the run has %d steps", n)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d; a whole run takes %v", seed, life)
	killedAt, runs, resumed := map[moment]int{}, 0, 0
	for killed := 0; killed < *kills; runs++ {
		k := killable{filepath.Join(t.TempDir(), "run"), whole.batches, runs%2 == 1}
		lives := 0
		for {
			if saved, _ := filepath.Glob(filepath.Join(k.dir, "checkpoints", "step-*")); len(saved) > 0 {
				resumed++
			}
			s := k.start(t)
			lives++
			if killed < *kills && s.kill(t, k, random, life, killed%2 == 1) {
				killed++
				killedAt[k.moment()]++
			}
			if o := s.wait(t); o.code == 0 {
				break
			} else if o.code != -1 || strings.Contains(o.stderr, "warning") { // -1: by a signal
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
		}
		if diff := cmp.Diff(want, k.outcome(t)); diff != "" {
			t.Fatalf("after %d lives the run is another one: %.3000s", lives, diff)
		}
		for _, name := range listing(t, k.dir) {
			if strings.Contains(name, ".residual-") || strings.Contains(name, "/.training") {
				t.Errorf("it left %s", name)
			}
		}
		must(t, "checkpoints", "list", k.dir, "--verify")
	}
	t.Logf("%d kills in %d runs, during %v; %d lives went on from a checkpoint", *kills, runs, killedAt, resumed)
	if resumed < *kills/4 {
		t.Error("that is too few to show anything")
	}
	for _, at := range []moment{starting, stepping, saving, evaluating, ending} {
		if *kills >= 100 && killedAt[at] == 0 {
			t.Errorf("none came during %s", at)
		}
	}
}

// kill kills a process at a moment that is drawn; a late one is after a new
// checkpoint. It returns false if the process has come to its end before.
func (s started) kill(t *testing.T, k killable, random *rand.Rand, life time.Duration, late bool) bool {
	t.Helper()
	after := time.Duration(random.Int64N(int64(life)))
	wanted := []moment{"", "", stepping, saving, evaluating, ending}[random.IntN(6)]
	if late {
		steps := k.rows("steps.csv")
		until(t, "a new checkpoint", func() bool { return k.rows("steps.csv") > steps+8 || !s.running(t) })
		after /= 4 // what is left is shorter than a life
	}
	deadline := time.Now().Add(after)
	for time.Now().Before(deadline) && s.running(t) {
		if at := k.moment(); wanted != "" && at == wanted {
			time.Sleep(time.Duration(random.IntN(3000)) * time.Microsecond)
			break
		}
		time.Sleep(200 * time.Microsecond)
	}
	if !s.running(t) {
		return false
	}
	s.signal(t, syscall.SIGKILL)
	return true
}

// running tells whether a process has not come to its end.
func (s started) running(t *testing.T) bool {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(s.command.Process.Pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

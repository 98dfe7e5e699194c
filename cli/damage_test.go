package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// copyOf copies a directory to a new place.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Each file of the newest checkpoint is damaged in each way: it is refused by
// its name, and the run goes on from the one before and says so.
func TestEveryFileOfACheckpointMayBeDamaged(t *testing.T) {
	whole := stopped(t)
	found, err := filepath.Glob(filepath.Join(whole, "checkpoints", "step-*"))
	if err != nil || len(found) < 2 {
		t.Fatalf("%v, %v", found, err)
	}
	newest, before := filepath.Base(found[len(found)-1]), filepath.Base(found[len(found)-2])
	step := strings.TrimLeft(strings.TrimPrefix(before, "step-"), "0")
	names := files(t, found[len(found)-1])
	if want := []string{"MANIFEST", "state.json", "variables.data-00000-of-00001", "variables.index"}; !slices.Equal(names, want) {
		t.Fatalf("the checkpoint has %v", names)
	}
	for _, damage := range []struct {
		name string
		of   func(data []byte, other string) []byte // nil removes the file
	}{
		{"truncated", func(data []byte, _ string) []byte { return data[:len(data)/2] }},
		{"emptied", func([]byte, string) []byte { return []byte{} }},
		{"a bit flipped", func(data []byte, _ string) []byte { data[len(data)/3] ^= 4; return data }},
		{"deleted", func([]byte, string) []byte { return nil }},
		{"swapped with another", func(_ []byte, other string) []byte { return []byte(other) }},
		{"of the checkpoint before", nil},
	} {
		for i, name := range names {
			t.Run(damage.name+" "+name, func(t *testing.T) {
				run := copyOf(t, whole)
				path := filepath.Join(run, "checkpoints", newest, name)
				var data []byte
				if damage.of == nil {
					data = []byte(read(t, filepath.Join(run, "checkpoints", before, name)))
				} else {
					other := read(t, filepath.Join(run, "checkpoints", newest, names[(i+1)%len(names)]))
					data = damage.of([]byte(read(t, path)), other)
				}
				if data == nil {
					err = os.Remove(path)
				} else if err = os.WriteFile(path, data, 0o644); bytes.Equal(data, []byte(read(t, filepath.Join(whole, "checkpoints", newest, name)))) {
					t.Skip("the two are the same")
				}
				if err != nil {
					t.Fatal(err)
				}
				o := must(t, "train", "--out", run, "--resume", "--quiet")
				begin, end := "residual: warning: "+filepath.Join(run, "checkpoints", newest), "; going on from step "+step+", the one before\n"
				if !strings.HasPrefix(o.stderr, begin) || !strings.HasSuffix(o.stderr, end) || strings.Count(o.stderr, "\n") != 1 {
					t.Errorf("it says %s", o.stderr)
				}
				if rows := stepsOf(t, run); len(rows) != 16 {
					t.Errorf("the run ended with %d steps", len(rows))
				}
			})
		}
	}
}

// A disk that is read-only costs nothing but the time until it is not.
func TestAResumeOnAReadOnlyDisk(t *testing.T) {
	run0 := stopped(t)
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, disk, 0, "size=64m")
	dir := filepath.Join(disk, "run")
	if err := os.CopyFS(dir, os.DirFS(run0)); err != nil {
		t.Fatal(err)
	}
	remount := func(flags uintptr) {
		if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	refused(t, run("train", "--out", dir, "--resume"), 1, dir, "read-only file system")
	refused(t, run("train", "--model", "m", "--data", "synthetic", "--out", dir), 2, dir, "not finished", "--resume")
	must(t, "checkpoints", "list", dir, "--verify")
	remount(0)
	must(t, "train", "--out", dir, "--resume", "--quiet")
}

var mutated = flag.Int("mutated", 4, "in how many ways TestFilesThatWereChanged changes each file; 0 is all")

// mutation changes one thing of a file.
type mutation struct {
	what string
	data []byte
}

// jsonMutations gives each field of an object each wrong value.
func jsonMutations(t *testing.T, data []byte) (found []mutation) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, wrong := range []string{`-1`, `1e99`, `"x"`, `[]`, `{}`, `null`, `true`} {
			changed := maps.Clone(fields)
			changed[name] = json.RawMessage(wrong)
			text, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, mutation{fmt.Sprintf("%s: %s", name, wrong), text})
		}
	}
	return found
}

// byteMutations cuts a file, flips bits of it, and puts bytes into it.
func byteMutations(data []byte, random *rand.Rand, n int) (found []mutation) {
	found = append(found, mutation{"empty", nil}, mutation{"zeros", make([]byte, len(data))}, mutation{"twice", append(slices.Clone(data), data...)})
	for range n {
		at := random.IntN(len(data))
		flipped := slices.Clone(data)
		flipped[at] ^= 1 << random.IntN(8)
		found = append(found,
			mutation{fmt.Sprintf("cut after %d bytes", at), data[:at]},
			mutation{fmt.Sprintf("a bit of byte %d flipped", at), flipped},
			mutation{fmt.Sprintf("ones after %d bytes", at), slices.Concat(data[:at], bytes.Repeat([]byte{0xff}, 9), data[at:])})
	}
	return found
}

// Files are changed at random, and the program itself is run on them: it may find
// nothing wrong, else it says in one sentence what is.
func TestFilesThatWereChanged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	half := stopped(t)
	newest := fmt.Sprintf("checkpoints/step-%08d/", lastStep(t, half))
	small := modeltest.Dir(t, modeltest.Small)
	pets := petFolders(t, filepath.Join(t.TempDir(), "pets"))
	jpeg := filepath.Join(t.TempDir(), "images")
	write(t, filepath.Join(jpeg, "x.jpg"), jpegImage(t, 40, 30))
	done := filepath.Join(t.TempDir(), "done")
	must(t, "train", "--model", small, "--data", "synthetic", "--limit", "20", "--epochs", "1", "--out", done, "--quiet")
	cifar := filepath.Join(t.TempDir(), "cifar")
	write(t, filepath.Join(cifar, "data_batch_1.bin"), bytes.Repeat([]byte{3}, 3*3073))

	total, refusals := 0, 0
	var slowest time.Duration
	for _, test := range []struct {
		dir, file string
		json      bool
		args      string // DIR is the directory, NEW a new one
	}{
		{half, "config.json", true, "train --out DIR --resume --quiet"},
		{half, "config.json", false, "train --out DIR --resume --quiet"},
		{half, newest + "state.json", true, "checkpoints list DIR"},
		{half, newest + "state.json", false, "checkpoints list DIR"},
		{half, newest + "MANIFEST", false, "checkpoints list DIR --verify"},
		{half, newest + "variables.index", false, "checkpoints export last --from DIR --out NEW"},
		{half, "graph/saved_model.pb", false, "checkpoints export last --from DIR --out NEW"},
		{half, "steps.csv", false, "plot DIR --out NEW.png"},
		{half, "metrics.csv", false, "plot DIR --out NEW.png"},
		{small, "saved_model.pb", false, "evaluate --model DIR --data synthetic --limit 10 --quiet"},
		{small, "variables/variables.index", false, "evaluate --model DIR --data synthetic --limit 10 --quiet"},
		{small, "assets.extra/residual.json", true, "train --model DIR --data synthetic --limit 10 --epochs 1 --out NEW --quiet"},
		{small, "assets.extra/residual.json", false, "summary --model DIR"},
		{pets, "train/cat/1.png", false, "train --model PETS --data DIR --epochs 1 --out NEW --quiet"},
		{jpeg, "x.jpg", false, "predict --model SMALL DIR/x.jpg"},
		{cifar, "data_batch_1.bin", false, "train --model SMALL --data DIR --epochs 1 --out NEW --quiet"},
		{done, "config.json", false, "train --out DIR --resume --quiet"},
	} {
		original := []byte(read(t, filepath.Join(test.dir, test.file)))
		mutations := byteMutations(original, random, 2)
		if test.json {
			mutations = jsonMutations(t, original)
		}
		if *mutated > 0 {
			random.Shuffle(len(mutations), func(i, j int) { mutations[i], mutations[j] = mutations[j], mutations[i] })
			mutations = mutations[:min(*mutated, len(mutations))]
		}
		for _, m := range mutations {
			t.Run(filepath.Base(test.file)+" "+strings.Fields(test.args)[0]+" "+m.what, func(t *testing.T) {
				dir, out := copyOf(t, test.dir), filepath.Join(t.TempDir(), "new")
				write(t, filepath.Join(dir, test.file), m.data)
				words := strings.Fields(strings.NewReplacer("DIR", dir, "NEW", out, "SMALL", small, "PETS", modeltest.Dir(t, modeltest.Pets)).Replace(test.args))
				began := time.Now()
				o := finish(t, process(t, words))
				slowest = max(slowest, time.Since(began))
				total++
				if o.code == 0 {
					return
				}
				refusals++
				text := strings.TrimSuffix(o.stderr, "\n")
				if lines := strings.Split(text, "\n"); o.code == 2 && strings.HasPrefix(lines[len(lines)-1], "try: ") {
					text = strings.Join(lines[:len(lines)-1], "\n")
				}
				lines := strings.Split(text, "\n")
				last := lines[len(lines)-1]
				for _, line := range lines[:len(lines)-1] { // what comes before are warnings
					if !strings.HasPrefix(line, "residual: warning: ") {
						t.Errorf("it says %q", line)
					}
				}
				if o.code != 1 && o.code != 2 || !strings.HasPrefix(last, "residual: ") || strings.Contains(text, "goroutine ") {
					t.Errorf("exit code %d: %s", o.code, o.stderr)
				}
				if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("it left %v", files(t, out))
				}
			})
		}
	}
	t.Logf("%d changed files, %d refused; the slowest took %v", total, refusals, slowest)
}

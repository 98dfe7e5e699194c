package cli_test

import (
	"encoding/xml"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

const (
	stepsHead   = "step,epoch,loss,accuracy,learning_rate,images_per_second\n"
	metricsHead = "epoch,step,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n"
)

// stepRows are rows of steps.csv.
func stepRows(n int) string {
	var rows strings.Builder
	for i := range n {
		fmt.Fprintf(&rows, "%d,1,%g,%g,0.01,42.5\n", i+1, 2.3/float64(i+1), float64(i)/float64(n))
	}
	return rows.String()
}

// runDirectory writes the tables of a run in the working directory.
func runDirectory(t *testing.T, dir, steps, metrics string) {
	t.Helper()
	write(t, filepath.Join(dir, "config.json"), []byte(`{"format":1}`))
	write(t, filepath.Join(dir, "steps.csv"), []byte(steps))
	write(t, filepath.Join(dir, "metrics.csv"), []byte(metrics))
}

// threeRuns makes a whole run, one that was killed within a row of its second
// epoch, and one that has finished no epoch.
func threeRuns(t *testing.T) {
	runDirectory(t, "runs/whole", stepsHead+stepRows(40), metricsHead+"1,20,1.5,0.4,1.2,0.5,3.5\n2,40,1,0.6,0.9,0.7,3.5\n")
	runDirectory(t, "runs/killed", stepsHead+stepRows(25)+"26,2,0.", metricsHead+"1,20,1.5,0.4,1.2,0.5,3.5\n2,40")
	runDirectory(t, "runs/young", stepsHead+stepRows(3), metricsHead)
}

type plotOutcome struct {
	Pictures []string `json:"pictures"`
	Runs     []struct {
		Run    string `json:"run"`
		Name   string `json:"name"`
		Steps  int    `json:"steps"`
		Epochs int    `json:"epochs"`
	} `json:"runs"`
}

// textsOf returns the texts of an SVG picture.
func textsOf(t *testing.T, path string) []string {
	t.Helper()
	var svg struct {
		Texts []string `xml:"g>text"`
	}
	if err := xml.Unmarshal([]byte(read(t, path)), &svg); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return svg.Texts
}

func checkPNG(t *testing.T, path string) {
	t.Helper()
	if _, err := png.Decode(strings.NewReader(read(t, path))); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func TestPlotComparesRuns(t *testing.T) {
	t.Chdir(t.TempDir())
	threeRuns(t)
	o := must(t, "plot", "runs/whole", "runs/killed/", "--out", "new/all.svg", "runs/young", "--json")
	if o.stderr != "" {
		t.Errorf("standard error has %q", o.stderr)
	}
	if diff := cmp.Diff(`{"pictures":["new/all.svg"],"runs":[`+
		`{"run":"runs/whole","name":"whole","steps":40,"epochs":2},`+
		`{"run":"runs/killed","name":"killed","steps":25,"epochs":1},`+
		`{"run":"runs/young","name":"young","steps":3,"epochs":0}]}`+"\n", o.stdout); diff != "" {
		t.Errorf("it prints (-want +got):\n%s", diff)
	}
	texts := textsOf(t, "new/all.svg")
	for _, want := range []string{"3 runs", "whole", "killed", "young", "loss", "accuracy", "train, smoothed", "test, after each epoch", "step"} {
		if !slices.Contains(texts, want) {
			t.Errorf("%q is not among %q", want, texts)
		}
	}
	if diff := cmp.Diff([]string{"all.svg"}, files(t, "new")); diff != "" {
		t.Error(diff)
	}
}

func TestPlotPlaces(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string // new files
	}{
		{"runs/whole", []string{"runs/whole/plots/training.png", "runs/whole/plots/training.svg"}},
		{"runs/whole runs/young", []string{"runs.png"}},
		{"runs/whole --out a.png", []string{"a.png"}},
		{"--out=b/c.SVG runs/whole", []string{"b/c.SVG"}},
		{"runs/whole runs/young --out .", []string{"runs.png", "runs.svg"}},
		{"runs/whole --out pictures", []string{"pictures/training.png", "pictures/training.svg"}},
		{"runs/whole runs/young --out v1.2/", []string{"v1.2/runs.png", "v1.2/runs.svg"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			threeRuns(t)
			before := files(t, ".")
			var got plotOutcome
			must(t, append([]string{"plot", "--json"}, strings.Fields(tt.args)...)...).lastLine(t, &got)
			if diff := cmp.Diff(tt.want, got.Pictures); diff != "" {
				t.Errorf("it says (-want +got):\n%s", diff)
			}
			var added []string
			for _, file := range files(t, ".") {
				if !slices.Contains(before, file) {
					added = append(added, file)
				}
			}
			if diff := cmp.Diff(tt.want, added); diff != "" {
				t.Errorf("it wrote (-want +got):\n%s", diff)
			}
			for _, path := range tt.want {
				if strings.ToLower(filepath.Ext(path)) == ".svg" {
					textsOf(t, path)
					continue
				}
				checkPNG(t, path)
			}
		})
	}
}

func TestPlotReplacesItsPicture(t *testing.T) {
	t.Chdir(t.TempDir())
	threeRuns(t)
	write(t, "a.png", []byte("the old one"))
	if o := must(t, "plot", "runs/whole", "--out", "a.png"); o.stdout != "1 run drawn in a.png\n" {
		t.Errorf("it says %q", o.stdout)
	}
	checkPNG(t, "a.png")
	if got := must(t, "plot", "runs/whole").stdout; got != "1 run drawn in runs/whole/plots/training.png and runs/whole/plots/training.svg\n" {
		t.Errorf("it says %q", got)
	}
}

// What train drew of a run is drawn again from its tables, the same.
func TestPlotDrawsARunAsTrainDid(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	must(t, "train", "--model", small, "--data", "synthetic", "--limit", "100", "--epochs", "2", "--threads", "1", "--out", "run", "--quiet")
	pictures := []string{"run/plots/training.png", "run/plots/training.svg"}
	var before []string
	for _, path := range pictures {
		before = append(before, read(t, path))
	}
	if err := os.RemoveAll("run/plots"); err != nil {
		t.Fatal(err)
	}
	must(t, "plot", "run")
	for i, path := range pictures {
		if read(t, path) != before[i] {
			t.Errorf("%s is another picture now", path)
		}
	}
	if err := os.RemoveAll("run/model"); err != nil { // as of a run that was killed
		t.Fatal(err)
	}
	must(t, "plot", "run")
	if read(t, pictures[1]) != before[1] {
		t.Error("without its model the run has another picture")
	}
}

func TestPlotNamesRunsByWhatDiffers(t *testing.T) {
	for name, tt := range map[string]struct{ paths, want []string }{
		"their own names":    {[]string{"a/x", "b/y"}, []string{"x", "y"}},
		"the folder above":   {[]string{"a/x", "b/x"}, []string{"a/x", "b/x"}},
		"only where needed":  {[]string{"a/x", "b/x", "b/y"}, []string{"a/x", "b/x", "y"}},
		"two folders above":  {[]string{"1/a/x", "2/a/x", "2/b/x"}, []string{"1/a/x", "2/a/x", "b/x"}},
		"however it is said": {[]string{"./a/../a/x/", "b/x"}, []string{"a/x", "b/x"}},
		"one in another":     {[]string{"x", "a/x/x"}, []string{"HERE/x", "x/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range tt.paths {
				runDirectory(t, path, stepsHead+stepRows(3), metricsHead)
			}
			var got plotOutcome
			must(t, append([]string{"plot", "--json"}, tt.paths...)...).lastLine(t, &got)
			for i, run := range got.Runs {
				if want := strings.Replace(tt.want[i], "HERE", filepath.Base(here), 1); run.Name != want {
					t.Errorf("%s is named %s, want %s", tt.paths[i], run.Name, want)
				}
			}
		})
	}
}

// Runs of other versions: columns more, or in another order, and lines of
// Windows.
func TestPlotFindsColumnsByName(t *testing.T) {
	t.Chdir(t.TempDir())
	runDirectory(t, "run", "accuracy,loss,step,new\r\n0.5,2,1,\r\n0.6,1,2,x\r\n", "step,test_accuracy,test_loss,train_accuracy,train_loss\n2,,,0.6,1\n")
	var got plotOutcome
	must(t, "plot", "run", "--out", "a.svg", "--json").lastLine(t, &got)
	if got.Runs[0].Steps != 2 || got.Runs[0].Epochs != 1 {
		t.Errorf("it says %+v", got.Runs)
	}
	if texts := textsOf(t, "a.svg"); slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(s, "test") }) {
		t.Errorf("nothing was tested, but the legend has %q", texts)
	}
}

func TestPlotTakesLossesThatAreNotFinite(t *testing.T) {
	t.Chdir(t.TempDir())
	runDirectory(t, "run", stepsHead+stepRows(3)+"4,1,NaN,0.1,0.01,1\n5,1,+Inf,0.1,0.01,1\n", metricsHead+"1,3,1,0.5,+Inf,0.1,1\n")
	must(t, "plot", "run")
}

func TestPlotOfWrongUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	threeRuns(t)
	if err := os.Symlink("whole", "runs/link"); err != nil {
		t.Fatal(err)
	}
	many := ""
	for i := range 36 {
		many += fmt.Sprintf(" run%d", i)
	}
	check := unchanged(t, ".")
	for _, tt := range []struct {
		args  string
		wants []string
	}{
		{"", []string{"no run was given"}},
		{"--json", []string{"no run was given"}},
		{"runs/whole runs/whole", []string{"runs/whole is the same run as runs/whole"}},
		{"runs/whole runs/young runs/../runs/whole/", []string{"runs/../runs/whole/ is the same run as runs/whole"}},
		{"runs/whole runs/link", []string{"runs/link is the same run"}},
		{"runs/whole --out a.pdf", []string{`"a.pdf"`, ".png or .svg"}},
		{"runs/whole --out a.png.gz", []string{`"a.png.gz"`, ".png or .svg"}},
		{"runs/whole --quiet", []string{`there is no flag "--quiet"`}},
		{many, []string{"36 runs", "at most 35"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			o := run(append([]string{"plot"}, strings.Fields(tt.args)...)...)
			refused(t, o, 2, tt.wants...)
			if !strings.HasSuffix(o.stderr, "\ntry: residual plot --help\n") {
				t.Errorf("standard error is %q", o.stderr)
			}
		})
	}
	check()
}

func TestPlotOfWrongInput(t *testing.T) {
	tables := func(steps, metrics string) func(*testing.T) {
		return func(t *testing.T) {
			runDirectory(t, "good", stepsHead+stepRows(3), metricsHead)
			runDirectory(t, "bad", steps, metrics)
		}
	}
	steps := func(rows string) func(*testing.T) { return tables(stepsHead+rows, metricsHead) }
	metrics := func(rows string) func(*testing.T) { return tables(stepsHead+stepRows(9), metricsHead+rows) }
	file := func(path string) func(*testing.T) { return func(t *testing.T) { write(t, path, []byte("mine")) } }
	const both = "plot good bad --out new/a.svg"
	for _, test := range []wrongInput{
		{"nothing there", nil, "plot nope", []string{"read run", "nope does not exist"}},
		{"a file", file("a"), "plot a", []string{"a is a file", "run directory"}},
		{"another folder", file("a/b"), "plot a", []string{"a is not a run directory", "config.json", "steps.csv"}},
		{"no table yet", file("bad/config.json"), "plot bad", []string{"no steps", "bad/steps.csv"}},
		{"an empty table", tables("", ""), both, []string{"no steps", "bad/steps.csv"}},
		{"no steps yet", tables(stepsHead, metricsHead), both, []string{"no steps", "bad/steps.csv"}},
		{"half a step", steps("1,1,2.3"), both, []string{"no steps", "bad/steps.csv"}},

		{"another table", tables("a,b\n1,2\n", ""), both, []string{"bad/steps.csv, line 1", `"step"`, `"a,b"`}},
		{"no loss", tables("step,accuracy\n1,2\n", ""), both, []string{"bad/steps.csv, line 1", `"loss"`}},
		{"no table", tables(strings.Repeat("x", 100_000), ""), both, []string{"bad/steps.csv, line 1", "64.00 KB"}},
		{"bytes", tables("\x00\x01\n", ""), both, []string{"bad/steps.csv, line 1", `"step"`}},
		{"a short row", steps("1,1,2.3\n"), both, []string{"bad/steps.csv, line 2", "3 fields", "6"}},
		{"an empty row", steps(stepRows(2) + "\n"), both, []string{"bad/steps.csv, line 4", "1 field,", "6"}},
		{"text", steps(stepRows(2) + "3,1,abc,0.5,0.01,1\n"), both, []string{"bad/steps.csv, line 4", "loss", `"abc"`}},
		{"nothing for a loss", steps("1,1,,0.5,0.01,1\n"), both, []string{"bad/steps.csv, line 2", "loss", `""`}},
		{"half a step's number", steps("1.5,1,1,0.5,0.01,1\n"), both, []string{"bad/steps.csv, line 2", "step", `"1.5"`}},
		{"a step twice", steps(stepRows(2) + "2,1,1,0.5,0.01,1\n"), both, []string{"bad/steps.csv, line 4", "step", "above 2", `"2"`}},
		{"step 0", steps("0,1,1,0.5,0.01,1\n"), both, []string{"bad/steps.csv, line 2", "step", `"0"`}},
		{"a damaged epoch", metrics("1,9,1,0.5,1,x,1\n"), both, []string{"bad/metrics.csv, line 2", "test_accuracy", `"x"`}},
		{"an epoch without a loss", metrics("1,9,,0.5,1,1,1\n"), both, []string{"bad/metrics.csv, line 2", "train_loss"}},
		{"a folder for a table", file("bad/steps.csv/x"), "plot bad", []string{"bad/steps.csv is not a file"}},

		{"out is a folder's name", func(t *testing.T) { tables(stepsHead+stepRows(2), "")(t); file("bad/plots/training.png/x")(t) }, "plot bad", []string{"bad/plots/training.png is a folder"}},
		{"out is below a file", func(t *testing.T) { tables(stepsHead+stepRows(2), "")(t); file("a")(t) }, "plot bad --out a/b.svg", []string{"a/b.svg", "a is a file"}},
	} {
		t.Run(test.name, test.run)
	}
}

// A pipe in the place of a table has nobody who writes to it.
func TestPlotDoesNotWaitForAPipe(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("run", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo("run/steps.csv", 0o644); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	refused(t, run("plot", "run"), 1, "run/steps.csv is not a file")
}

// A run may be drawn while it is under way: whatever has been written of its
// tables is a run, or has no steps yet.
func TestPlotOfARunAtEveryMoment(t *testing.T) {
	t.Chdir(t.TempDir())
	steps := stepsHead + stepRows(3)
	for n := range len(steps) + 1 {
		runDirectory(t, "run", steps[:n], "")
		o := run("plot", "run", "--out", "a.svg")
		if whole := strings.Count(steps[:n], "\n") - 1; whole > 0 {
			if o.code != 0 {
				t.Errorf("after %d bytes: exit code %d: %s", n, o.code, o.stderr)
			}
			continue
		}
		refused(t, o, 1, "no steps")
	}
	if texts := textsOf(t, "a.svg"); !slices.Contains(texts, "loss") {
		t.Errorf("the last picture has %q", texts)
	}
}

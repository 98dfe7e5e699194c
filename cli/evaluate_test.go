package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

type evaluateOutcome struct {
	figures
	PerClass  map[string]float64 `json:"per_class"`
	Confusion [][]int            `json:"confusion"`
	Classes   []string           `json:"classes"`
	Picture   string             `json:"picture"`
}

// All that evaluate says is one count of the same images.
func TestEvaluateAgreesWithItself(t *testing.T) {
	small, out := modeltest.Dir(t, modeltest.Small), t.TempDir()
	args := []string{"evaluate", "--model", small, "--data", "synthetic", "--limit", "45", "--batch-size", "16", "--out", out}
	var got evaluateOutcome
	must(t, append(args, "--json")...).lastLine(t, &got)
	total, correct := 0, 0
	for label, row := range got.Confusion {
		ofClass := 0
		for prediction, n := range row {
			if total += n; prediction == label {
				correct += n
			}
			ofClass += n
		}
		if want := float64(row[label]) / float64(ofClass); got.PerClass[got.Classes[label]] != want {
			t.Errorf("%s is recognised %g, its row is %v", got.Classes[label], got.PerClass[got.Classes[label]], row)
		}
	}
	if len(got.Classes) != 10 || total != 45 || total != got.Examples || correct != got.Correct || got.Accuracy != float64(correct)/45 {
		t.Errorf("evaluate says %+v", got)
	}
	if got.Picture != filepath.Join(out, "confusion.png") {
		t.Errorf("the picture is %s", got.Picture)
	}
	if _, err := png.Decode(bytes.NewReader([]byte(read(t, got.Picture)))); err != nil {
		t.Error(err)
	}

	text := must(t, args...).stdout
	lines := strings.Split(text, "\n") // the first three say what is below
	for _, line := range lines[:14] {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	for label, row := range got.Confusion {
		want := []string{got.Classes[label]}
		for _, n := range row {
			want = append(want, strconv.Itoa(n))
		}
		want = append(want, fmt.Sprintf("%.2f", 100*got.PerClass[got.Classes[label]]), "%")
		if diff := cmp.Diff(want, strings.Fields(lines[label+3])); diff != "" {
			t.Errorf("row of %s: %s", want[0], diff)
		}
	}
	if want := fmt.Sprintf("(%d of 45 images), loss %.4f", got.Correct, got.Loss); !strings.Contains(text, want) || !strings.Contains(text, got.Picture) {
		t.Errorf("%q or the picture is not in\n%s", want, text)
	}
}

// The size of a batch is no matter of the results.
func TestEvaluateInOtherBatches(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	var one, other evaluateOutcome
	args := []string{"evaluate", "--model", small, "--data", "synthetic", "--limit", "45", "--json", "--batch-size"}
	must(t, append(args, "7")...).lastLine(t, &one)
	must(t, append(args, "45")...).lastLine(t, &other)
	if diff := cmp.Diff(one.Confusion, other.Confusion); diff != "" {
		t.Error(diff)
	}
	if difference := one.Loss - other.Loss; difference > 1e-5 || difference < -1e-5 {
		t.Errorf("loss %g and %g", one.Loss, other.Loss)
	}
}

// A confusion matrix grows with the square of the classes.
func TestEvaluateOfManyClassesHasNoMatrix(t *testing.T) {
	many, out := modeltest.Dir(t, modeltest.Many), t.TempDir()
	t.Chdir(t.TempDir())
	for class := range 1001 {
		write(t, fmt.Sprintf("data/test/class_%d/0.png", class), pngImage(t, 2, 2))
	}
	args := []string{"evaluate", "--model", many, "--data", "data", "--out", out}
	var got evaluateOutcome
	must(t, append(args, "--json")...).lastLine(t, &got)
	if got.Examples != 1001 || len(got.PerClass) != 1001 || got.Confusion != nil || got.Picture != "" {
		t.Errorf("%d examples, %d classes, matrix %v, picture %q", got.Examples, len(got.PerClass), got.Confusion, got.Picture)
	}
	text := must(t, args...).stdout
	if !strings.Contains(text, "no confusion matrix: there are more than 1000 classes") || !strings.Contains(text, "class_1000") {
		t.Errorf("evaluate says %.300s", text)
	}
	if got := files(t, out); len(got) != 0 {
		t.Errorf("it wrote %v", got)
	}
}

// Without a place for it there is no picture, and nothing is written.
func TestEvaluateWithoutAPlaceForThePicture(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	t.Chdir(t.TempDir())
	check := unchanged(t, ".")
	o := must(t, "evaluate", "--model", small, "--data", "synthetic", "--limit", "10")
	if !strings.Contains(o.stdout, "--out DIR") {
		t.Errorf("it does not say how to get the picture:\n%s", o.stdout)
	}
	var got map[string]json.RawMessage
	must(t, "evaluate", "--model", small, "--data", "synthetic", "--limit", "10", "--json").lastLine(t, &got)
	if _, ok := got["picture"]; ok {
		t.Errorf("there is a picture: %s", got["picture"])
	}
	check()
}

// leaveWidthOpen makes a graph's signature say nothing of how many classes there
// are.
func leaveWidthOpen(t *testing.T, path string) {
	t.Helper()
	var model pb.SavedModel
	if err := proto.Unmarshal([]byte(read(t, path)), &model); err != nil {
		t.Fatal(err)
	}
	for _, graph := range model.MetaGraphs {
		graph.SignatureDef["serving_default"].Outputs["probabilities"].GetTensorShape().Dim[1].Size = -1
	}
	data, err := proto.Marshal(&model)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, data)
}

// A model of many classes keeps its table within a screen.
func TestEvaluateOfManyClasses(t *testing.T) {
	small, dir := modeltest.Dir(t, modeltest.Small), filepath.Join(t.TempDir(), "m")
	if err := os.CopyFS(dir, os.DirFS(small)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "assets.extra", "residual.json")
	var metadata map[string]any
	if err := json.Unmarshal([]byte(read(t, path)), &metadata); err != nil {
		t.Fatal(err)
	}
	var classes []string
	for i := range 30 {
		classes = append(classes, fmt.Sprintf("class %d", i))
	}
	metadata["classes"] = classes
	data, err := json.Marshal(metadata)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, data)
	leaveWidthOpen(t, filepath.Join(dir, "saved_model.pb"))
	// The net has ten outputs, so only images of the first ten are fed.
	o := run("evaluate", "--model", dir, "--data", "synthetic", "--limit", "10", "--quiet")
	if o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	for line := range strings.Lines(o.stdout) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

package savedmodel

import (
	"errors"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// A frozen graph is there from the first call of a function that changes nothing
// until one is called that does.
func TestFrozenGraphsLiveUntilVariablesChange(t *testing.T) {
	model, err := Open(modeltest.Dir(t, modeltest.Small), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	images, err := tensor.Of(make([]byte, 32*32*3), 1, 32, 32, 3)
	if err != nil {
		t.Fatal(err)
	}
	labels, err := tensor.Of([]int64{1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string]tensor.Tensor{"images": images, "labels": labels}
	training := map[string]tensor.Tensor{"images": images, "labels": labels, "learning_rate": tensor.Scalar(float32(0.1))}
	call := func(name string, inputs map[string]tensor.Tensor) {
		t.Helper()
		if _, err := model.Call(t.Context(), name, inputs); err != nil {
			t.Fatal(err)
		}
	}
	isFrozen := func() bool { return model.Frozen("evaluate") == nil }
	call("train", training)
	if err := model.Frozen("train"); err == nil || !strings.Contains(err.Error(), "side effects") {
		t.Errorf("why a step is not frozen: %v", err)
	}
	if isFrozen() {
		t.Error("there is a frozen graph before anybody needs it")
	}
	call("evaluate", examples)
	if !isFrozen() {
		t.Error("evaluate has no frozen graph")
	}
	call("train", training)
	if isFrozen() {
		t.Error("a step has left the frozen graph as it was")
	}
	call("evaluate", examples)
	prefix := t.TempDir() + "/variables"
	if err := model.SaveVariables(t.Context(), prefix); err != nil || !isFrozen() {
		t.Errorf("saving has dropped it: %v", err)
	}
	if err := model.RestoreVariables(t.Context(), prefix); err != nil || isFrozen() {
		t.Errorf("restoring has left it: %v", err)
	}
}

// Where matrix products have most of the weights, batches of few images and of
// many have a frozen graph each: oneDNN lays weights out for one of them.
func TestFrozenGraphsForFewAndForMany(t *testing.T) {
	for name, test := range map[string]struct{ side, graphs int }{modeltest.Many: {2, 2}, modeltest.Pets: {16, 1}} {
		model, err := Open(modeltest.Dir(t, name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close()
		for _, n := range []int{16, 1, 6, 7, 16} {
			images, err := tensor.Of(make([]byte, n*test.side*test.side*3), n, test.side, test.side, 3)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := model.Call(t.Context(), "serving_default", map[string]tensor.Tensor{"images": images}); err != nil {
				t.Fatal(err)
			}
		}
		graphs := map[*function]bool{}
		for _, f := range model.freezer.functions {
			graphs[f] = true
		}
		if len(graphs) != test.graphs || model.Frozen("serving_default") != nil {
			t.Errorf("%s: %d graphs, want %d; %v", name, len(graphs), test.graphs, model.Frozen("serving_default"))
		}
		if err := errors.Join(model.thaw(), model.thaw()); err != nil || len(model.freezer.functions) != 0 {
			t.Errorf("%s: %d are left: %v", name, len(model.freezer.functions), err)
		}
	}
}

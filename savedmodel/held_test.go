package savedmodel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// course is some steps of a signature on examples of its own.
type course struct {
	signature string
	examples  map[string]tensor.Tensor   // the rows
	indexes   [][]int64                  // of the examples of each step
	inputs    []map[string]tensor.Tensor // of each step, but for the examples
}

func courseOf(t *testing.T, model *savedmodel.Model, signature string, indexes ...[]int64) course {
	t.Helper()
	const examples = 9
	s, ok := model.Signature(signature)
	if !ok {
		t.Fatalf("the model has no signature %q", signature)
	}
	random := rand.New(rand.NewPCG(1, 2))
	c := course{signature: signature, examples: map[string]tensor.Tensor{}, indexes: indexes}
	for _, input := range s.Inputs {
		if len(input.Shape) == 0 || input.Shape[0] != tensor.AnySize {
			continue
		}
		shape := append([]int{examples}, input.Shape[1:]...)
		size := 1
		for _, side := range shape {
			size *= side
		}
		switch input.DType {
		case tensor.Uint8:
			c.examples[input.Name] = must(tensor.Of(drawn(size, func() byte { return byte(random.IntN(256)) }), shape...))
		case tensor.Int64:
			c.examples[input.Name] = must(tensor.Of(drawn(size, func() int64 { return random.Int64N(2) }), shape...))
		default:
			c.examples[input.Name] = must(tensor.Of(drawn(size, random.Float32), shape...))
		}
	}
	for step := range indexes {
		inputs := map[string]tensor.Tensor{}
		for name, value := range map[string]tensor.Tensor{
			"learning_rate":    tensor.Scalar(0.02 * float32(step+1)),
			"seed":             must(tensor.Of([]int64{5, int64(step)}, 2)),
			"micro_batch_size": tensor.Scalar(int64(2)),
			"upsample":         tensor.Scalar(int64(step % 2)),
		} {
			if _, ok := tensor.Find(s.Inputs, name); ok {
				inputs[name] = value
			}
		}
		c.inputs = append(c.inputs, inputs)
	}
	return c
}

func drawn[T any](n int, draw func() T) []T {
	values := make([]T, n)
	for i := range values {
		values[i] = draw()
	}
	return values
}

// rowsOf are the chosen rows of a tensor.
func rowsOf(t *testing.T, of tensor.Tensor, chosen []int64) tensor.Tensor {
	t.Helper()
	size := len(of.Bytes()) / of.Shape()[0]
	var data []byte
	for _, row := range chosen {
		data = append(data, of.Bytes()[int(row)*size:][:size]...)
	}
	return must(tensor.FromBytes(of.DType(), data, append([]int{len(chosen)}, of.Shape()[1:]...)...))
}

// stack puts tensors of the same shape one after the other.
func stack(t *testing.T, values []tensor.Tensor) tensor.Tensor {
	t.Helper()
	var data []byte
	for _, value := range values {
		data = append(data, value.Bytes()...)
	}
	return must(tensor.FromBytes(values[0].DType(), data, append([]int{len(values)}, values[0].Shape()...)...))
}

// fed returns the outputs of all steps, each a Call.
func (c course) fed(t *testing.T, model *savedmodel.Model) map[string][]byte {
	t.Helper()
	outputs := map[string][]byte{}
	for step, chosen := range c.indexes {
		inputs := c.inputs[step]
		for name, rows := range c.examples {
			inputs = with(inputs, name, rowsOf(t, rows, chosen))
		}
		for name, value := range call(t, model, c.signature, inputs) {
			outputs[name] = append(outputs[name], value.Bytes()...)
		}
	}
	return outputs
}

// held returns the same from CallHeld, of so many steps each.
func (c course) held(t *testing.T, model *savedmodel.Model, calls ...int) map[string][]byte {
	t.Helper()
	if err := model.Hold(context.Background(), c.signature, c.examples); err != nil {
		t.Fatal(err)
	}
	outputs := map[string][]byte{}
	first := 0
	for _, steps := range calls {
		indexes := must(tensor.Of(slices.Concat(c.indexes[first:first+steps]...), steps, len(c.indexes[first])))
		inputs := map[string]tensor.Tensor{}
		for name := range c.inputs[first] {
			var values []tensor.Tensor
			for _, of := range c.inputs[first : first+steps] {
				values = append(values, of[name])
			}
			inputs[name] = stack(t, values)
		}
		found, err := model.CallHeld(context.Background(), c.signature, indexes, inputs)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range found {
			outputs[name] = append(outputs[name], value.Bytes()...)
		}
		first += steps
	}
	return outputs
}

// variablesOf are the bytes of a model's variables.
func variablesOf(t *testing.T, model *savedmodel.Model) []byte {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "variables")
	if err := model.SaveVariables(context.Background(), prefix); err != nil {
		t.Fatal(err)
	}
	return must(os.ReadFile(prefix + ".data-00000-of-00001"))
}

// Steps on held examples, one in a call or several, leave the variables that steps
// leave that are fed, and return the same, to the last bit.
func TestStepsOnHeldExamplesAreTheSameToTheBit(t *testing.T) {
	indexes := [][]int64{{0, 3, 5, 8}, {8, 8, 1, 2}, {4, 7, 6, 0}, {2, 5, 1, 1}, {3, 0, 4, 6}, {1, 2, 3, 4}, {5, 8}}
	for _, option := range modeltest.ByOption {
		for _, name := range []string{option, modeltest.In(modeltest.Brain, option), modeltest.In(modeltest.Half, option)} {
			signatures := []string{"train", "train_accumulate", "train_head"}
			if name != option { // to save time
				signatures = signatures[:1]
			}
			for _, signature := range signatures {
				t.Run(name+"/"+signature, func(t *testing.T) {
					dir := modeltest.Dir(t, name)
					open := func(held ...string) *savedmodel.Model {
						return must(savedmodel.Open(dir, savedmodel.Options{Signatures: []string{signature}, Held: held}))
					}
					plain, holding := open(), open(signature)
					defer plain.Close()
					defer holding.Close()
					c := courseOf(t, plain, signature, indexes...)
					before := variablesOf(t, plain)
					fed, held := c.fed(t, plain), c.held(t, holding, 1, 3, 2, 1)
					if len(fed) == 0 || len(held) != len(fed) {
						t.Fatalf("outputs: %d of steps that are fed, %d of others", len(fed), len(held))
					}
					for output := range fed {
						if !slices.Equal(fed[output], held[output]) {
							t.Errorf("%s differs: fed %v, held %v", output, fed[output], held[output])
						}
					}
					after := variablesOf(t, plain)
					if slices.Equal(before, after) {
						t.Error("the steps have changed nothing")
					}
					if !slices.Equal(after, variablesOf(t, holding)) {
						t.Error("the variables differ")
					}
				})
			}
		}
	}
}

// A loop goes on from what Call has left, and Call from what a loop has.
func TestCallAndCallHeldInTurns(t *testing.T) {
	o := savedmodel.Options{Held: []string{"train"}}
	plain, holding := must(savedmodel.Open(modeltest.Dir(t, modeltest.Small), o)), must(savedmodel.Open(modeltest.Dir(t, modeltest.Small), o))
	defer plain.Close()
	defer holding.Close()
	first, second := courseOf(t, plain, "train", []int64{0, 1}, []int64{2, 3}), courseOf(t, plain, "train", []int64{4, 5, 6}, []int64{7, 8, 0})
	first.fed(t, plain)
	second.fed(t, plain)
	first.fed(t, plain)
	first.held(t, holding, 2)
	before := lossOf(t, holding, batch(t, 4, 32, 10)) // of a frozen graph
	second.fed(t, holding)
	first.held(t, holding, 1, 1)
	if !slices.Equal(variablesOf(t, plain), variablesOf(t, holding)) {
		t.Error("the variables differ")
	}
	if after := lossOf(t, holding, batch(t, 4, 32, 10)); after == before || after != lossOf(t, plain, batch(t, 4, 32, 10)) {
		t.Errorf("the loss was %g and is %g", before, after)
	}
}

func TestHeldExamplesAreNotSaved(t *testing.T) {
	model := must(savedmodel.Open(modeltest.Dir(t, modeltest.Tiny), savedmodel.Options{Held: []string{"train"}}))
	defer model.Close()
	courseOf(t, model, "train", []int64{0, 1}).held(t, model, 1)
	dir := filepath.Join(t.TempDir(), "saved")
	if err := model.Save(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	was, is := must(savedmodel.Inspect(modeltest.Dir(t, modeltest.Tiny))), must(savedmodel.Inspect(dir))
	if !slices.EqualFunc(was.Variables, is.Variables, func(a, b savedmodel.Variable) bool { return a.Name == b.Name && a.Size == b.Size }) {
		t.Errorf("variables %v, want %v", is.Variables, was.Variables)
	}
	const graph = "saved_model.pb"
	if !slices.Equal(must(os.ReadFile(filepath.Join(dir, graph))), must(os.ReadFile(filepath.Join(was.Dir, graph)))) {
		t.Error("the graph is another one")
	}
}

func TestHoldAndCallHeldRefuseWrongInputs(t *testing.T) {
	model := must(savedmodel.Open(modeltest.Dir(t, modeltest.Tiny), savedmodel.Options{Held: []string{"train"}}))
	defer model.Close()
	ctx := t.Context()
	c := courseOf(t, model, "train", []int64{0, 1}, []int64{2, 3})
	rates := must(tensor.Of([]float32{0.1, 0.1}, 2))
	indexes := func(values ...int64) tensor.Tensor { return must(tensor.Of(values, 2, len(values)/2)) }
	inputs := map[string]tensor.Tensor{"learning_rate": rates}
	callHeld := func(name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) error {
		_, err := model.CallHeld(ctx, name, indexes, inputs)
		return err
	}
	refused := func(what string, err, want error, says string) {
		t.Helper()
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error that says %q", what, err, says)
		}
	}
	refused("before Hold", callHeld("train", indexes(0, 1), inputs), savedmodel.ErrInput, "0 examples are held")
	refused("Hold for another signature", model.Hold(ctx, "evaluate", c.examples), nil, "was not opened to hold examples")
	refused("no labels", model.Hold(ctx, "train", without(c.examples, "labels")), savedmodel.ErrInput, "labels int64 [N] is missing")
	refused("an input of steps", model.Hold(ctx, "train", with(c.examples, "learning_rate", tensor.Scalar(float32(1)))), savedmodel.ErrInput, `there is no "learning_rate", only`)
	refused("an input that is none", model.Hold(ctx, "train", with(c.examples, "x", rates)), savedmodel.ErrInput, `there is no "x", only images, labels`)
	refused("fewer labels", model.Hold(ctx, "train", with(c.examples, "labels", must(tensor.Of([]int64{1}, 1)))), savedmodel.ErrInput, "rows")
	refused("other images", model.Hold(ctx, "train", with(c.examples, "images", rates)), savedmodel.ErrInput, "images")
	if err := model.Hold(ctx, "train", c.examples); err != nil {
		t.Fatal(err)
	}
	refused("another signature", callHeld("evaluate", indexes(0, 1), nil), nil, "was not opened to hold examples")
	refused("beyond the last example", callHeld("train", indexes(0, 9), inputs), savedmodel.ErrInput, "from 0 to 9, and 9 examples")
	refused("before the first", callHeld("train", indexes(-1, 0), inputs), savedmodel.ErrInput, "from -1 to 0")
	refused("a list", callHeld("train", must(tensor.Of([]int64{0}, 1)), inputs), savedmodel.ErrInput, "must be int64 [N,N], not int64 [1]")
	refused("none", callHeld("train", must(tensor.Of([]int64{}, 0, 2)), inputs), savedmodel.ErrInput, "no indexes")
	refused("no rates", callHeld("train", indexes(0, 1), nil), savedmodel.ErrInput, "learning_rate float32 [2] is missing")
	refused("one rate", callHeld("train", indexes(0, 1), map[string]tensor.Tensor{"learning_rate": tensor.Scalar(float32(1))}), savedmodel.ErrInput, "must be float32 [2], not float32 []")
	refused("a seed", callHeld("train", indexes(0, 1), with(inputs, "seed", indexes(1, 1, 1, 1))), savedmodel.ErrInput, `there is no "seed", only learning_rate`)
	if err := callHeld("train", indexes(0, 8), inputs); err != nil {
		t.Error(err)
	}
}

// A model that cannot hold examples is opened all the same, and says why.
func TestHolds(t *testing.T) {
	dir := modeltest.Dir(t, modeltest.Tiny)
	says := func(o savedmodel.Options, want string) {
		t.Helper()
		model := must(savedmodel.Open(dir, o))
		defer model.Close()
		name := "train"
		if len(o.Held) > 0 {
			name = o.Held[0]
		}
		if err := model.Holds(name); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want an error that says %q", o, err, want)
		}
		if want != "" {
			if err := model.Hold(t.Context(), name, nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: Hold returns %v", o, err)
			}
		}
		lossOf(t, model, batch(t, 2, 32, 10))
	}
	says(savedmodel.Options{Held: []string{"train"}}, "")
	says(savedmodel.Options{}, "was not opened to hold examples")
	says(savedmodel.Options{Held: []string{"evaluate"}}, "its output predictions int64 [N] is no scalar")
	for _, o := range []savedmodel.Options{{Held: []string{"absent"}}, {Held: []string{"train"}, Signatures: []string{"evaluate"}}} {
		if _, err := savedmodel.Open(dir, o); err == nil || !strings.Contains(err.Error(), o.Held[0]) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none")) // the graph with the loop is read from there
	says(savedmodel.Options{Held: []string{"train"}}, "none")
}

// More steps than there is usually room for.
func TestManySteps(t *testing.T) {
	model := must(savedmodel.Open(modeltest.Dir(t, modeltest.Tiny), savedmodel.Options{Held: []string{"train"}}))
	defer model.Close()
	plain := open(t, modeltest.Dir(t, modeltest.Tiny))
	c := courseOf(t, model, "train", slices.Repeat([][]int64{{0, 5}, {1, 8}, {3, 2}}, 30)...)
	if fed, held := c.fed(t, plain), c.held(t, model, 63, 1, 26); !slices.Equal(fed["loss"], held["loss"]) || len(held["loss"]) != 90*4 {
		t.Errorf("losses of steps that are fed %v, of others %v", fed["loss"], held["loss"])
	}
	again := must(savedmodel.Open(modeltest.Dir(t, modeltest.Tiny), savedmodel.Options{Held: []string{"train"}}))
	defer again.Close()
	c.held(t, again, 65, 25)
	if !slices.Equal(variablesOf(t, plain), variablesOf(t, again)) {
		t.Error("the variables differ")
	}
}

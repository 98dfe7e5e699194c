package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// contract is a model that is nothing but python_export/contract.json: it takes
// what the table says and answers with what the table says.
type contract struct {
	signatures map[string]tensor.Signature
	calls      map[string]int
}

const contractClasses = 4

func readContract(t *testing.T) contract {
	t.Helper()
	data, err := os.ReadFile("../python_export/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name, DType string
		Shape       []any
		Required    *bool
	}
	var table struct {
		Signatures map[string]struct{ Inputs, Outputs []row }
	}
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	specs := func(rows []row) (specs []tensor.Spec) {
		for _, r := range rows {
			specs = append(specs, tensor.Spec{Name: r.Name, DType: dtypes[r.DType], Shape: sizes(t, r.Shape)})
		}
		return specs
	}
	c := contract{signatures: map[string]tensor.Signature{}, calls: map[string]int{}}
	for name, s := range table.Signatures {
		c.signatures[name] = tensor.Signature{Inputs: specs(s.Inputs), Outputs: specs(s.Outputs)}
	}
	return c
}

var dtypes = map[string]tensor.DType{"uint8": tensor.Uint8, "int64": tensor.Int64, "float32": tensor.Float32}

// sizes puts numbers in place of the table's letters.
func sizes(t *testing.T, shape []any) []int {
	t.Helper()
	letters := map[string]int{"N": tensor.AnySize, "H": 8, "W": 8, "C": 3, "classes": contractClasses, "features": 5}
	dims := []int{}
	for _, dim := range shape {
		switch dim := dim.(type) {
		case string:
			size, ok := letters[dim]
			if !ok {
				t.Fatalf("contract.json has a size %q that this test does not know", dim)
			}
			dims = append(dims, size)
		case float64:
			dims = append(dims, int(dim))
		}
	}
	return dims
}

func (c contract) Signature(name string) (tensor.Signature, bool) {
	s, ok := c.signatures[name]
	return s, ok
}

func (c contract) Fingerprint() string { return "contract" }

func (c contract) SaveVariables(context.Context, string) error    { return nil }
func (c contract) RestoreVariables(context.Context, string) error { return nil }

func (c contract) Call(_ context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	s := c.signatures[name]
	for _, spec := range s.Inputs {
		if err := spec.Check(inputs[spec.Name]); err != nil {
			return nil, err
		}
	}
	if len(inputs) != len(s.Inputs) {
		return nil, fmt.Errorf("%d inputs for %d", len(inputs), len(s.Inputs))
	}
	c.calls[name]++
	n := inputs[s.Inputs[0].Name].Shape()[0] // of images or features
	outputs := map[string]tensor.Tensor{}
	for _, spec := range s.Outputs {
		size := spec.DType.Size()
		dims := make([]int, len(spec.Shape))
		for i, dim := range spec.Shape {
			if dims[i] = dim; dim == tensor.AnySize {
				dims[i] = n
			}
			size *= dims[i]
		}
		output, err := tensor.FromBytes(spec.DType, make([]byte, size), dims...)
		if err != nil {
			return nil, err
		}
		outputs[spec.Name] = output
	}
	return outputs, nil
}

func TestTheLoopFeedsAndReadsWhatPythonExports(t *testing.T) {
	model := readContract(t)
	data, err := dataset.Open(t.Context(), dataset.Synthetic, dataset.Options{
		Classes: []string{"a", "b", "c", "d"}, Shape: imagefile.Shape{Height: 8, Width: 8, Channels: 3}, Limit: 12,
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := pipeline.Fit(t.Context(), model, data.Train, pipeline.Options{Epochs: 1, BatchSize: 5, Test: data.Test})
	if err != nil {
		t.Fatal(err)
	}
	if result.Steps != 3 || result.Test.Examples != 12 {
		t.Errorf("Fit = %+v", result)
	}
	head, err := features.NewHead(model)
	if err != nil {
		t.Fatal(err)
	}
	computed, err := features.Cache{Dir: t.TempDir()}.Open(t.Context(), model, data.Train)
	if err != nil {
		t.Fatal(err)
	}
	defer computed.Close()
	if result, err = pipeline.Fit(t.Context(), head, computed, pipeline.Options{Epochs: 1, BatchSize: 5, Test: computed}); err != nil || result.Steps != 3 {
		t.Errorf("Fit of a head = %+v, %v", result, err)
	}
	result, err = pipeline.Fit(t.Context(), model, data.Train, pipeline.Options{Epochs: 1, BatchSize: 5, Accumulate: 2, UpsampleSchedule: []int{3}})
	if err != nil || result.Steps != 2 {
		t.Errorf("Fit = %+v, %v", result, err)
	}
	images, err := tensor.Of(make([]uint8, 2*8*8*3), 2, 8, 8, 3)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := pipeline.Predict(t.Context(), model, images)
	if err != nil || len(rows) != 2 || len(rows[0]) != contractClasses {
		t.Errorf("Predict = %v, %v", rows, err)
	}
	for name := range model.signatures {
		if model.calls[name] == 0 {
			t.Errorf("contract.json has a signature %q that the loop never calls", name)
		}
	}
}

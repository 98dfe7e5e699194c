package serving

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/residual-go/residual/pipeline/serving/tensorjson"
	"github.com/residual-go/residual/tfgo/tensor"
)

// The JSON of TensorFlow Serving's REST API: rows and columns.

// readRows reads 'instances': a list of values for the only input, or of objects
// with a value for each, at most so many of these.
func readRows(text []byte, specs []tensor.Spec, most int) (tensors, error) {
	if !tensorjson.IsListOfObjects(text) {
		if len(specs) > 1 {
			return nil, fmt.Errorf("instances is a plain list, but expecting list of objects as multiple input tensors are required: %s", strings.Join(tensor.Names(specs), ", "))
		}
		one, err := tensorjson.Read(text, specs[0].DType)
		switch shape := one.Shape(); {
		case err != nil:
			return nil, err
		case len(shape) == 0:
			return nil, fmt.Errorf("expecting 'instances' to be an list/array")
		case shape[0] == 0:
			return nil, fmt.Errorf("no values in 'instances' array")
		}
		return tensors{specs[0].Name: one}, nil
	}
	items, err := tensorjson.Elements(text, most)
	if err != nil {
		return nil, fmt.Errorf("'instances' list: %w", err)
	}
	columns := map[string][]tensor.Tensor{}
	for i, item := range items {
		fields, err := tensorjson.ReadObject(item)
		if err == nil {
			err = appendRow(columns, fields, specs)
		}
		if err != nil {
			return nil, fmt.Errorf("failed to process element: %d of 'instances' list: %w", i, err)
		}
	}
	inputs := tensors{}
	for name, column := range columns {
		if inputs[name], err = tensorjson.Stack(column); err != nil {
			return nil, fmt.Errorf("'instances' list, key %q: %w", name, err)
		}
	}
	return inputs, nil
}

func appendRow(columns map[string][]tensor.Tensor, fields map[string][]byte, specs []tensor.Spec) error {
	for _, s := range specs {
		text, ok := fields[s.Name]
		if !ok || len(fields) != len(specs) {
			return fmt.Errorf("keys must be equal to: %s", strings.Join(tensor.Names(specs), ","))
		}
		one, err := tensorjson.Read(text, s.DType)
		if err != nil {
			return fmt.Errorf("key %s: %w", s.Name, err)
		}
		columns[s.Name] = append(columns[s.Name], one)
	}
	return nil
}

// readColumns reads 'inputs': the value of the only input, or an object with one
// for each.
func readColumns(text []byte, specs []tensor.Spec) (tensors, error) {
	if !tensorjson.IsObject(text) {
		if len(specs) > 1 {
			return nil, fmt.Errorf("inputs is a plain value/list, but expecting an object as multiple input tensors are required: %s", strings.Join(tensor.Names(specs), ", "))
		}
		one, err := tensorjson.Read(text, specs[0].DType)
		return tensors{specs[0].Name: one}, err
	}
	fields, err := tensorjson.ReadObject(text)
	if err != nil {
		return nil, err
	}
	inputs := tensors{}
	for _, s := range specs {
		column, ok := fields[s.Name]
		if !ok {
			return nil, fmt.Errorf("missing named input: %s in 'inputs' object", s.Name)
		}
		if inputs[s.Name], err = tensorjson.Read(column, s.DType); err != nil {
			return nil, fmt.Errorf("input %s: %w", s.Name, err)
		}
	}
	return inputs, nil
}

// writeRows writes 'predictions': a value for each row, or an object if there are
// several outputs.
func writeRows(outputs tensors) ([]byte, error) {
	names := slices.Sorted(maps.Keys(outputs))
	n, err := writableRows(outputs, names)
	if err != nil {
		return nil, err
	}
	text := []byte("{\n    \"predictions\": [")
	for i := range n {
		if i > 0 {
			text = append(text, ',')
		}
		row, err := rows(outputs, i, 1)
		if err != nil {
			return nil, err
		}
		text = append(text, "\n        "...)
		if len(names) > 1 {
			text = append(text, '{')
		}
		for j, name := range names {
			if j > 0 {
				text = append(text, ", "...)
			}
			if len(names) > 1 {
				text = append(appendString(text, name), ": "...)
			}
			value, err := tensor.FromBytes(row[name].DType(), row[name].Bytes(), row[name].Shape()[1:]...)
			if err != nil {
				return nil, err
			}
			text = tensorjson.Append(text, value)
		}
		if len(names) > 1 {
			text = append(text, '}')
		}
	}
	return append(text, "\n    ]\n}"...), nil
}

// writableRows returns how many rows the outputs have, which must be as many in
// all of them.
func writableRows(outputs tensors, names []string) (int, error) {
	n := 0
	for i, name := range names {
		output := outputs[name]
		switch shape := output.Shape(); {
		case !tensorjson.Writes(output.DType()):
			return 0, errorf(ErrInput, "output %q: %v has no form in JSON", name, output.DType())
		case len(shape) == 0:
			return 0, errorf(ErrInput, "Tensor name: %s has no shape information: ask in columns, by 'inputs'", name)
		case i > 0 && shape[0] != n:
			return 0, errorf(ErrInput, "Tensor name: %s has inconsistent batch size: %d expecting: %d: ask in columns, by 'inputs'", name, shape[0], n)
		default:
			n = shape[0]
		}
	}
	return n, nil
}

// writeColumns writes 'outputs': the value of the only one, or an object.
func writeColumns(outputs tensors) ([]byte, error) {
	names := slices.Sorted(maps.Keys(outputs))
	text := []byte("{\n    \"outputs\": ")
	if len(names) > 1 {
		text = append(text, '{')
	}
	for i, name := range names {
		if !tensorjson.Writes(outputs[name].DType()) {
			return nil, errorf(ErrInput, "output %q: %v has no form in JSON", name, outputs[name].DType())
		}
		if i > 0 {
			text = append(text, ',')
		}
		if len(names) > 1 {
			text = append(text, "\n        "...)
			text = append(appendString(text, name), ": "...)
		}
		text = tensorjson.Append(text, outputs[name])
	}
	if len(names) > 1 {
		text = append(text, "\n    }"...)
	}
	return append(text, "\n}"...), nil
}

func appendString(text []byte, value string) []byte {
	quoted, _ := json.Marshal(value) // a string always can be
	return append(text, quoted...)
}

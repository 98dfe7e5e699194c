package serving

import (
	"fmt"
	"maps"
	"slices"

	"github.com/residual-go/residual/tfgo/tensor"
)

// tensors are the inputs or outputs of a call, by name.
type tensors = map[string]tensor.Tensor

// rows returns n of the rows of each tensor, from first on. They share the
// tensors' memory.
func rows(of tensors, first, n int) (tensors, error) {
	part := make(tensors, len(of))
	for name, t := range of {
		shape := t.Shape()
		if len(shape) == 0 || first+n > shape[0] {
			return nil, fmt.Errorf("take rows %d to %d: %q has shape %v", first, first+n, name, shape)
		}
		size := sizeOf(t.DType(), shape[1:])
		taken, err := tensor.FromBytes(t.DType(), t.Bytes()[first*size:(first+n)*size], withRows(n, shape[1:])...)
		if err != nil {
			return nil, fmt.Errorf("take rows of %q: %w", name, err)
		}
		part[name] = taken
	}
	return part, nil
}

// concat puts the rows of several calls behind each other. All have the same
// names, types and sizes of rows; otherwise there is an error.
func concat(parts []tensors) (tensors, error) {
	if len(parts) == 1 {
		return parts[0], nil
	}
	joined := make(tensors, len(parts[0]))
	for name, first := range parts[0] {
		total, length := 0, 0
		for _, part := range parts {
			t, ok := part[name]
			if !ok || t.DType() != first.DType() || !slices.Equal(t.Shape()[1:], first.Shape()[1:]) {
				return nil, fmt.Errorf("join rows: %q is %v %v and %v %v", name, first.DType(), first.Shape(), t.DType(), t.Shape())
			}
			total += t.Shape()[0]
			length += len(t.Bytes())
		}
		data := make([]byte, 0, length)
		for _, part := range parts {
			data = append(data, part[name].Bytes()...)
		}
		t, err := tensor.FromBytes(first.DType(), data, withRows(total, first.Shape()[1:])...)
		if err != nil {
			return nil, fmt.Errorf("join rows of %q: %w", name, err)
		}
		joined[name] = t
	}
	return joined, nil
}

// zeros are tensors of n rows, or of one where the number of rows is not free. ok
// is false where another size is free, too.
func zeros(specs []tensor.Spec, n int) (made tensors, ok bool, err error) {
	made = make(tensors, len(specs))
	for _, s := range specs {
		shape := slices.Clone(s.Shape)
		if len(shape) > 0 && shape[0] == tensor.AnySize {
			shape[0] = n
		}
		if s.AnyRank || slices.Contains(shape, tensor.AnySize) {
			return nil, false, nil
		}
		t, err := tensor.FromBytes(s.DType, make([]byte, sizeOf(s.DType, shape)), shape...)
		if err != nil {
			return nil, false, fmt.Errorf("make %s: %w", s, err)
		}
		made[s.Name] = t
	}
	return made, true, nil
}

// joinable tells whether a function computes each row by itself, as far as its
// signature says: then the rows of several calls may be joined to one.
func joinable(sig tensor.Signature) bool {
	for _, s := range slices.Concat(sig.Inputs, sig.Outputs) {
		if s.AnyRank || len(s.Shape) == 0 || s.Shape[0] != tensor.AnySize {
			return false
		}
	}
	return len(sig.Inputs) > 0
}

// rowsOf returns how many rows a call has. All its inputs must have as many.
func rowsOf(inputs tensors) (int, error) {
	count, of := -1, ""
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		switch n := inputs[name].Shape()[0]; {
		case count >= 0 && n != count:
			return 0, errorf(ErrInput, "%q has %d rows and %q has %d", of, count, name, n)
		default:
			count, of = n, name
		}
	}
	return count, nil
}

func sizeOf(dtype tensor.DType, shape []int) int {
	size := dtype.Size()
	for _, side := range shape {
		size *= side
	}
	return size
}

func withRows(n int, shape []int) []int { return append([]int{n}, shape...) }

// Package tensor holds n-dimensional arrays in plain Go memory.
//
// # Basics
//
// A Tensor is made from a Go slice with Of or from one value with Scalar, and
// read back with Values or Item:
//
//	images, err := tensor.Of(pixels, n, 32, 32, 3) // []uint8 -> uint8 [n,32,32,3]
//	loss, err := tensor.Item[float32](outputs["loss"])
//
// A Signature describes the tensors that a model's function takes and gives.
//
// # Caveats
//
// There is no cgo here and nothing to close. Of does not copy: the tensor and
// the slice share memory, row-major, in the machine's byte order.
package tensor

import (
	"fmt"
	"math"
	"slices"
	"unsafe"
)

// Element is a Go type that a Tensor can hold.
type Element interface {
	uint8 | int32 | int64 | float32 | float64 | bool
}

// Tensor is an n-dimensional array: a shape, an element type, the bytes. The
// zero Tensor holds nothing and has DType Invalid.
type Tensor struct {
	dtype DType
	shape []int
	data  []byte
	text  []string // instead of data, for String
}

// Of makes a tensor of the given shape over data, without copying it.
func Of[T Element](data []T, shape ...int) (Tensor, error) {
	size, err := elements(shape)
	if err != nil {
		return Tensor{}, err
	}
	if size != len(data) {
		return Tensor{}, fmt.Errorf("make tensor: shape %v has %d elements, the data has %d", shape, size, len(data))
	}
	return Tensor{dtype: dtypeOf[T](), shape: slices.Clone(shape), data: bytesOf(data)}, nil
}

// Scalar makes a tensor of shape [].
func Scalar[T Element](value T) Tensor {
	return Tensor{dtype: dtypeOf[T](), data: bytesOf([]T{value})}
}

// Text makes a string tensor of shape [], for file names.
func Text(value string) Tensor {
	return Tensor{dtype: String, text: []string{value}}
}

// FromBytes makes a tensor over raw row-major bytes, without copying them. It
// does not make String tensors.
func FromBytes(dtype DType, data []byte, shape ...int) (Tensor, error) {
	size, err := elements(shape)
	if err != nil {
		return Tensor{}, err
	}
	if width := dtype.Size(); width == 0 || size*width != len(data) {
		return Tensor{}, fmt.Errorf("make tensor: %s %v does not fit %d bytes", dtype, shape, len(data))
	}
	return Tensor{dtype: dtype, shape: slices.Clone(shape), data: data}, nil
}

// DType returns the element type.
func (t Tensor) DType() DType { return t.dtype }

// Shape returns the size of each dimension; empty for a scalar. It must not be
// changed.
func (t Tensor) Shape() []int { return t.shape }

// Bytes returns the elements as they lie in memory; nil for String.
func (t Tensor) Bytes() []byte { return t.data }

// Strings returns the elements of a String tensor; nil for every other type.
func (t Tensor) Strings() []string { return t.text }

// Values returns the tensor's elements in row-major order, sharing its memory.
func Values[T Element](t Tensor) ([]T, error) {
	want := dtypeOf[T]()
	if t.dtype != want {
		return nil, fmt.Errorf("read tensor: it holds %s, not %s", t.dtype, want)
	}
	if len(t.data) == 0 {
		return nil, nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.data[0])), len(t.data)/want.Size()), nil
}

// Item returns the only element of t.
func Item[T Element](t Tensor) (T, error) {
	values, err := Values[T](t)
	if err == nil && len(values) != 1 {
		err = fmt.Errorf("read tensor: shape %v has %d elements, not one", t.shape, len(values))
	}
	if err != nil {
		var none T
		return none, err
	}
	return values[0], nil
}

func elements(shape []int) (int, error) {
	size := 1
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("make tensor: shape %v has a negative dimension", shape)
		}
		if dim > 0 && size > math.MaxInt/8/dim { // 8: the widest element
			return 0, fmt.Errorf("make tensor: shape %v has too many elements", shape)
		}
		size *= dim
	}
	return size, nil
}

func bytesOf[T Element](data []T) []byte {
	if len(data) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(data[0])))
}

package tensor

import "fmt"

// DType is an element type. Its numbers are those of TensorFlow's DataType
// (tensorflow/core/framework/types.proto).
type DType int

// The element types that a signature may have.
const (
	Invalid  DType = 0
	Float32  DType = 1
	Float64  DType = 2
	Int32    DType = 3
	Uint8    DType = 4
	String   DType = 7
	Int64    DType = 9
	Bool     DType = 10
	BFloat16 DType = 14
	Float16  DType = 19
)

var dtypes = map[DType]struct {
	name string
	size int // bytes of one element
}{
	Float32:  {"float32", 4},
	Float64:  {"float64", 8},
	Int32:    {"int32", 4},
	Uint8:    {"uint8", 1},
	String:   {"string", 0},
	Int64:    {"int64", 8},
	Bool:     {"bool", 1},
	BFloat16: {"bfloat16", 2},
	Float16:  {"float16", 2},
}

// String returns NumPy's name of the type, such as "float32".
func (d DType) String() string {
	if known, ok := dtypes[d]; ok {
		return known.name
	}
	return fmt.Sprintf("dtype(%d)", int(d))
}

// Size returns the bytes of one element; 0 where elements have no fixed size.
func (d DType) Size() int { return dtypes[d].size }

func dtypeOf[T Element]() DType {
	var zero T
	switch any(zero).(type) {
	case uint8:
		return Uint8
	case int32:
		return Int32
	case int64:
		return Int64
	case float32:
		return Float32
	case float64:
		return Float64
	default:
		return Bool
	}
}

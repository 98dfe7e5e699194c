package tensorjson

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Append appends a tensor as nested lists. A tensor of shape [] is a value alone.
// Floats have the fewest digits that stand for them, and at least one behind the
// point; those that are no numbers are NaN, Infinity and -Infinity.
func Append(text []byte, t tensor.Tensor) []byte {
	w := &writer{text: text, data: t.Bytes(), dtype: t.DType()}
	w.nested(t.Shape())
	return w.text
}

// AppendFlat appends a tensor's elements as one list.
func AppendFlat(text []byte, t tensor.Tensor) []byte {
	n := 1
	for _, side := range t.Shape() {
		n *= side
	}
	w := &writer{text: text, data: t.Bytes(), dtype: t.DType()}
	w.nested([]int{n})
	return w.text
}

// Writes tells whether Append can write tensors of a type.
func Writes(dtype tensor.DType) bool {
	_, ok := converters[dtype]
	return ok
}

type writer struct {
	text  []byte
	data  []byte // what has not been written
	dtype tensor.DType
}

func (w *writer) nested(shape []int) {
	if len(shape) == 0 {
		w.element()
		return
	}
	w.text = append(w.text, '[')
	for i := range shape[0] {
		if i > 0 {
			w.text = append(w.text, ", "...)
		}
		w.nested(shape[1:])
	}
	w.text = append(w.text, ']')
}

func (w *writer) element() {
	order := binary.NativeEndian
	size := w.dtype.Size()
	element := w.data[:size]
	w.data = w.data[size:]
	switch w.dtype {
	case tensor.Uint8:
		w.text = strconv.AppendUint(w.text, uint64(element[0]), 10)
	case tensor.Int32:
		w.text = strconv.AppendInt(w.text, int64(int32(order.Uint32(element))), 10)
	case tensor.Int64:
		w.text = strconv.AppendInt(w.text, int64(order.Uint64(element)), 10)
	case tensor.Float32:
		w.text = appendFloat(w.text, float64(math.Float32frombits(order.Uint32(element))), 32)
	case tensor.Float64:
		w.text = appendFloat(w.text, math.Float64frombits(order.Uint64(element)), 64)
	case tensor.Bool:
		w.text = strconv.AppendBool(w.text, element[0] != 0)
	}
}

func appendFloat(text []byte, x float64, bits int) []byte {
	switch {
	case math.IsNaN(x):
		return append(text, "NaN"...)
	case math.IsInf(x, 1):
		return append(text, "Infinity"...)
	case math.IsInf(x, -1):
		return append(text, "-Infinity"...)
	}
	begin := len(text)
	text = strconv.AppendFloat(text, x, 'g', -1, bits)
	if !slices.ContainsFunc(text[begin:], func(c byte) bool { return c == '.' || c == 'e' }) {
		text = append(text, ".0"...)
	}
	return text
}

package serving

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	tensorpb "github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// protoTensor is a tensor as a message (tensorflow/core/framework/tensor.proto): its
// bytes, or a list of its elements, of which the last one stands for those that are
// missing.
type (
	protoTensor  = tensorpb.TensorProto
	protoTensors = map[string]*protoTensor
)

// fromProto reads a tensor of at most so many bytes. A message of few bytes may stand
// for many: it is held against what the function takes before they are made.
func fromProto(m *protoTensor, spec tensor.Spec, most int) (tensor.Tensor, error) {
	dtype := tensor.DType(m.GetDtype())
	size := dtype.Size()
	if size == 0 {
		return tensor.Tensor{}, fmt.Errorf("%s is not served", m.GetDtype())
	}
	shape, n, err := shapeOf(m.GetTensorShape(), most/size)
	if err == nil {
		err = spec.CheckShape(dtype, shape)
	}
	if err != nil {
		return tensor.Tensor{}, err
	}
	data := m.GetTensorContent()
	if len(data) == 0 {
		elements := elementsOf(m, dtype)
		if len(elements) > n*size {
			return tensor.Tensor{}, fmt.Errorf("it has %d elements, its shape %v only %d", len(elements)/size, shape, n)
		}
		data = extend(elements, n, size)
	}
	return tensor.FromBytes(dtype, data, shape...)
}

// shapeOf reads a shape and how many elements it has, at most so many.
func shapeOf(m *tensor_shape_go_proto.TensorShapeProto, most int) (shape []int, n int, err error) {
	if m.GetUnknownRank() {
		return nil, 0, errors.New("its shape is unknown")
	}
	n = 1
	for _, dim := range m.GetDim() {
		side := dim.GetSize()
		if side < 0 || side > int64(most) || n > 0 && side > int64(most/n) {
			return nil, 0, fmt.Errorf("its shape has a dimension of %d: at most %d elements are read", side, most)
		}
		shape = append(shape, int(side))
		n *= int(side)
	}
	return shape, n, nil
}

func protoShape(shape []int) *tensor_shape_go_proto.TensorShapeProto {
	m := &tensor_shape_go_proto.TensorShapeProto{}
	for _, side := range shape {
		m.Dim = append(m.Dim, &tensor_shape_go_proto.TensorShapeProto_Dim{Size: int64(side)})
	}
	return m
}

// elementsOf are the bytes of the elements that are listed.
func elementsOf(m *protoTensor, dtype tensor.DType) []byte {
	order := binary.NativeEndian
	var data []byte
	switch dtype {
	case tensor.Float32:
		for _, x := range m.GetFloatVal() {
			data = order.AppendUint32(data, math.Float32bits(x))
		}
	case tensor.Float64:
		for _, x := range m.GetDoubleVal() {
			data = order.AppendUint64(data, math.Float64bits(x))
		}
	case tensor.Int64:
		for _, x := range m.GetInt64Val() {
			data = order.AppendUint64(data, uint64(x))
		}
	case tensor.Int32:
		for _, x := range m.GetIntVal() {
			data = order.AppendUint32(data, uint32(x))
		}
	case tensor.Uint8:
		for _, x := range m.GetIntVal() {
			data = append(data, byte(x))
		}
	case tensor.Bool:
		for _, x := range m.GetBoolVal() {
			data = append(data, map[bool]byte{true: 1}[x])
		}
	case tensor.Float16, tensor.BFloat16:
		for _, x := range m.GetHalfVal() {
			data = order.AppendUint16(data, uint16(x))
		}
	}
	return data
}

// extend repeats the last element until there are n; of none it makes zeros.
func extend(elements []byte, n, size int) []byte {
	if len(elements) == 0 {
		return make([]byte, n*size)
	}
	all := make([]byte, n*size)
	filled := copy(all, elements)
	if filled < len(all) {
		copy(all[filled:], elements[len(elements)-size:])
		for from := filled; filled < len(all); { // twice as many each time
			filled += copy(all[filled:], all[from:max(filled, from+size)])
		}
	}
	return all
}

// toProto lists a tensor's elements, as TensorFlow Serving does unless it is told
// otherwise: there are clients that read nothing else.
func toProto(t tensor.Tensor) *protoTensor {
	m := &protoTensor{Dtype: types_go_proto.DataType(t.DType()), TensorShape: protoShape(t.Shape())}
	order, data, size := binary.NativeEndian, t.Bytes(), t.DType().Size()
	for ; len(data) > 0; data = data[size:] {
		switch t.DType() {
		case tensor.Float32:
			m.FloatVal = append(m.FloatVal, math.Float32frombits(order.Uint32(data)))
		case tensor.Float64:
			m.DoubleVal = append(m.DoubleVal, math.Float64frombits(order.Uint64(data)))
		case tensor.Int64:
			m.Int64Val = append(m.Int64Val, int64(order.Uint64(data)))
		case tensor.Int32:
			m.IntVal = append(m.IntVal, int32(order.Uint32(data)))
		case tensor.Uint8:
			m.IntVal = append(m.IntVal, int32(data[0]))
		case tensor.Bool:
			m.BoolVal = append(m.BoolVal, data[0] != 0)
		case tensor.Float16, tensor.BFloat16:
			m.HalfVal = append(m.HalfVal, int32(order.Uint16(data)))
		}
	}
	return m
}

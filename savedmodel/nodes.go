package savedmodel

import (
	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// with are a node's attributes.
type with = map[string]*attrs.AttrValue

func newNode(name, op string, inputs []string, attributes with) *node_def_go_proto.NodeDef {
	return &node_def_go_proto.NodeDef{Name: name, Op: op, Input: inputs, Attr: attributes}
}

func typ(t types_go_proto.DataType) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_Type{Type: t}}
}

func text(value string) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_S{S: []byte(value)}}
}

func calling(function string) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_Func{Func: &attrs.NameAttrList{Name: function}}}
}

// shape is one of sizes, of which tensor.AnySize are free.
func shape(sizes ...int) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_Shape{Shape: shapeProto(sizes...)}}
}

func shapeProto(sizes ...int) *tensor_shape_go_proto.TensorShapeProto {
	proto := &tensor_shape_go_proto.TensorShapeProto{}
	for _, size := range sizes {
		proto.Dim = append(proto.Dim, &tensor_shape_go_proto.TensorShapeProto_Dim{Size: int64(size)})
	}
	return proto
}

// gathering are the attributes of a GatherV2 of rows.
func gathering(dtype types_go_proto.DataType) with {
	return with{"Tparams": typ(dtype), "Tindices": typ(int32Type), "Taxis": typ(int32Type)}
}

// The attributes of constants.

func scalar(value int32) with {
	return constant(&tensor_go_proto.TensorProto{Dtype: int32Type, TensorShape: shapeProto(), IntVal: []int32{value}})
}

func ints(values ...int32) with {
	return constant(&tensor_go_proto.TensorProto{Dtype: int32Type, TensorShape: shapeProto(len(values)), IntVal: values})
}

func zeroOf(dtype types_go_proto.DataType) with {
	return constant(&tensor_go_proto.TensorProto{Dtype: dtype, TensorShape: shapeProto(), TensorContent: make([]byte, tensor.DType(dtype).Size())})
}

func constant(value *tensor_go_proto.TensorProto) with {
	return with{"dtype": typ(value.Dtype), "value": {Value: &attrs.AttrValue_Tensor{Tensor: value}}}
}

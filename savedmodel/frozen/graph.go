package frozen

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// node is an operation of a graph without functions and without control edges.
type node struct {
	name   string
	op     string
	attrs  map[string]*attrs.AttrValue
	inputs []port
	// value is what a Const holds; nil where it is only in the attribute "value".
	value *tensor.Tensor
}

// port is one of a node's outputs.
type port struct {
	node  *node
	index int
}

func (p port) String() string { return p.node.name + ":" + strconv.Itoa(p.index) }

// graph is what some ports are computed from.
type graph struct {
	outputs []port
	names   map[string]bool // that are taken
	sized   bool            // see Graph
}

// unique makes a name out of one that may be taken.
func (g *graph) unique(name string) string {
	for tried, i := name, 1; ; i++ {
		if !g.names[tried] {
			g.names[tried] = true
			return tried
		}
		tried = fmt.Sprintf("%s_%d", name, i)
	}
}

// nodes returns all that the outputs need, each after its inputs.
func (g *graph) nodes() []*node {
	var sorted []*node
	g.walk(func(*node) {}, func(n *node) { sorted = append(sorted, n) })
	return sorted
}

// walk goes to each node that the outputs need, before its inputs and after
// them. before may change the inputs.
func (g *graph) walk(before, after func(n *node)) {
	seen := map[*node]bool{}
	var visit func(n *node)
	visit = func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		before(n)
		for _, input := range n.inputs {
			visit(input.node)
		}
		after(n)
	}
	for _, output := range g.outputs {
		visit(output.node)
	}
}

// readers counts how often each node is read, as an output of the graph too.
func (g *graph) readers() map[*node]int {
	count := map[*node]int{}
	for _, n := range g.nodes() {
		for _, input := range n.inputs {
			count[input.node]++
		}
	}
	for _, output := range g.outputs {
		count[output.node]++
	}
	return count
}

// replacements are ports by those in whose place they are put.
type replacements map[port]port

// follow puts them into some ports.
func (r replacements) follow(ports []port) {
	for i := range ports {
		for next, ok := r[ports[i]]; ok; next, ok = r[ports[i]] {
			ports[i] = next
		}
	}
}

// replace puts replacements into the whole graph.
func (g *graph) replace(by replacements) {
	by.follow(g.outputs)
	g.walk(func(n *node) { by.follow(n.inputs) }, func(*node) {})
}

// marshal writes the graph as TensorFlow reads it, a serialized GraphDef.
func (g *graph) marshal() ([]byte, error) {
	def := &graph_go_proto.GraphDef{}
	for _, n := range g.nodes() {
		out := &node_def_go_proto.NodeDef{Name: n.name, Op: n.op, Attr: maps.Clone(n.attrs)}
		for _, input := range n.inputs {
			out.Input = append(out.Input, input.String())
		}
		if n.value != nil {
			out.Attr["value"] = valueAttr(*n.value)
		}
		def.Node = append(def.Node, out)
	}
	return proto.Marshal(def)
}

func (g *graph) outputNames() []string {
	names := make([]string, len(g.outputs))
	for i, output := range g.outputs {
		names[i] = output.String()
	}
	return names
}

// constant makes a node for a value.
func (g *graph) constant(name string, value tensor.Tensor) *node {
	dtype := types_go_proto.DataType(value.DType())
	return &node{
		name: g.unique(name), op: "Const", value: &value,
		attrs: map[string]*attrs.AttrValue{"dtype": typeAttr(dtype)},
	}
}

func typeAttr(t types_go_proto.DataType) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_Type{Type: t}}
}

func valueAttr(t tensor.Tensor) *attrs.AttrValue {
	shape := &tensor_shape_go_proto.TensorShapeProto{}
	for _, size := range t.Shape() {
		shape.Dim = append(shape.Dim, &tensor_shape_go_proto.TensorShapeProto_Dim{Size: int64(size)})
	}
	return &attrs.AttrValue{Value: &attrs.AttrValue_Tensor{Tensor: &tensor_go_proto.TensorProto{
		Dtype: types_go_proto.DataType(t.DType()), TensorShape: shape, TensorContent: t.Bytes(),
	}}}
}

func stringsAttr(values ...string) *attrs.AttrValue {
	list := &attrs.AttrValue_ListValue{}
	for _, value := range values {
		list.S = append(list.S, []byte(value))
	}
	return &attrs.AttrValue{Value: &attrs.AttrValue_List{List: list}}
}

func boolAttr(value bool) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_B{B: value}}
}

func intAttr(value int64) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_I{I: value}}
}

func intsAttr(values ...int64) *attrs.AttrValue {
	return &attrs.AttrValue{Value: &attrs.AttrValue_List{List: &attrs.AttrValue_ListValue{I: values}}}
}

// shape is a port's static shape, tensor.AnySize where a size is free; false if
// nothing is known.
func (p port) shape() ([]int, bool) {
	if p.node.value != nil {
		return p.node.value.Shape(), p.index == 0
	}
	shapes := p.node.attrs["_output_shapes"].GetList().GetShape()
	if p.index >= len(shapes) || shapes[p.index].GetUnknownRank() {
		return nil, false
	}
	var sizes []int
	for _, dim := range shapes[p.index].GetDim() {
		sizes = append(sizes, int(dim.GetSize()))
	}
	return sizes, true
}

// floats returns a constant's values; false for all but float32 constants.
func (p port) floats() ([]float32, bool) {
	if p.node.value == nil || p.index != 0 {
		return nil, false
	}
	values, err := tensor.Values[float32](*p.node.value)
	return values, err == nil
}

func sameShape(a, b port) bool {
	one, known := a.shape()
	other, alsoKnown := b.shape()
	return known && alsoKnown && slices.Equal(one, other)
}

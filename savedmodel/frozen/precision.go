package frozen

import (
	"cmp"
	"maps"
	"math"
	"slices"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

const (
	float32Type  = types_go_proto.DataType_DT_FLOAT
	bfloat16Type = types_go_proto.DataType_DT_BFLOAT16
)

// passive are the operations that compute in bfloat16 where what they read is in
// it: none of them adds up more than two numbers.
var passive = []string{"Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "MaxPool", "Pad", "BiasAdd", "Add", "AddV2", "Sub", "Mul", "ConcatV2"}

// moving are the operations that only move values, by the attribute with their
// type: rounded before them or after, the values are the same.
var moving = map[string]string{
	"Tile": "T", "ConcatV2": "T", "Reshape": "T", "ExpandDims": "T", "Squeeze": "T", "Transpose": "T",
	"ResizeNearestNeighbor": "T", "GatherV2": "Tparams",
}

// bfloat16 lets products compute in bfloat16, and what lies between them.
// Everything else stays float32.
func (g *graph) bfloat16() {
	low := map[*node]bool{}
	sorted := g.nodes()
	for _, n := range sorted {
		if t, ok := n.attrs["T"]; ok && t.GetType() != float32Type { // models leave out what is the default
			continue
		}
		lows, constants := 0, 0
		for _, input := range n.data() {
			switch {
			case low[n.inputs[input].node]:
				lows++
			case n.inputs[input].node.value != nil:
				constants++
			}
		}
		_, moves := moving[n.op]
		low[n] = n.isProduct() || (moves || slices.Contains(passive, n.op)) && lows > 0 && lows+constants == len(n.data())
	}
	c := &caster{graph: g, readers: g.readers(), done: map[port]port{}}
	for _, n := range sorted {
		data := n.data()
		for i, input := range n.inputs {
			switch {
			case low[n] && !low[input.node] && slices.Contains(data, i):
				n.inputs[i] = c.down(input)
			case !low[n] && low[input.node]:
				n.inputs[i] = c.cast(input, float32Type)
			}
		}
		if low[n] {
			n.setType(cmp.Or(moving[n.op], "T"), bfloat16Type)
		}
	}
	for i, output := range g.outputs {
		if low[output.node] {
			g.outputs[i] = c.cast(output, float32Type)
		}
	}
}

// isProduct tells whether a node is a product by weights, fused or not.
func (n *node) isProduct() bool {
	for op, kind := range products {
		if n.op == op || n.op == kind.fused {
			return true
		}
	}
	return false
}

// data are the inputs that have the type of the result.
func (n *node) data() []int {
	count := len(n.inputs)
	switch n.op {
	case "Pad", "Tile", "Reshape", "ExpandDims", "Squeeze", "Transpose", "ResizeNearestNeighbor", "GatherV2":
		count = 1
	case "ConcatV2": // the last one is the axis
		count--
	}
	data := make([]int, count)
	for i := range data {
		data[i] = i
	}
	return data
}

// setType changes the type that a node computes in.
func (n *node) setType(attr string, to types_go_proto.DataType) {
	n.attrs = maps.Clone(n.attrs)
	n.attrs[attr] = typeAttr(to)
	if _, ok := n.attrs["TArgs"]; ok {
		n.setArguments(len(n.inputs) - 2)
	}
}

// caster converts the results of nodes, each once.
type caster struct {
	graph   *graph
	readers map[*node]int
	done    map[port]port
}

// down returns a float32 result as bfloat16, converted as early as can be.
func (c *caster) down(p port) port {
	if done, ok := c.done[p]; ok {
		return done
	}
	attr, ok := moving[p.node.op]
	switch {
	case p.node.value != nil:
		c.done[p] = port{c.graph.constant(p.node.name, rounded(*p.node.value)), 0}
	case ok && c.readers[p.node] == 1 && p.node.attrs[attr].GetType() == float32Type:
		for _, i := range p.node.data() {
			p.node.inputs[i] = c.down(p.node.inputs[i])
		}
		p.node.setType(attr, bfloat16Type)
		c.done[p] = p
	default:
		return c.cast(p, bfloat16Type)
	}
	return c.done[p]
}

func (c *caster) cast(p port, to types_go_proto.DataType) port {
	if done, ok := c.done[p]; ok {
		return done
	}
	from := float32Type
	if to == float32Type {
		from = bfloat16Type
	}
	n := &node{
		name: c.graph.unique(p.node.name + "/cast"), op: "Cast", inputs: []port{p},
		attrs: map[string]*attrs.AttrValue{"SrcT": typeAttr(from), "DstT": typeAttr(to)},
	}
	c.done[p] = port{n, 0}
	return c.done[p]
}

// rounded converts a float32 constant to bfloat16, to nearest, ties to even.
func rounded(t tensor.Tensor) tensor.Tensor {
	values, err := tensor.Values[float32](t)
	if err != nil {
		panic(err)
	}
	data := make([]byte, 2*len(values))
	for i, value := range values {
		bits := math.Float32bits(value)
		if value == value { // not NaN
			bits += 0x7fff + bits>>16&1
		}
		data[2*i], data[2*i+1] = byte(bits>>16), byte(bits>>24)
	}
	result, err := tensor.FromBytes(tensor.BFloat16, data, t.Shape()...)
	if err != nil {
		panic(err)
	}
	return result
}

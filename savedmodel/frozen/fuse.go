package frozen

import (
	"maps"
	"slices"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// product is an operation that multiplies by weights, as oneDNN computes it
// together with what comes after it.
type product struct {
	fused       string   // TensorFlow's name of the operation
	sums        bool     // whether it can add a tensor
	activations []string // that it can compute
}

// The operations that TensorFlow's own optimizer makes on a CPU with oneDNN, where
// it finds them: it leaves sums alone whose shapes it does not know.
var products = map[string]product{
	"Conv2D":                {"_MklNativeFusedConv2D", true, []string{"Relu", "Relu6", "Elu"}},
	"DepthwiseConv2dNative": {"_MklNativeFusedDepthwiseConv2dNative", false, []string{"Relu", "Relu6", "Elu"}},
	"MatMul":                {"_MklNativeFusedMatMul", false, []string{"Relu", "Relu6", "Elu"}},
}

// kernel is the label that oneDNN's kernels are registered with.
var kernel = &attrs.AttrValue{Value: &attrs.AttrValue_S{S: []byte("MklNameChangeOp")}}

// fuse makes one operation of a product, its bias, the sum with what a residual
// block's other branch gives, and the activation after it.
func (g *graph) fuse() {
	g.pad()
	readers := g.readers()
	by := replacements{}
	known := map[*node]product{}
	extend := func(n, fused *node, op string) {
		fused.attrs["fused_ops"].GetList().S = append(fused.attrs["fused_ops"].GetList().S, []byte(op))
		by[port{n, 0}] = port{fused, 0}
		readers[fused] = readers[n]
	}
	for _, n := range g.nodes() {
		by.follow(n.inputs)
		switch n.op {
		case "BiasAdd":
			x := n.inputs[0].node
			kind := products[x.op]
			if _, ok := x.channels(); ok && readers[x] == 1 && n.channelsLast() && !x.attrs["transpose_a"].GetB() {
				fused := g.fused(x, kind, n.inputs[1])
				known[fused] = kind
				extend(n, fused, "BiasAdd")
			}
		case "Add", "AddV2":
			if i := slices.IndexFunc(n.inputs, func(p port) bool {
				return known[p.node].sums && readers[p.node] == 1 && len(p.node.inputs) == 3
			}); i >= 0 && sameShape(n.inputs[0], n.inputs[1]) {
				fused := n.inputs[i].node
				fused.inputs = append(fused.inputs, n.inputs[1-i])
				fused.setArguments(2)
				extend(n, fused, "Add")
			}
		default:
			if len(n.inputs) != 1 {
				continue
			}
			fused := n.inputs[0].node
			if kind, ok := known[fused]; ok && readers[fused] == 1 && slices.Contains(kind.activations, n.op) {
				delete(known, fused) // it is complete
				extend(n, fused, n.op)
			}
		}
	}
	g.replace(by)
}

// fused makes the operation of a product and its bias.
func (g *graph) fused(x *node, kind product, bias port) *node {
	fused := &node{name: x.name, op: kind.fused, attrs: maps.Clone(x.attrs), inputs: []port{x.inputs[0], x.inputs[1], bias}}
	fused.attrs["_kernel"] = kernel
	fused.attrs["is_filter_const"] = boolAttr(true)
	fused.attrs["fused_ops"] = stringsAttr()
	delete(fused.attrs, "grad_a")
	delete(fused.attrs, "grad_b")
	fused.setArguments(1)
	return fused
}

// setArguments says how many tensors besides the weights an operation has.
func (n *node) setArguments(count int) {
	n.attrs["num_args"] = intAttr(int64(count))
	if n.op == products["Conv2D"].fused {
		types := make([]types_go_proto.DataType, count)
		for i := range types {
			types[i] = n.attrs["T"].GetType()
		}
		n.attrs["TArgs"] = &attrs.AttrValue{Value: &attrs.AttrValue_List{List: &attrs.AttrValue_ListValue{Type: types}}}
	}
}

// pad gives padding that is an operation of its own to the convolution after it.
func (g *graph) pad() {
	for _, n := range g.nodes() {
		if n.op != "Conv2D" || string(n.attrs["padding"].GetS()) != "VALID" || !n.channelsLast() {
			continue
		}
		before := n.inputs[0].node
		if before.op != "Pad" || before.inputs[1].node.value == nil {
			continue
		}
		sizes, err := tensor.Values[int32](*before.inputs[1].node.value)
		if err != nil || len(sizes) != 8 || sizes[0]+sizes[1]+sizes[6]+sizes[7] != 0 {
			continue
		}
		wide := make([]int64, len(sizes))
		for i, size := range sizes {
			wide[i] = int64(size)
		}
		n.attrs["padding"] = &attrs.AttrValue{Value: &attrs.AttrValue_S{S: []byte("EXPLICIT")}}
		n.attrs["explicit_paddings"] = intsAttr(wide...)
		n.inputs[0] = before.inputs[0]
	}
}

// biasAttrs are those of a BiasAdd that follows a product.
func biasAttrs(x *node) map[string]*attrs.AttrValue {
	a := map[string]*attrs.AttrValue{"T": x.attrs["T"]}
	if shapes, ok := x.attrs["_output_shapes"]; ok {
		a["_output_shapes"] = shapes
	}
	return a
}

package frozen

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/op_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// define makes an operation: "Relu features -> activations", stateful with an !.
func define(text string) *op_def_go_proto.OpDef {
	name, rest, _ := strings.Cut(text, " ")
	inputs, outputs, _ := strings.Cut(rest, "->")
	op := &op_def_go_proto.OpDef{Name: strings.TrimSuffix(name, "!"), IsStateful: strings.HasSuffix(name, "!")}
	for _, input := range strings.Fields(inputs) {
		op.InputArg = append(op.InputArg, &op_def_go_proto.OpDef_ArgDef{Name: input})
	}
	for _, output := range strings.Fields(outputs) {
		op.OutputArg = append(op.OutputArg, &op_def_go_proto.OpDef_ArgDef{Name: output})
	}
	return op
}

// operation makes a node: "name Op input input".
func operation(text string, with map[string]*attrs.AttrValue) *node_def_go_proto.NodeDef {
	words := strings.Fields(text)
	return &node_def_go_proto.NodeDef{Name: words[0], Op: words[1], Input: words[2:], Attr: with}
}

func calls(function string) map[string]*attrs.AttrValue {
	f := &attrs.AttrValue{Value: &attrs.AttrValue_Func{Func: &attrs.NameAttrList{Name: function}}}
	return map[string]*attrs.AttrValue{"f": f}
}

// model puts a function into a graph that calls it with an image and variables.
func model(variables []string, body ...*node_def_go_proto.NodeDef) *pb.MetaGraphDef {
	function := &function_go_proto.FunctionDef{
		Signature: define("body image " + strings.Join(variables, " ") + " -> result"),
		NodeDef:   body,
		Ret:       map[string]string{"result": "result:y:0"},
	}
	outer := &function_go_proto.FunctionDef{
		Signature: define("outer image " + strings.Join(variables, " ") + " -> result"),
		NodeDef:   []*node_def_go_proto.NodeDef{operation("inner PartitionedCall image "+strings.Join(variables, " "), calls("body"))},
		Ret:       map[string]string{"result": "inner:output:0"},
	}
	graph := &graph_go_proto.GraphDef{
		Node:    []*node_def_go_proto.NodeDef{operation("images Placeholder", nil)},
		Library: &function_go_proto.FunctionDefLibrary{Function: []*function_go_proto.FunctionDef{function, outer}},
	}
	call := "call StatefulPartitionedCall images"
	for _, variable := range variables {
		graph.Node = append(graph.Node, operation("model/"+variable+" VarHandleOp", nil))
		call += " model/" + variable
	}
	graph.Node = append(graph.Node, operation(call, calls("outer")))
	ops := &op_def_go_proto.OpList{}
	for _, text := range []string{
		"Placeholder -> output", "VarHandleOp! -> resource", "ReadVariableOp! resource -> value", "Conv2D input filter -> output",
		"BiasAdd value bias -> output", "FusedBatchNormV3 x scale offset mean variance -> y batch_mean batch_variance", "Relu features -> y",
		"AddV2 x y -> y", "Mul x y -> y", "Softmax logits -> y", "RandomUniform! shape -> output", "If! cond -> output", "PartitionedCall args -> output", "Gather! resource -> y",
	} {
		ops.Op = append(ops.Op, define(text))
	}
	return &pb.MetaGraphDef{MetaInfoDef: &pb.MetaGraphDef_MetaInfoDef{StrippedOpList: ops}, GraphDef: graph}
}

func float32s(with map[string]*attrs.AttrValue, shape ...int) map[string]*attrs.AttrValue {
	if with == nil {
		with = map[string]*attrs.AttrValue{}
	}
	with["T"] = typeAttr(float32Type)
	sizes := &tensor_shape_go_proto.TensorShapeProto{}
	for _, size := range shape {
		sizes.Dim = append(sizes.Dim, &tensor_shape_go_proto.TensorShapeProto_Dim{Size: int64(size)})
	}
	with["_output_shapes"] = &attrs.AttrValue{Value: &attrs.AttrValue_List{List: &attrs.AttrValue_ListValue{
		Shape: []*tensor_shape_go_proto.TensorShapeProto{sizes},
	}}}
	return with
}

func inference(epsilon float32) map[string]*attrs.AttrValue {
	return float32s(map[string]*attrs.AttrValue{
		"is_training": {Value: &attrs.AttrValue_B{B: false}}, "epsilon": {Value: &attrs.AttrValue_F{F: epsilon}},
	}, -1, 4, 4, 2)
}

// residualBlock is relu(norm(conv(image) + bias) + image), of a 1x1 convolution
// with two channels.
func residualBlock() (*pb.MetaGraphDef, map[string]tensor.Tensor) {
	convolution := float32s(map[string]*attrs.AttrValue{
		"strides": intsAttr(1, 1, 1, 1), "padding": {Value: &attrs.AttrValue_S{S: []byte("VALID")}},
	}, -1, 4, 4, 2)
	meta := model([]string{"kernel", "bias", "gamma", "beta", "mean", "variance"},
		operation("k ReadVariableOp kernel", nil), operation("b ReadVariableOp bias", nil), operation("g ReadVariableOp gamma", nil),
		operation("o ReadVariableOp beta", nil), operation("m ReadVariableOp mean", nil), operation("v ReadVariableOp variance", nil),
		operation("x Relu image", float32s(nil, -1, 4, 4, 2)),
		operation("conv Conv2D x:y:0 k:value:0", convolution),
		operation("biased BiasAdd conv:output:0 b:value:0", float32s(nil, -1, 4, 4, 2)),
		operation("norm FusedBatchNormV3 biased:output:0 g:value:0 o:value:0 m:value:0 v:value:0", inference(0)),
		operation("sum AddV2 norm:y:0 x:y:0", float32s(nil, -1, 4, 4, 2)),
		operation("result Relu sum:y:0", float32s(nil, -1, 4, 4, 2)),
	)
	return meta, map[string]tensor.Tensor{
		"model/kernel": mustOf([]float32{1, 2, 3, 4}, 1, 1, 2, 2), "model/bias": mustOf([]float32{5, 6}, 2),
		"model/gamma": mustOf([]float32{2, 3}, 2), "model/beta": mustOf([]float32{7, 8}, 2),
		"model/mean": mustOf([]float32{1, 2}, 2), "model/variance": mustOf([]float32{4, 9}, 2),
	}
}

// frozenOf takes the steps of Make and returns the graph before it is written.
func frozenOf(t *testing.T, meta *pb.MetaGraphDef, values map[string]tensor.Tensor, fuse, low bool) *graph {
	t.Helper()
	g, err := inline(meta, []string{"call:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.variables(values); err != nil {
		t.Fatal(err)
	}
	g.fold()
	if fuse {
		g.fuse()
	}
	if low {
		g.bfloat16()
	}
	return g
}

// describe lists the operations of a graph but for constants.
func describe(g *graph) string {
	var ops []string
	for _, n := range g.nodes() {
		if n.op != "Const" {
			ops = append(ops, n.op)
		}
	}
	return strings.Join(ops, " ")
}

func TestABatchNormIsFolded(t *testing.T) {
	meta, values := residualBlock()
	g := frozenOf(t, meta, values, false, false)
	if got, want := describe(g), "Placeholder Relu Conv2D BiasAdd AddV2 Relu"; got != want {
		t.Fatalf("the graph is %s, not %s", got, want)
	}
	bias := g.outputs[0].node.inputs[0].node.inputs[0].node
	weights, _ := bias.inputs[0].node.inputs[1].floats()
	offsets, _ := bias.inputs[1].floats()
	// gamma / sqrt(variance) is 1 and 1; the bias (5-1)*1+7 and (6-2)*1+8.
	if !slices.Equal(weights, []float32{1, 2, 3, 4}) || !slices.Equal(offsets, []float32{11, 12}) {
		t.Errorf("weights %v, bias %v", weights, offsets)
	}
}

func TestASumIsFusedWithTheConvolutionBeforeIt(t *testing.T) {
	meta, values := residualBlock()
	g := frozenOf(t, meta, values, true, false)
	if got, want := describe(g), "Placeholder Relu _MklNativeFusedConv2D"; got != want {
		t.Fatalf("the graph is %s, not %s", got, want)
	}
	var ops []string
	for _, op := range g.outputs[0].node.attrs["fused_ops"].GetList().GetS() {
		ops = append(ops, string(op))
	}
	if !slices.Equal(ops, []string{"BiasAdd", "Add", "Relu"}) || len(g.outputs[0].node.inputs) != 4 {
		t.Errorf("it computes %v of %d inputs", ops, len(g.outputs[0].node.inputs))
	}
}

func TestASumOfUnknownShapesIsNotFused(t *testing.T) {
	meta, values := residualBlock()
	for _, n := range meta.GetGraphDef().GetLibrary().GetFunction()[0].GetNodeDef() {
		if n.GetName() == "x" {
			delete(n.Attr, "_output_shapes")
		}
	}
	if got, want := describe(frozenOf(t, meta, values, true, false)), "Placeholder Relu _MklNativeFusedConv2D AddV2 Relu"; got != want {
		t.Errorf("the graph is %s, not %s", got, want)
	}
}

// A BatchNorm in training mode, one whose input is read by others too, and one
// with statistics that are no constants stay.
func TestWhatCannotBeFolded(t *testing.T) {
	for name, change := range map[string]func(n *node_def_go_proto.NodeDef){
		"training":   func(n *node_def_go_proto.NodeDef) { delete(n.Attr, "is_training") },
		"statistics": func(n *node_def_go_proto.NodeDef) { n.Input[3] = "image" },
	} {
		meta, values := residualBlock()
		for _, n := range meta.GetGraphDef().GetLibrary().GetFunction()[0].GetNodeDef() {
			if n.GetName() == "norm" {
				change(n)
			}
		}
		if got := describe(frozenOf(t, meta, values, false, false)); !strings.Contains(got, "Conv2D BiasAdd FusedBatchNormV3") {
			t.Errorf("%s: the graph is %s", name, got)
		}
	}
	meta, values := residualBlock()
	for _, n := range meta.GetGraphDef().GetLibrary().GetFunction()[0].GetNodeDef() {
		if n.GetName() == "sum" {
			n.Input[1] = "biased:output:0"
		}
	}
	if got, want := describe(frozenOf(t, meta, values, false, false)), "Placeholder Relu Conv2D BiasAdd FusedBatchNormV3 AddV2 Relu"; got != want {
		t.Errorf("the graph is %s, not %s", got, want)
	}
}

func TestProductsComputeInBFloat16(t *testing.T) {
	meta, values := residualBlock()
	g := frozenOf(t, meta, values, false, true)
	// The first Relu reads what is float32, and the last one's result is asked for in it.
	if got, want := describe(g), "Placeholder Relu Cast Conv2D BiasAdd Cast AddV2 Relu"; got != want {
		t.Errorf("the graph is %s, not %s", got, want)
	}
	for _, n := range g.nodes() {
		if n.op == "Conv2D" && (n.attrs["T"].GetType() != bfloat16Type || n.inputs[1].node.value.DType() != tensor.BFloat16) {
			t.Errorf("the convolution computes in %v with weights in %v", n.attrs["T"].GetType(), n.inputs[1].node.value.DType())
		}
	}
}

func TestRounded(t *testing.T) {
	for value, want := range map[float32]uint16{
		1: 0x3f80, 1 + 1.0/256: 0x3f80, 1 + 3.0/256: 0x3f82, 1 + 1.0/128: 0x3f81, -2.5: 0xc020, 0: 0,
		float32(math.Inf(1)): 0x7f80,
	} {
		data := rounded(mustOf([]float32{value})).Bytes()
		if got := uint16(data[0]) | uint16(data[1])<<8; got != want {
			t.Errorf("%g is %#x, not %#x", value, got, want)
		}
	}
}

func TestFunctionsThatMustBeCalledAsTheyAre(t *testing.T) {
	none := map[string]tensor.Tensor{}
	never := Source{
		Variables: func([]string) (map[string]tensor.Tensor, error) { return none, nil },
		Run:       func([]byte, []string) ([]tensor.Tensor, error) { return nil, errors.New("not here") },
	}
	for want, meta := range map[string]*pb.MetaGraphDef{
		"side effects":            model(nil, operation("draw RandomUniform image", nil), operation("result Relu image", nil)),
		"function by its":         model(nil, operation("branch If image", calls("body")), operation("result Relu image", nil)),
		"what the operation Odd":  model(nil, operation("odd Odd image", nil), operation("result Relu image", nil)),
		`no "nothing:y:0"`:        model(nil, operation("result Relu nothing:y:0", nil)),
		"in a loop":               model(nil, operation("a Relu result:y:0", nil), operation("result Relu a:y:0", nil)),
		"deeper than":             model(nil, operation("again PartitionedCall image", calls("body")), operation("result Relu image", nil)),
		`no function "missing"`:   model(nil, operation("again PartitionedCall image", calls("missing")), operation("result Relu image", nil)),
		"cannot be read":          model([]string{"kernel"}, operation("result Relu k:value:0", nil), operation("k ReadVariableOp kernel", nil)),
		"takes 1 inputs, not 2":   model(nil, operation("again PartitionedCall image image", calls("body")), operation("result Relu image", nil)),
		"uses the variable model": withTable(),
	} {
		if _, err := Make(meta, []string{"call:0"}, never); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// withTable is a model that looks things up in a variable without reading it.
func withTable() *pb.MetaGraphDef {
	meta := model([]string{"table"}, operation("result Lookup table", nil))
	ops := meta.GetMetaInfoDef().GetStrippedOpList()
	ops.Op = append(ops.Op, define("Lookup resource -> y"))
	return meta
}

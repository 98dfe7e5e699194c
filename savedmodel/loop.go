package savedmodel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/op_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// loop is what a graph gets for CallHeld of a signature: variables that hold
// examples, and a While that calls the signature's function once for each row of
// indexes, with the examples that these choose. No saver knows the variables.
//
// In the words of Go, of a signature whose inputs are images, labels and
// learning_rate and whose output is loss:
//
//	for step := 0; step < steps; step++ {
//		chosen := rows[step]
//		losses[step] = function(images[chosen], labels[chosen], learningRates[step])
//	}
type loop struct {
	signature string
	public    tensor.Signature
	call      *node_def_go_proto.NodeDef // of the signature's function, in the graph
	inputs    []loopInput                // of the call, in its order
	outputs   []loopOutput               // of the signature
}

// loopInput is an input of the call.
type loopInput struct {
	spec  tensor.Spec // of the signature's input; no name where it is none
	from  string      // the node, where it is none: a variable of the model, or a constant
	dtype types_go_proto.DataType
}

// loopOutput is an output of the call.
type loopOutput struct {
	spec  tensor.Spec
	index int
}

// isHeld tells whether an input has a row for each example. Others, such as the
// learning rate, have a value for each step.
func isHeld(input tensor.Spec) bool {
	return len(input.Shape) > 0 && input.Shape[0] == tensor.AnySize
}

// findLoop looks at what calls a signature's function.
func (i *Info) findLoop(name string) (*loop, error) {
	s := i.signatures[name]
	l := &loop{signature: name, public: s.public}
	for caller := range i.callers([]string{name}) {
		for _, node := range i.graph.GetGraphDef().GetNode() {
			if node.GetName() == caller && l.call == nil {
				l.call = node
			} else if node.GetName() == caller {
				return nil, errors.New("its outputs come from several operations")
			}
		}
	}
	if l.call.GetAttr()["f"].GetFunc() == nil {
		return nil, errors.New("it is not the call of a function")
	}
	named := map[string]tensor.Spec{}
	for _, input := range s.public.Inputs {
		named[strings.TrimSuffix(s.inputs[input.Name], ":0")] = input
	}
	types := l.call.GetAttr()["Tin"].GetList().GetType()
	for k, from := range l.call.GetInput() {
		if strings.HasPrefix(from, "^") || k >= len(types) {
			return nil, fmt.Errorf("it waits for %s", from)
		}
		l.inputs = append(l.inputs, loopInput{named[strings.TrimSuffix(from, ":0")], from, types[k]})
	}
	for _, output := range s.public.Outputs {
		var index int
		_, port, _ := strings.Cut(s.outputs[output.Name], ":")
		if _, err := fmt.Sscan(port, &index); err != nil || output.AnyRank || len(output.Shape) > 0 {
			return nil, fmt.Errorf("its output %s is no scalar", output)
		}
		l.outputs = append(l.outputs, loopOutput{output, index})
	}
	return l, nil
}

// The names of the loop's nodes in the graph begin as those do of the operations that the
// call is replaced by. TensorFlow's optimizer puts the operands of a sum into the order of
// their names, and a sum of three in another order differs in the last bit.

func (l *loop) node(name string) string      { return l.call.GetName() + "/held/" + name }
func (l *loop) fed(input string) string      { return l.node("fed/" + input) }    // placeholder of all rows, or of a value for each step
func (l *loop) variable(input string) string { return l.node("held/" + input) }   // holds all rows
func (l *loop) assign(input string) string   { return l.node("assign/" + input) } // puts what is fed into it
func (l *loop) rows() string                 { return l.node("rows") }            // placeholder int64 [capacity,batch]
func (l *loop) steps() string                { return l.node("steps") }           // placeholder int32 []
func (l *loop) capacity() string             { return l.node("capacity") }        // placeholder int32 [1]: the rows, of which some are more than steps
func (l *loop) function(part string) string {
	return "residual_held_" + l.signature + "_" + part
}

// output is the tensor with an output of each step.
func (l *loop) output(index int) string {
	const before = 3 // step, steps, rows
	return fmt.Sprintf("%s:%d", l.node("while"), before+index)
}

// add puts the loop into a graph.
func (l *loop) add(graph *graph_go_proto.GraphDef) {
	b := &loopBuilder{loop: l}
	b.build()
	graph.Node = append(graph.Node, b.nodes...)
	graph.Library.Function = append(graph.Library.Function, b.define("cond", b.cond), b.define("body", b.body))
}

// loopBuilder makes the loop's parts.
type loopBuilder struct {
	*loop
	nodes      []*node_def_go_proto.NodeDef // of the graph
	vars       []loopVar
	cond, body loopPart
}

// loopVar is a value that goes from step to step.
type loopVar struct {
	name    string // in the functions
	dtype   types_go_proto.DataType
	initial string // the node in the graph
	next    string // the tensor in the body; "" where it stays as it is
}

// loopPart is one of its two functions under construction.
type loopPart struct {
	nodes   []*node_def_go_proto.NodeDef
	outputs []*op_def_go_proto.OpDef_ArgDef
	returns map[string]string // by output
	control map[string]string // what is computed although nothing reads it
}

const (
	stepVar, stepsVar, rowsVar = "step", "steps", "rows"

	int32Type = types_go_proto.DataType_DT_INT32
	int64Type = types_go_proto.DataType_DT_INT64
)

func (b *loopBuilder) build() {
	b.placeholder(b.steps(), int32Type)
	b.placeholder(b.rows(), int64Type, tensor.AnySize, tensor.AnySize)
	b.graphNode(b.node("first"), "Const", nil, scalar(0))
	b.placeholder(b.capacity(), int32Type, 1)

	// Nothing of a step begins before the one before it has ended: the counter
	// waits for it, and parallel_iterations for the rest.
	b.bodyNode("one", "Const", nil, scalar(1))
	b.bodyNode("axis", "Const", nil, scalar(0))
	b.bodyNode("pair", "Const", nil, ints(1, 1))
	b.bodyNode("next", "AddV2", []string{stepVar, "one:output:0", "^call"}, with{"T": typ(int32Type)})
	b.bodyNode("index", "Reshape", []string{stepVar, "pair:output:0"}, with{"T": typ(int32Type), "Tshape": typ(int32Type)})
	b.bodyNode("chosen", "GatherV2", []string{rowsVar, stepVar, "axis:output:0"}, gathering(int64Type))
	b.vars = []loopVar{
		{stepVar, int32Type, b.node("first"), "next:z:0"},
		{stepsVar, int32Type, b.steps(), ""},
		{rowsVar, int64Type, b.rows(), ""},
	}
	b.addOutputs()
	b.addCall()

	b.cond.nodes = []*node_def_go_proto.NodeDef{newNode("less", "Less", []string{stepVar, stepsVar}, with{"T": typ(int32Type)})}
	b.cond.outputs = []*op_def_go_proto.OpDef_ArgDef{{Name: "more", Type: types_go_proto.DataType_DT_BOOL}}
	b.cond.returns = map[string]string{"more": "less:z:0"}
	b.body.returns, b.body.control = map[string]string{}, map[string]string{"call": "call"}
	var initial []string
	types := &attrs.AttrValue_ListValue{}
	for _, v := range b.vars {
		initial, types.Type = append(initial, v.initial), append(types.Type, v.dtype)
		result := "next_" + v.name
		b.body.outputs = append(b.body.outputs, &op_def_go_proto.OpDef_ArgDef{Name: result, Type: v.dtype})
		if b.body.returns[result] = v.next; v.next == "" {
			b.body.returns[result] = v.name
		}
	}
	b.graphNode(b.node("while"), "While", initial, with{
		"T":    {Value: &attrs.AttrValue_List{List: types}},
		"cond": calling(b.function("cond")), "body": calling(b.function("body")),
		"parallel_iterations":       {Value: &attrs.AttrValue_I{I: 1}},
		"_lower_using_switch_merge": {Value: &attrs.AttrValue_B{B: true}},
	})
}

// addOutputs keeps what each step returns.
func (b *loopBuilder) addOutputs() {
	for k, output := range b.outputs {
		dtype := types_go_proto.DataType(output.spec.DType)
		zero, zeros := b.node(fmt.Sprintf("zero%d", k)), b.node(fmt.Sprintf("zeros%d", k))
		b.graphNode(zero, "Const", nil, zeroOf(dtype))
		b.graphNode(zeros, "Fill", []string{b.capacity(), zero}, with{"T": typ(dtype), "index_type": typ(int32Type)})
		name := fmt.Sprintf("output%d", k)
		b.bodyNode(name+"_row", "ExpandDims", []string{fmt.Sprintf("call:output:%d", output.index), "axis:output:0"}, with{"T": typ(dtype), "Tdim": typ(int32Type)})
		b.bodyNode(name+"_with", "TensorScatterUpdate", []string{name, "index:output:0", name + "_row:output:0"}, with{"T": typ(dtype), "Tindices": typ(int32Type)})
		b.vars = append(b.vars, loopVar{name, dtype, zeros, name + "_with:output:0"})
	}
}

// addCall calls the signature's function with what a step takes.
func (b *loopBuilder) addCall() {
	var arguments []string
	for k, input := range b.inputs {
		name := fmt.Sprintf("input%d", k)
		spec := input.spec
		switch {
		case spec.Name == "":
			b.vars = append(b.vars, loopVar{name: name, dtype: input.dtype, initial: input.from})
			arguments = append(arguments, name)
			continue
		case isHeld(spec):
			variable := b.variable(spec.Name)
			b.placeholder(b.fed(spec.Name), input.dtype, spec.Shape...)
			b.graphNode(variable, "VarHandleOp", nil, with{"dtype": typ(input.dtype), "shape": shape(spec.Shape...), "shared_name": text(variable)})
			b.graphNode(b.assign(spec.Name), "AssignVariableOp", []string{variable, b.fed(spec.Name)}, with{"dtype": typ(input.dtype)})
			b.vars = append(b.vars, loopVar{name: name, dtype: types_go_proto.DataType_DT_RESOURCE, initial: variable})
			b.bodyNode(name+"_any", "ResourceGather", []string{name, "chosen:output:0"}, with{"dtype": typ(input.dtype), "Tindices": typ(int64Type)})
		default:
			b.placeholder(b.fed(spec.Name), input.dtype, append([]int{tensor.AnySize}, spec.Shape...)...)
			b.vars = append(b.vars, loopVar{name: name, dtype: input.dtype, initial: b.fed(spec.Name)})
			b.bodyNode(name+"_any", "GatherV2", []string{name, stepVar, "axis:output:0"}, gathering(input.dtype))
		}
		// The function is optimized for what it is: it must know as much of its input as
		// where it is fed.
		b.bodyNode(name+"_row", "EnsureShape", []string{name + "_any:output:0"}, with{"T": typ(input.dtype), "shape": shape(spec.Shape...)})
		arguments = append(arguments, name+"_row:output:0")
	}
	own := maps.Clone(b.call.GetAttr())
	maps.DeleteFunc(own, func(name string, _ *attrs.AttrValue) bool { return strings.HasPrefix(name, "_") })
	b.bodyNode("call", b.call.GetOp(), arguments, own)
}

// define returns one of the loop's functions, of all its variables.
func (b *loopBuilder) define(part string, f loopPart) *function_go_proto.FunctionDef {
	signature := &op_def_go_proto.OpDef{Name: b.function(part), OutputArg: f.outputs, IsStateful: len(f.control) > 0}
	for _, v := range b.vars {
		signature.InputArg = append(signature.InputArg, &op_def_go_proto.OpDef_ArgDef{Name: v.name, Type: v.dtype})
	}
	signature.ControlOutput = slices.Sorted(maps.Keys(f.control))
	return &function_go_proto.FunctionDef{Signature: signature, NodeDef: f.nodes, Ret: f.returns, ControlRet: f.control}
}

func (b *loopBuilder) placeholder(name string, dtype types_go_proto.DataType, sizes ...int) {
	b.graphNode(name, "Placeholder", nil, with{"dtype": typ(dtype), "shape": shape(sizes...)})
}

func (b *loopBuilder) graphNode(name, op string, inputs []string, attributes with) {
	b.nodes = append(b.nodes, newNode(name, op, inputs, attributes))
}

func (b *loopBuilder) bodyNode(name, op string, inputs []string, attributes with) {
	b.body.nodes = append(b.body.nodes, newNode(name, op, inputs, attributes))
}

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

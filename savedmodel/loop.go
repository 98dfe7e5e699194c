package savedmodel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/op_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"

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
	call      *node_def_go_proto.NodeDef // of the signature's function, in the graph
	arguments []loopArgument             // of the call
	outputs   []loopOutput               // of the signature

	held    []tensor.Spec // the inputs that have a row for each example
	stepped []tensor.Spec // those that have a value for each step, such as the learning rate
}

// loopArgument is what the call takes: an input of the signature, or a variable of the
// model or a constant, which is the same in all steps.
type loopArgument struct {
	input string // the signature's name, twice if it goes in twice; "" where it is none of its inputs
	from  string // the node in the graph
	dtype types_go_proto.DataType
}

// loopOutput is an output of the signature.
type loopOutput struct {
	spec   tensor.Spec
	port   int    // of the call
	tensor string // in the graph: the values of all steps
}

// addLoops puts loops for some signatures into a graph. The errors say why there is none
// for the others.
func (i *Info) addLoops(graph *pb.MetaGraphDef, signatures []string) (map[string]*loop, map[string]error) {
	loops, errs := map[string]*loop{}, map[string]error{}
	for _, name := range signatures {
		if l, err := i.findLoop(name); err != nil {
			errs[name] = fmt.Errorf("it cannot be called in a loop: %w", err)
		} else if loops[name] == nil { // named once
			l.add(graph.GetGraphDef())
			loops[name] = l
		}
	}
	return loops, errs
}

// findLoop looks at what calls a signature's function.
func (i *Info) findLoop(name string) (*loop, error) {
	s := i.signatures[name]
	l := &loop{signature: name}
	callers := slices.Collect(maps.Keys(i.callers([]string{name})))
	for _, node := range i.graph.GetGraphDef().GetNode() {
		if len(callers) == 1 && node.GetName() == callers[0] {
			l.call = node
		}
	}
	if l.call.GetAttr()["f"].GetFunc() == nil {
		return nil, errors.New("its outputs do not come from one call of a function")
	}
	if err := l.findArguments(s, i.graph.GetGraphDef()); err != nil {
		return nil, err
	}
	for _, spec := range s.public.Outputs {
		_, text, _ := strings.Cut(s.outputs[spec.Name], ":")
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("its output %s is the tensor %q", spec, s.outputs[spec.Name])
		}
		if spec.AnyRank || len(spec.Shape) > 0 || spec.DType.Size() == 0 {
			return nil, fmt.Errorf("its output %s is no scalar", spec)
		}
		l.outputs = append(l.outputs, loopOutput{spec: spec, port: port})
	}
	return l, nil
}

func (l *loop) findArguments(s signature, graph *graph_go_proto.GraphDef) error {
	inputs, unused := map[string]string{}, maps.Clone(s.inputs) // inputs by the node in the graph
	for name, tensor := range s.inputs {
		inputs[strings.TrimSuffix(tensor, ":0")] = name
	}
	constants := map[string]bool{}
	for _, node := range graph.GetNode() {
		constants[node.GetName()] = node.GetOp() == "Const"
	}
	types := l.call.GetAttr()["Tin"].GetList().GetType()
	for k, from := range l.call.GetInput() {
		if k >= len(types) { // it is no value but an operation to wait for
			return fmt.Errorf("its call waits for %s", from)
		}
		from = strings.TrimSuffix(from, ":0")
		name, isInput := inputs[from]
		if !isInput && types[k] != types_go_proto.DataType_DT_RESOURCE && !constants[from] {
			return fmt.Errorf("its call takes %s, which may change from step to step", from)
		}
		l.arguments = append(l.arguments, loopArgument{name, from, types[k]})
		delete(unused, name)
	}
	for name := range unused {
		return fmt.Errorf("its input %q does not go into the call", name)
	}
	for _, spec := range s.public.Inputs {
		if isHeld(spec) {
			l.held = append(l.held, spec)
		} else {
			l.stepped = append(l.stepped, spec)
		}
	}
	if len(l.held) == 0 {
		return errors.New("none of its inputs has a row for each example")
	}
	return nil
}

// isHeld tells whether an input has a row for each example.
func isHeld(input tensor.Spec) bool { return len(input.Shape) > 0 && input.Shape[0] == tensor.AnySize }

// node is the name of one of the loop's nodes in the graph. The call is replaced by the
// operations of its function, whose names begin with the call's; the loop's begin so, too.
// For TensorFlow's optimizer puts the operands of a sum into the order of their names, and
// a sum of three in another order differs in the last bit.
func (l *loop) node(name string) string {
	return l.call.GetName() + "/held/" + l.signature + "/" + name
}

// The nodes that are fed: of an input all rows, or a value for each step; the indexes,
// int64 [capacity,batch], of which the first steps rows count; steps, int32 []; capacity,
// int32 [1].
func (l *loop) fed(input string) string { return l.node("fed/" + input) }
func (l *loop) rows() string            { return l.node("rows") }
func (l *loop) steps() string           { return l.node("steps") }
func (l *loop) capacity() string        { return l.node("capacity") }

// assign is the operation that puts all rows that are fed into their variable.
func (l *loop) assign(input string) string { return l.node("assign/" + input) }

// function is the name of the loop's condition or body.
func (l *loop) function(part string) string { return "residual_held_" + l.signature + "_" + part }

// add puts the loop into a graph.
func (l *loop) add(graph *graph_go_proto.GraphDef) {
	b := &loopBuilder{loop: l}
	b.addCounter()
	b.addCall()
	b.addOutputs()
	b.addWhile()
	graph.Node = append(graph.Node, b.nodes...)
	graph.Library.Function = append(graph.Library.Function, b.condition(), b.body())
}

// loopBuilder makes the loop's parts.
type loopBuilder struct {
	*loop
	nodes     []*node_def_go_proto.NodeDef // of the graph
	bodyNodes []*node_def_go_proto.NodeDef // of the function that is a step
	vars      []loopVar
}

// loopVar is a value that goes from step to step.
type loopVar struct {
	name    string // in the functions
	dtype   types_go_proto.DataType
	initial string // the node in the graph
	next    string // the tensor in the body; "" where it stays as it is
}

const (
	stepVar, stepsVar, rowsVar = "step", "steps", "rows"

	int32Type = types_go_proto.DataType_DT_INT32
	int64Type = types_go_proto.DataType_DT_INT64
)

// addCounter counts the steps and chooses the examples of each. Nothing of a step begins
// before the one before it has ended: the counter waits for it, and the While's
// parallel_iterations for the rest.
func (b *loopBuilder) addCounter() {
	b.placeholder(b.steps(), int32Type)
	b.placeholder(b.capacity(), int32Type, 1)
	b.placeholder(b.rows(), int64Type, tensor.AnySize, tensor.AnySize)
	b.graphNode(b.node("first"), "Const", nil, scalar(0))
	b.vars = []loopVar{
		{stepVar, int32Type, b.node("first"), "next:z:0"},
		{stepsVar, int32Type, b.steps(), ""},
		{rowsVar, int64Type, b.rows(), ""},
	}
	b.bodyNode("one", "Const", nil, scalar(1))
	b.bodyNode("axis", "Const", nil, scalar(0))
	b.bodyNode("next", "AddV2", []string{stepVar, "one:output:0", "^call"}, with{"T": typ(int32Type)})
	b.bodyNode("chosen", "GatherV2", []string{rowsVar, stepVar, "axis:output:0"}, gathering(int64Type))
}

// addCall calls the signature's function with what a step takes.
func (b *loopBuilder) addCall() {
	inputs := slices.Concat(b.held, b.stepped)
	var arguments []string
	before := map[string]string{} // the arguments that are inputs
	for k, argument := range b.arguments {
		if argument.input != "" && before[argument.input] != "" {
			arguments = append(arguments, before[argument.input])
			continue
		}
		name := fmt.Sprintf("input%d", k)
		v := loopVar{name: name, dtype: argument.dtype, initial: argument.from}
		spec, isInput := tensor.Find(inputs, argument.input)
		switch {
		case !isInput:
			b.vars = append(b.vars, v)
			arguments = append(arguments, name)
			continue
		case isHeld(spec):
			v.dtype, v.initial = types_go_proto.DataType_DT_RESOURCE, b.addVariable(spec, argument.dtype)
			b.bodyNode(name+"_any", "ResourceGather", []string{name, "chosen:output:0"}, with{"dtype": typ(argument.dtype), "Tindices": typ(int64Type)})
		default:
			v.initial = b.fed(spec.Name)
			b.placeholder(v.initial, argument.dtype, append([]int{tensor.AnySize}, spec.Shape...)...)
			b.bodyNode(name+"_any", "GatherV2", []string{name, stepVar, "axis:output:0"}, gathering(argument.dtype))
		}
		b.vars = append(b.vars, v)
		// The function is optimized for what it is called with: as much must be known of
		// that as where it is fed.
		b.bodyNode(name+"_row", "EnsureShape", []string{name + "_any:output:0"}, with{"T": typ(argument.dtype), "shape": shape(spec.Shape...)})
		before[argument.input] = name + "_row:output:0"
		arguments = append(arguments, before[argument.input])
	}
	own := maps.Clone(b.call.GetAttr())
	maps.DeleteFunc(own, func(name string, _ *attrs.AttrValue) bool { return strings.HasPrefix(name, "_") })
	b.bodyNode("call", b.call.GetOp(), arguments, own)
}

// addVariable adds the variable that holds an input's rows, and returns its name.
func (b *loopBuilder) addVariable(spec tensor.Spec, dtype types_go_proto.DataType) string {
	name := b.node("examples/" + spec.Name)
	b.placeholder(b.fed(spec.Name), dtype, spec.Shape...)
	b.graphNode(name, "VarHandleOp", nil, with{"dtype": typ(dtype), "shape": shape(spec.Shape...), "shared_name": text(name)})
	b.graphNode(b.assign(spec.Name), "AssignVariableOp", []string{name, b.fed(spec.Name)}, with{"dtype": typ(dtype)})
	return name
}

// addOutputs keeps what each step returns.
func (b *loopBuilder) addOutputs() {
	b.bodyNode("pair", "Const", nil, ints(1, 1))
	b.bodyNode("index", "Reshape", []string{stepVar, "pair:output:0"}, with{"T": typ(int32Type), "Tshape": typ(int32Type)})
	for k, output := range b.outputs {
		dtype := types_go_proto.DataType(output.spec.DType)
		name := fmt.Sprintf("output%d", k)
		zero, zeros := b.node("zero/"+output.spec.Name), b.node("zeros/"+output.spec.Name)
		b.graphNode(zero, "Const", nil, zeroOf(dtype))
		b.graphNode(zeros, "Fill", []string{b.capacity(), zero}, with{"T": typ(dtype), "index_type": typ(int32Type)})
		b.bodyNode(name+"_row", "ExpandDims", []string{fmt.Sprintf("call:output:%d", output.port), "axis:output:0"}, with{"T": typ(dtype), "Tdim": typ(int32Type)})
		b.bodyNode(name+"_with", "TensorScatterUpdate", []string{name, "index:output:0", name + "_row:output:0"}, with{"T": typ(dtype), "Tindices": typ(int32Type)})
		b.outputs[k].tensor = fmt.Sprintf("%s:%d", b.node("while"), len(b.vars))
		b.vars = append(b.vars, loopVar{name, dtype, zeros, name + "_with:output:0"})
	}
}

func (b *loopBuilder) addWhile() {
	var initial []string
	types := &attrs.AttrValue_ListValue{}
	for _, v := range b.vars {
		initial, types.Type = append(initial, v.initial), append(types.Type, v.dtype)
	}
	b.graphNode(b.node("while"), "While", initial, with{
		"T":    {Value: &attrs.AttrValue_List{List: types}},
		"cond": calling(b.function("condition")), "body": calling(b.function("body")),
		"parallel_iterations":       {Value: &attrs.AttrValue_I{I: 1}},
		"_lower_using_switch_merge": {Value: &attrs.AttrValue_B{B: true}},
	})
}

// condition is the function that tells whether there are more steps.
func (b *loopBuilder) condition() *function_go_proto.FunctionDef {
	return &function_go_proto.FunctionDef{
		Signature: &op_def_go_proto.OpDef{
			Name: b.function("condition"), InputArg: b.inputs(),
			OutputArg: []*op_def_go_proto.OpDef_ArgDef{{Name: "more", Type: types_go_proto.DataType_DT_BOOL}},
		},
		NodeDef: []*node_def_go_proto.NodeDef{newNode("less", "Less", []string{stepVar, stepsVar}, with{"T": typ(int32Type)})},
		Ret:     map[string]string{"more": "less:z:0"},
	}
}

// body is the function that is a step.
func (b *loopBuilder) body() *function_go_proto.FunctionDef {
	const call = "call" // also where nothing reads what it returns
	f := &function_go_proto.FunctionDef{
		Signature: &op_def_go_proto.OpDef{Name: b.function("body"), InputArg: b.inputs(), ControlOutput: []string{call}, IsStateful: true},
		NodeDef:   b.bodyNodes, Ret: map[string]string{}, ControlRet: map[string]string{call: call},
	}
	for _, v := range b.vars {
		result := "next_" + v.name
		f.Signature.OutputArg = append(f.Signature.OutputArg, &op_def_go_proto.OpDef_ArgDef{Name: result, Type: v.dtype})
		if f.Ret[result] = v.next; v.next == "" {
			f.Ret[result] = v.name
		}
	}
	return f
}

// inputs are those of both functions.
func (b *loopBuilder) inputs() (args []*op_def_go_proto.OpDef_ArgDef) {
	for _, v := range b.vars {
		args = append(args, &op_def_go_proto.OpDef_ArgDef{Name: v.name, Type: v.dtype})
	}
	return args
}

func (b *loopBuilder) placeholder(name string, dtype types_go_proto.DataType, sizes ...int) {
	b.graphNode(name, "Placeholder", nil, with{"dtype": typ(dtype), "shape": shape(sizes...)})
}

func (b *loopBuilder) graphNode(name, op string, inputs []string, attributes with) {
	b.nodes = append(b.nodes, newNode(name, op, inputs, attributes))
}

func (b *loopBuilder) bodyNode(name, op string, inputs []string, attributes with) {
	b.bodyNodes = append(b.bodyNodes, newNode(name, op, inputs, attributes))
}

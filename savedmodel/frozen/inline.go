package frozen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/op_def_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
)

// inliner replaces calls of functions by what is in them.
type inliner struct {
	graph     *graph
	ops       map[string]*op_def_go_proto.OpDef
	functions map[string]*function_go_proto.FunctionDef
	depth     int
}

// scope is where names of tensors are looked up: a graph, or the body of a
// function that was called.
type scope struct {
	nodes      map[string]*node_def_go_proto.NodeDef
	arguments  map[string]port
	results    map[string][]port // of the nodes that were looked up so far, nil while one is
	inFunction bool
}

const deepest = 100 // calls in calls: TensorFlow's functions may be recursive

// inline returns the graph that the tensors named in outputs are computed by.
func inline(meta *pb.MetaGraphDef, outputs []string) (*graph, error) {
	in := &inliner{
		graph:     &graph{names: map[string]bool{}},
		ops:       map[string]*op_def_go_proto.OpDef{},
		functions: map[string]*function_go_proto.FunctionDef{},
	}
	for _, op := range meta.GetMetaInfoDef().GetStrippedOpList().GetOp() {
		in.ops[op.GetName()] = op
	}
	for _, function := range meta.GetGraphDef().GetLibrary().GetFunction() {
		in.functions[function.GetSignature().GetName()] = function
	}
	top := newScope(meta.GetGraphDef().GetNode())
	for _, name := range outputs {
		output, err := in.port(top, name)
		if err != nil {
			return nil, err
		}
		in.graph.outputs = append(in.graph.outputs, output)
	}
	return in.graph, nil
}

func newScope(nodes []*node_def_go_proto.NodeDef) *scope {
	s := &scope{nodes: map[string]*node_def_go_proto.NodeDef{}, results: map[string][]port{}}
	for _, n := range nodes {
		s.nodes[n.GetName()] = n
	}
	return s
}

// port finds a tensor: "node", "node:index", or "node:output:index" in a
// function.
func (in *inliner) port(s *scope, name string) (port, error) {
	if argument, ok := s.arguments[name]; ok {
		return argument, nil
	}
	parts := strings.Split(name, ":")
	def, ok := s.nodes[parts[0]]
	if !ok {
		return port{}, fmt.Errorf("there is no %q", name)
	}
	results, err := in.results(s, def)
	if err != nil {
		return port{}, err
	}
	index := 0
	if len(parts) > 1 {
		if index, err = strconv.Atoi(parts[len(parts)-1]); err != nil {
			return port{}, fmt.Errorf("%q names no tensor", name)
		}
	}
	if s.inFunction && len(parts) == 3 {
		begin, err := in.offset(def, parts[1])
		if err != nil {
			return port{}, err
		}
		index += begin
	}
	if index < 0 || index >= len(results) {
		return port{}, fmt.Errorf("%s has no output %q", def.GetOp(), name)
	}
	return results[index], nil
}

// results returns the ports that a node's outputs are.
func (in *inliner) results(s *scope, def *node_def_go_proto.NodeDef) ([]port, error) {
	if results, ok := s.results[def.GetName()]; ok {
		if results == nil {
			return nil, fmt.Errorf("%s is in a loop", def.GetName())
		}
		return results, nil
	}
	s.results[def.GetName()] = nil
	var inputs []port
	for _, name := range def.GetInput() {
		if strings.HasPrefix(name, "^") { // an order of side effects, of which there are none
			continue
		}
		input, err := in.port(s, name)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, input)
	}
	results, err := in.expand(def, inputs)
	if err != nil {
		return nil, err
	}
	s.results[def.GetName()] = results
	return results, nil
}

func (in *inliner) expand(def *node_def_go_proto.NodeDef, inputs []port) ([]port, error) {
	switch def.GetOp() {
	case "PartitionedCall", "StatefulPartitionedCall":
		return in.call(def.GetAttr()["f"].GetFunc().GetName(), inputs)
	case "Identity", "IdentityN", "StopGradient", "PreventGradient":
		return inputs, nil
	}
	if _, ok := in.functions[def.GetOp()]; ok {
		return in.call(def.GetOp(), inputs)
	}
	for name, value := range def.GetAttr() {
		if value.GetFunc() != nil || len(value.GetList().GetFunc()) > 0 {
			return nil, fmt.Errorf("%s (%s) calls a function by its attribute %s", def.GetName(), def.GetOp(), name)
		}
	}
	count := 0
	op, ok := in.ops[def.GetOp()]
	if !ok {
		return nil, fmt.Errorf("the model does not say what the operation %s is", def.GetOp())
	}
	if op.GetIsStateful() && !slices.Contains(readOnly, def.GetOp()) {
		return nil, fmt.Errorf("%s (%s) has side effects", def.GetName(), def.GetOp())
	}
	for _, output := range op.GetOutputArg() {
		count += length(output, def)
	}
	n := &node{name: in.graph.unique(def.GetName()), op: def.GetOp(), attrs: map[string]*attrs.AttrValue{}, inputs: inputs}
	for name, value := range def.GetAttr() {
		if name != "_class" { // names of nodes that may be gone
			n.attrs[name] = value
		}
	}
	results := make([]port, max(count, 1))
	for i := range results {
		results[i] = port{n, i}
	}
	return results[:count], nil
}

// readOnly are the operations that TensorFlow calls stateful and that change
// nothing.
var readOnly = []string{"VarHandleOp", "ReadVariableOp"}

func (in *inliner) call(name string, inputs []port) ([]port, error) {
	function, ok := in.functions[name]
	if !ok {
		return nil, fmt.Errorf("there is no function %q", name)
	}
	if in.depth++; in.depth > deepest {
		return nil, fmt.Errorf("function %s: calls go deeper than %d", name, deepest)
	}
	defer func() { in.depth-- }()
	s := newScope(function.GetNodeDef())
	s.inFunction, s.arguments = true, map[string]port{}
	parameters := function.GetSignature().GetInputArg()
	if len(parameters) != len(inputs) {
		return nil, fmt.Errorf("function %s takes %d inputs, not %d", name, len(parameters), len(inputs))
	}
	for i, parameter := range parameters {
		s.arguments[parameter.GetName()] = inputs[i]
	}
	// All of it runs when it is called, also what no result needs.
	for _, def := range function.GetNodeDef() {
		if def.GetOp() == "NoOp" {
			continue
		}
		if _, err := in.results(s, def); err != nil {
			return nil, err
		}
	}
	var results []port
	for _, result := range function.GetSignature().GetOutputArg() {
		found, err := in.port(s, function.GetRet()[result.GetName()])
		if err != nil {
			return nil, fmt.Errorf("function %s: %w", name, err)
		}
		results = append(results, found)
	}
	return results, nil
}

// offset is the place of an output's first tensor among those of a node.
func (in *inliner) offset(def *node_def_go_proto.NodeDef, output string) (int, error) {
	op := in.ops[def.GetOp()]
	if function, ok := in.functions[def.GetOp()]; ok {
		op = function.GetSignature()
	}
	begin := 0
	for _, one := range op.GetOutputArg() {
		if one.GetName() == output {
			return begin, nil
		}
		begin += length(one, def)
	}
	return 0, fmt.Errorf("%s has no output %q", def.GetOp(), output)
}

// length is how many tensors an output of a node has.
func length(output *op_def_go_proto.OpDef_ArgDef, def *node_def_go_proto.NodeDef) int {
	switch {
	case output.GetNumberAttr() != "":
		return int(def.GetAttr()[output.GetNumberAttr()].GetI())
	case output.GetTypeListAttr() != "":
		return len(def.GetAttr()[output.GetTypeListAttr()].GetList().GetType())
	default:
		return 1
	}
}

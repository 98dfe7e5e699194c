package frozen

import (
	"fmt"
	"slices"

	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// variables puts the values that the model's variables have now in the place of
// the reading of them.
func (g *graph) variables(values map[string]tensor.Tensor) error {
	constants := map[string]port{} // one for each variable, however often it is read
	by := replacements{}
	for _, n := range g.nodes() {
		switch n.op {
		case "VarHandleOp":
		case "ReadVariableOp":
			name := n.inputs[0].node.name
			value, ok := values[name]
			if !ok {
				return fmt.Errorf("the variable %s cannot be read", name)
			}
			if !finite(value) {
				return fmt.Errorf("the variable %s has values that are not finite", name)
			}
			if _, ok := constants[name]; !ok {
				constants[name] = port{g.constant(name, value), 0}
			}
			by[port{n, 0}] = constants[name]
		default:
			for _, input := range n.inputs {
				if input.node.op == "VarHandleOp" {
					return fmt.Errorf("%s (%s) uses the variable %s itself, not its value", n.name, n.op, input.node.name)
				}
			}
		}
	}
	g.replace(by)
	return nil
}

// finite tells whether a tensor has neither NaN nor infinite values.
func finite(t tensor.Tensor) bool {
	values, err := tensor.Values[float32](t)
	return err != nil || !slices.ContainsFunc(values, func(x float32) bool { return x-x != 0 })
}

// handles are the names of the variables that are read.
func (g *graph) handles() []string {
	var names []string
	for _, n := range g.nodes() {
		if n.op == "VarHandleOp" {
			names = append(names, n.name)
		}
	}
	return names
}

// evaluate computes what depends on constants alone.
func (g *graph) evaluate(run func(def []byte, fetches []string) ([]tensor.Tensor, error)) error {
	constant := map[*node]bool{}
	wanted, known := &graph{}, map[port]bool{}
	for _, n := range g.nodes() {
		// A PlaceholderWithDefault is there to keep its value from being computed with.
		constant[n] = n.op == "Const" || len(n.inputs) > 0 && n.op != "PlaceholderWithDefault" &&
			!slices.ContainsFunc(n.inputs, func(p port) bool { return !constant[p.node] })
		if constant[n] {
			continue
		}
		for _, input := range n.inputs {
			if constant[input.node] && input.node.value == nil && input.node.attrs["dtype"].GetType() != types_go_proto.DataType_DT_STRING {
				if !known[input] {
					known[input] = true
					wanted.outputs = append(wanted.outputs, input)
				}
			}
		}
	}
	if len(wanted.outputs) == 0 {
		return nil
	}
	def, err := wanted.marshal()
	if err != nil {
		return err
	}
	values, err := run(def, wanted.outputNames())
	if err != nil {
		return fmt.Errorf("compute constants: %w", err)
	}
	by := replacements{}
	for i, p := range wanted.outputs {
		by[p] = port{g.constant(p.node.name+"/constant", values[i]), 0}
	}
	g.replace(by)
	return nil
}

package savedmodel

import (
	"slices"
	"strings"
	"testing"

	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo/tensor"
)

// What cannot be called in a loop, or would be something else there, is refused.
func TestWhatCanBeCalledInALoop(t *testing.T) {
	const labels = "train_labels" // the node
	adds := func(call *node_def_go_proto.NodeDef, input string, dtype types_go_proto.DataType) {
		call.Input = append(call.Input, input)
		types := call.GetAttr()["Tin"].GetList()
		types.Type = append(types.Type, dtype)
	}
	for name, test := range map[string]struct {
		change func(i *Info, call *node_def_go_proto.NodeDef)
		says   string // "" where it can
	}{
		"as it is": {func(*Info, *node_def_go_proto.NodeDef) {}, ""},
		"a constant": {func(i *Info, call *node_def_go_proto.NodeDef) {
			i.graph.GraphDef.Node = append(i.graph.GraphDef.Node, &node_def_go_proto.NodeDef{Name: "x", Op: "Const"})
			adds(call, "x:0", types_go_proto.DataType_DT_FLOAT)
		}, ""},
		"a value that changes": {func(i *Info, call *node_def_go_proto.NodeDef) {
			i.graph.GraphDef.Node = append(i.graph.GraphDef.Node, &node_def_go_proto.NodeDef{Name: "x", Op: "ReadVariableOp"})
			adds(call, "x", types_go_proto.DataType_DT_FLOAT)
		}, "its call takes x, which may change from step to step"},
		"an input twice": {func(_ *Info, call *node_def_go_proto.NodeDef) {
			adds(call, labels, types_go_proto.DataType_DT_INT64)
		}, ""},
		"an input that goes elsewhere": {func(i *Info, _ *node_def_go_proto.NodeDef) {
			i.signatures["train"].inputs["more"] = "more:0"
		}, `its input "more" does not go into the call`},
		"an operation to wait for": {func(_ *Info, call *node_def_go_proto.NodeDef) {
			call.Input = append(call.Input, "^"+labels)
		}, "its call waits for ^" + labels},
		"a batch of one size": {func(i *Info, _ *node_def_go_proto.NodeDef) {
			s := i.signatures["train"]
			s.public.Inputs = slices.Clone(s.public.Inputs)
			for k, input := range s.public.Inputs {
				if len(input.Shape) > 0 {
					s.public.Inputs[k].Shape = append([]int{4}, input.Shape[1:]...)
				}
			}
			i.signatures["train"] = s
		}, "none of its inputs has a row for each example"},
		"outputs of two operations": {func(i *Info, _ *node_def_go_proto.NodeDef) {
			i.signatures["train"].outputs["loss"] = "loss:0"
		}, "do not come from one call of a function"},
		"no call": {func(_ *Info, call *node_def_go_proto.NodeDef) { delete(call.Attr, "f") }, "do not come from one call of a function"},
		"an output without a port": {func(i *Info, _ *node_def_go_proto.NodeDef) {
			for name, output := range i.signatures["train"].outputs {
				node, _, _ := strings.Cut(output, ":")
				i.signatures["train"].outputs[name] = node
			}
		}, "is the tensor"},
		"text": {func(i *Info, _ *node_def_go_proto.NodeDef) {
			s := i.signatures["train"]
			s.public.Outputs = slices.Clone(s.public.Outputs)
			s.public.Outputs[0].DType = tensor.String
			i.signatures["train"] = s
		}, "is no scalar"},
	} {
		t.Run(name, func(t *testing.T) {
			info, err := Inspect(modeltest.Dir(t, modeltest.Tiny))
			if err != nil {
				t.Fatal(err)
			}
			for caller := range info.callers([]string{"train"}) {
				for _, node := range info.graph.GetGraphDef().GetNode() {
					if node.GetName() == caller {
						test.change(info, node)
					}
				}
			}
			graph := proto.Clone(info.graph.GetGraphDef()).(*graph_go_proto.GraphDef)
			l, err := info.findLoop("train")
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%v, want an error that says %q", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			nodes, functions := len(graph.Node), len(graph.Library.Function)
			l.add(graph)
			names := map[string]bool{}
			for _, node := range graph.Node[nodes:] {
				if names[node.GetName()] {
					t.Errorf("%s is there twice", node.GetName())
				}
				names[node.GetName()] = true
			}
			for _, f := range graph.Library.Function[functions:] {
				for _, node := range f.GetNodeDef() {
					if node.GetName() == "call" && len(node.GetInput()) != len(l.call.GetInput()) {
						t.Errorf("the call in the loop takes %v, for %v", node.GetInput(), l.call.GetInput())
					}
				}
			}
		})
	}
}

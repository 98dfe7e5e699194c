package savedmodel

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/op_def_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
)

func node(name, op string, function *attrs.NameAttrList, inputs ...string) *node_def_go_proto.NodeDef {
	n := &node_def_go_proto.NodeDef{Name: name, Op: op, Input: inputs}
	if function != nil {
		n.Attr = map[string]*attrs.AttrValue{"f": {Value: &attrs.AttrValue_Func{Func: function}}}
	}
	return n
}

func defined(name string, nodes ...*node_def_go_proto.NodeDef) *function_go_proto.FunctionDef {
	return &function_go_proto.FunctionDef{Signature: &op_def_go_proto.OpDef{Name: name}, NodeDef: nodes}
}

// A graph as TensorFlow 1 writes it: one signature's result is another's input,
// a function is named within the attribute of another, and one has a gradient.
func TestPrunedKeepsWhatIsNeeded(t *testing.T) {
	within := &attrs.NameAttrList{Name: "serve", Attr: map[string]*attrs.AttrValue{
		"body": {Value: &attrs.AttrValue_Func{Func: &attrs.NameAttrList{Name: "deep"}}},
	}}
	info := &Info{
		graph: &pb.MetaGraphDef{GraphDef: &graph_go_proto.GraphDef{
			Node: []*node_def_go_proto.NodeDef{
				node("images", "Placeholder", nil),
				node("logits", "PartitionedCall", &attrs.NameAttrList{Name: "network"}, "images:0"),
				node("probabilities", "PartitionedCall", within, "logits:0", "^ready"),
				node("ready", "NoOp", nil),
				node("trained", "PartitionedCall", &attrs.NameAttrList{Name: "train"}, "images:0"),
			},
			Library: &function_go_proto.FunctionDefLibrary{
				Function: []*function_go_proto.FunctionDef{
					defined("network", node("own", "custom", nil)), defined("custom"), defined("custom_gradient"),
					defined("serve"), defined("deep"), defined("train", node("x", "network", nil), node("y", "only", nil)), defined("only"), defined("only_gradient"),
				},
				Gradient: []*function_go_proto.GradientDef{
					{FunctionName: "custom", GradientFunc: "custom_gradient"}, {FunctionName: "only", GradientFunc: "only_gradient"},
				},
			},
		}},
		signatures: map[string]signature{
			"logits": {outputs: map[string]string{"y": "logits:0"}}, "serving_default": {outputs: map[string]string{"y": "probabilities:0"}},
			"train": {outputs: map[string]string{"loss": "trained:0"}},
		},
	}
	for _, test := range []struct {
		signature        string
		nodes, functions []string
	}{
		{"serving_default", []string{"images", "logits", "probabilities", "ready"}, []string{"custom", "custom_gradient", "deep", "network", "serve"}},
		{"logits", []string{"images", "logits", "ready"}, []string{"custom", "custom_gradient", "network"}},
		{"train", []string{"images", "ready", "trained"}, []string{"custom", "custom_gradient", "network", "only", "only_gradient", "train"}},
	} {
		graph := info.pruned([]string{test.signature}).GetGraphDef()
		var nodes, functions []string
		for _, n := range graph.GetNode() {
			nodes = append(nodes, n.GetName())
		}
		for _, f := range graph.GetLibrary().GetFunction() {
			functions = append(functions, f.GetSignature().GetName())
		}
		slices.Sort(nodes)
		slices.Sort(functions)
		if diff := cmp.Diff(test.nodes, nodes); diff != "" {
			t.Errorf("%s, nodes: %s", test.signature, diff)
		}
		if diff := cmp.Diff(test.functions, functions); diff != "" {
			t.Errorf("%s, functions: %s", test.signature, diff)
		}
	}
	if len(info.graph.GetGraphDef().GetNode()) != 5 || len(info.graph.GetGraphDef().GetLibrary().GetFunction()) != 8 {
		t.Error("the model's own graph was changed")
	}
}

package trace

import (
	"strconv"
	"strings"
	"time"

	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/step_stats_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	configpb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
)

// Read returns the operations of a run in the order of their ends. The run's
// options must have asked for a full trace, and for the graphs that were run:
// without those not all shapes of inputs are known.
func Read(m *configpb.RunMetadata) []Op {
	r := reader{nodes: map[string]*node_def_go_proto.NodeDef{}, shapes: map[string][][]int{}}
	for _, graph := range m.GetPartitionGraphs() {
		for _, node := range graph.GetNode() {
			r.nodes[node.GetName()] = node
		}
	}
	devices := m.GetStepStats().GetDevStats()
	for _, device := range devices {
		for _, node := range device.GetNodeStats() {
			if outputs := outputsOf(node); outputs != nil {
				r.shapes[node.GetNodeName()] = outputs
			}
		}
	}
	var ops []Op
	for _, device := range devices {
		for _, node := range device.GetNodeStats() {
			ops = append(ops, r.op(node, device.GetDevice()))
		}
	}
	return ops
}

// reader knows the graphs that were run and what their nodes gave.
type reader struct {
	nodes  map[string]*node_def_go_proto.NodeDef
	shapes map[string][][]int
}

func (r reader) op(stats *step_stats_go_proto.NodeExecStats, device string) Op {
	op, inputs := parseLabel(stats.GetTimelineLabel())
	node := r.nodes[stats.GetNodeName()]
	if node != nil { // the label's inputs may be from before the graph was rewritten
		op, inputs = node.GetOp(), node.GetInput()
	}
	o := Op{
		Name: stats.GetNodeName(), Op: op, Device: device,
		Start:    time.UnixMicro(stats.GetAllStartMicros() + stats.GetOpStartRelMicros()),
		Duration: time.Duration(stats.GetOpEndRelNanos() - stats.GetOpStartRelNanos()),
		Outputs:  outputsOf(stats),
		Equation: string(node.GetAttr()["equation"].GetS()),
	}
	if start := stats.GetAllStartNanos(); start > 0 {
		o.Start = time.Unix(0, start+stats.GetOpStartRelNanos())
	}
	for _, input := range inputs {
		if !strings.HasPrefix(input, "^") {
			o.Inputs = append(o.Inputs, r.shape(input))
		}
	}
	return o
}

// parseLabel reads "name = Op(input, input:1, ^after)". Some labels are only an
// operation.
func parseLabel(label string) (op string, inputs []string) {
	_, call, ok := strings.Cut(label, " = ")
	if !ok {
		return label, nil
	}
	op, rest, _ := strings.Cut(call, "(")
	if list, _, _ := strings.Cut(rest, ")"); list != "" {
		inputs = strings.Split(list, ", ")
	}
	return op, inputs
}

// shape finds that of a tensor, "node" or "node:index". TensorFlow does not run
// constants, so that it notes nothing of them.
func (r reader) shape(name string) []int {
	node, index := name, 0
	if head, tail, ok := strings.Cut(name, ":"); ok {
		node = head
		var err error
		if index, err = strconv.Atoi(tail); err != nil || index < 0 {
			return nil
		}
	}
	if shapes, ok := r.shapes[node]; ok && index < len(shapes) {
		return shapes[index]
	}
	if n := r.nodes[node]; n.GetOp() == "Const" {
		return shapeOf(n.GetAttr()["value"].GetTensor().GetTensorShape())
	}
	return nil
}

const mostOutputs = 1 << 16 // of an operation: more than any has

func outputsOf(stats *step_stats_go_proto.NodeExecStats) [][]int {
	var shapes [][]int
	for _, output := range stats.GetOutput() {
		if slot := output.GetSlot(); slot < 0 || slot >= mostOutputs {
			continue
		}
		for int(output.GetSlot()) >= len(shapes) {
			shapes = append(shapes, nil)
		}
		shapes[output.GetSlot()] = shapeOf(output.GetTensorDescription().GetShape())
	}
	return shapes
}

// shapeOf is nil for what is not wholly known; a scalar's is empty.
func shapeOf(shape *tensor_shape_go_proto.TensorShapeProto) []int {
	if shape == nil || shape.GetUnknownRank() {
		return nil
	}
	sizes := []int{}
	for _, dim := range shape.GetDim() {
		if dim.GetSize() < 0 {
			return nil
		}
		sizes = append(sizes, int(dim.GetSize()))
	}
	return sizes
}

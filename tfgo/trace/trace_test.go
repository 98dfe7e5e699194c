package trace_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/step_stats_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_description_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	configpb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"

	"github.com/residual-go/residual/tfgo/trace"
)

func shape(sizes ...int64) *tensor_shape_go_proto.TensorShapeProto {
	s := &tensor_shape_go_proto.TensorShapeProto{}
	for _, size := range sizes {
		s.Dim = append(s.Dim, &tensor_shape_go_proto.TensorShapeProto_Dim{Size: size})
	}
	return s
}

// ran notes an operation that began at a microsecond, took ten and gave tensors.
func ran(name, label string, start int64, outputs ...*tensor_shape_go_proto.TensorShapeProto) *step_stats_go_proto.NodeExecStats {
	stats := &step_stats_go_proto.NodeExecStats{
		NodeName: name, TimelineLabel: label, AllStartMicros: start, OpStartRelMicros: 1, OpStartRelNanos: 1000, OpEndRelNanos: 11000,
	}
	for i, output := range outputs {
		stats.Output = append(stats.Output, &step_stats_go_proto.NodeOutput{
			Slot: int32(i), TensorDescription: &tensor_description_go_proto.TensorDescription{Shape: output},
		})
	}
	return stats
}

// metadata is what TensorFlow tells of a convolution with a constant filter, of
// what comes after it, and of an operation in a function.
func metadata() *configpb.RunMetadata {
	filter := &attrs.AttrValue{Value: &attrs.AttrValue_Tensor{Tensor: &tensor_go_proto.TensorProto{TensorShape: shape(3, 3, 4, 8)}}}
	equation := &attrs.AttrValue{Value: &attrs.AttrValue_S{S: []byte("ab,bc->ac")}}
	return &configpb.RunMetadata{
		PartitionGraphs: []*graph_go_proto.GraphDef{{Node: []*node_def_go_proto.NodeDef{
			{Name: "images", Op: "_Arg"},
			{Name: "filter", Op: "Const", Attr: map[string]*attrs.AttrValue{"value": filter}},
			{Name: "conv", Op: "Conv2D", Input: []string{"images", "filter", "^before"}},
			{Name: "split", Op: "Split", Input: []string{"axis", "conv:0"}},
			{Name: "sum", Op: "Einsum", Input: []string{"split:1", "nobody"}, Attr: map[string]*attrs.AttrValue{"equation": equation}},
		}}},
		StepStats: &step_stats_go_proto.StepStats{DevStats: []*step_stats_go_proto.DeviceStepStats{{
			Device: "cpu",
			NodeStats: []*step_stats_go_proto.NodeExecStats{
				ran("images", "images = _Arg()", 100, shape(2, 7, 7, 4)),
				ran("conv", "conv = Old(old)", 110, shape(2, 5, 5, 8)),
				ran("split", "", 121, shape(2, 5), shape(2, 6)),
				ran("sum", "", 121, shape(-1)),
				ran("inner", "inner = Relu(conv, split:1, ^sum)", 131, shape()),
			},
		}}},
	}
}

func TestReadJoinsTimesAndGraphs(t *testing.T) {
	op := func(name, kind string, start int64, inputs, outputs [][]int) trace.Op {
		return trace.Op{
			Name: name, Op: kind, Device: "cpu", Start: time.UnixMicro(start), Duration: 10 * time.Microsecond, Inputs: inputs, Outputs: outputs,
		}
	}
	sum := op("sum", "Einsum", 122, shapes{{2, 6}, nil}, shapes{nil})
	sum.Equation = "ab,bc->ac"
	want := []trace.Op{
		op("images", "_Arg", 101, nil, shapes{{2, 7, 7, 4}}),
		op("conv", "Conv2D", 111, shapes{{2, 7, 7, 4}, {3, 3, 4, 8}}, shapes{{2, 5, 5, 8}}),
		op("split", "Split", 122, shapes{nil, {2, 5, 5, 8}}, shapes{{2, 5}, {2, 6}}),
		sum,
		op("inner", "Relu", 132, shapes{{2, 5, 5, 8}, {2, 6}}, shapes{{}}),
	}
	if diff := cmp.Diff(want, trace.Read(metadata())); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
	if ops := trace.Read(&configpb.RunMetadata{}); len(ops) != 0 {
		t.Errorf("of nothing it reads %v", ops)
	}
}

// twoRuns are of a graph with two convolutions; the second is slower.
func twoRuns() [][]trace.Op {
	begun := time.UnixMicro(1000)
	run := func(times int) []trace.Op {
		ms := func(n int) time.Duration { return time.Duration(n*times) * time.Millisecond }
		return []trace.Op{
			{Name: "a", Op: "Conv2D", Device: "cpu", Start: begun, Duration: ms(2), Inputs: shapes{{1, 1, 1, 1}, {1, 1, 1, 500}}, Outputs: shapes{{1, 1, 1, 500}}},
			{Name: "b", Op: "Conv2D", Device: "cpu", Start: begun.Add(ms(1)), Duration: ms(3), Inputs: shapes{{1, 1, 1, 1}, {1, 1, 1, 500}}, Outputs: shapes{{1, 1, 1, 500}}},
			{Name: "c", Op: "Relu", Device: "cpu", Start: begun.Add(ms(4)), Duration: ms(5), Outputs: shapes{{2, 3}}},
		}
	}
	return [][]trace.Op{run(1), run(3)}
}

func TestRowsAreMeansOfRuns(t *testing.T) {
	ms := time.Millisecond
	byOp := trace.ByOp(twoRuns()...)
	want := []trace.Row{
		{Op: "Conv2D", Calls: 2, Time: 10 * ms, Share: 0.5, FLOP: 2000},
		{Op: "Relu", Calls: 1, Time: 10 * ms, Share: 0.5},
	}
	if diff := cmp.Diff(want, byOp); diff != "" {
		t.Errorf("ByOp (-want +got):\n%s", diff)
	}
	if got := byOp[0].FLOPS(); math.Abs(got-200e3) > 1e-6 {
		t.Errorf("FLOPS = %g", got)
	}
	var names string
	for _, row := range trace.ByNode(twoRuns()...) {
		names += row.Name
	}
	if names != "cba" {
		t.Errorf("nodes by time: %s", names)
	}
	if rows := trace.ByOp(); len(rows) != 0 {
		t.Errorf("of no runs: %v", rows)
	}
}

func TestTablesAreCSV(t *testing.T) {
	var ops, nodes bytes.Buffer
	if err := trace.WriteOps(&ops, trace.ByOp(twoRuns()...)); err != nil {
		t.Fatal(err)
	}
	if err := trace.WriteNodes(&nodes, trace.ByNode(twoRuns()...)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][][]string{
		ops.String(): {
			{"op", "calls", "ms", "share", "gflop", "gflop_per_second"},
			{"Conv2D", "2", "10", "0.5", "2e-06", "0.0002"},
			{"Relu", "1", "10", "0.5", "0", "0"},
		},
		nodes.String(): {
			{"node", "op", "output", "calls", "ms", "share", "gflop", "gflop_per_second"},
			{"c", "Relu", "2x3", "1", "10", "0.5", "0", "0"},
			{"b", "Conv2D", "1x1x1x500", "1", "6", "0.3", "1e-06", "0.000166667"},
			{"a", "Conv2D", "1x1x1x500", "1", "4", "0.2", "1e-06", "0.00025"},
		},
	} {
		got, err := csv.NewReader(bytes.NewReader([]byte(text))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// Operations that ran at once lie on different lines, others on the first that is
// free.
func TestTimelineIsChromes(t *testing.T) {
	var text bytes.Buffer
	if err := trace.WriteTimeline(&text, twoRuns()[0]); err != nil {
		t.Fatal(err)
	}
	type event struct {
		Name  string            `json:"name"`
		Phase string            `json:"ph"`
		Line  int               `json:"tid"`
		Start float64           `json:"ts"`
		Took  float64           `json:"dur"`
		Args  map[string]string `json:"args"`
	}
	var got struct {
		Events []event `json:"traceEvents"`
	}
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []event{
		{"process_name", "M", 0, 0, 0, map[string]string{"name": "cpu"}},
		{"Conv2D", "X", 0, 0, 2000, map[string]string{"node": "a", "input 0": "1x1x1x1", "input 1": "1x1x1x500", "output 0": "1x1x1x500"}},
		{"Conv2D", "X", 1, 1000, 3000, map[string]string{"node": "b", "input 0": "1x1x1x1", "input 1": "1x1x1x500", "output 0": "1x1x1x500"}},
		{"Relu", "X", 0, 4000, 5000, map[string]string{"node": "c", "output 0": "2x3"}},
	}
	if diff := cmp.Diff(want, got.Events); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text.Reset()
	if err := trace.WriteTimeline(&text, nil); err != nil || text.String() != `{"displayTimeUnit":"ms","traceEvents":[]}`+"\n" {
		t.Errorf("of nothing: %s, %v", text.String(), err)
	}
}

package tfgo

import (
	"context"
	"fmt"
	"time"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Peak is how fast this machine multiplies matrices.
type Peak struct {
	FLOPS float64 // floating-point operations a second, two for each multiplication and addition
	Side  int     // of the square matrices that were multiplied fastest
}

// peakSides are large enough to keep all cores busy, and small enough to be
// multiplied several times a second by two of them; gpuPeakSides the same of a GPU.
var (
	peakSides    = []int{1024, 2048}
	gpuPeakSides = []int{4096, 8192}
)

// MeasurePeak multiplies matrices, in the options' precision and by their
// threads, for about so long, and tells of the fastest product. A model's
// convolutions are products too: no model comes beyond it by much.
func MeasurePeak(ctx context.Context, o Options, duration time.Duration) (Peak, error) {
	return MeasurePeakOn(ctx, Device{}, o, duration)
}

// MeasurePeakOn does so on one of the devices that there are for the options; the
// zero value stands for the one that TensorFlow chooses.
func MeasurePeakOn(ctx context.Context, device Device, o Options, duration time.Duration) (Peak, error) {
	sides := peakSides
	if device.IsGPU() || device.Type == "" && o.Target.findsGPU() {
		sides = gpuPeakSides
	}
	var best Peak
	for _, side := range sides {
		took, err := timeProduct(ctx, device, o, side, duration/time.Duration(len(sides)))
		if err != nil {
			return Peak{}, fmt.Errorf("measure peak: %w", err)
		}
		n := float64(side)
		if flops := 2 * n * n * n / took.Seconds(); flops > best.FLOPS {
			best = Peak{FLOPS: flops, Side: side}
		}
	}
	return best, nil
}

// timeProduct returns the shortest time that a product of two matrices took.
func timeProduct(ctx context.Context, device Device, o Options, side int, duration time.Duration) (time.Duration, error) {
	graph, err := productGraph(device, side, o.Precision)
	if err != nil {
		return 0, err
	}
	if o.Precision == BFloat16 || o.Precision == Float16 { // matrices that are it themselves need no mixed precision
		o.Precision = Float32
	}
	o.Optimized = true
	session, err := NewSession(graph, o)
	if err != nil {
		return 0, err
	}
	defer session.Close()
	values := make([]float32, side*side)
	for i := range values {
		values[i] = float32(i%17)/17 - 0.5
	}
	matrix, err := tensor.Of(values, side, side)
	if err != nil {
		return 0, err
	}
	if _, err := session.Run(ctx, Feeds{"value:0": matrix}, nil, []string{"a/set", "b/set"}); err != nil {
		return 0, err
	}
	var best time.Duration
	begun := time.Now()
	for i := 0; i < 3 || time.Since(begun) < duration; i++ {
		last := time.Now()
		if _, err := session.Run(ctx, nil, nil, []string{"product"}); err != nil {
			return 0, err
		}
		if took := time.Since(last); i > 0 && (best == 0 || took < best) { // the first plans
			best = took
		}
	}
	return best, nil
}

// productGraph multiplies two variables, which TensorFlow cannot compute once and
// for all as it does with constants, and which are not copied for each run as
// what is fed is.
func productGraph(device Device, side int, precision Precision) ([]byte, error) {
	dtype := types_go_proto.DataType_DT_FLOAT
	switch precision {
	case BFloat16:
		dtype = types_go_proto.DataType_DT_BFLOAT16
	case Float16:
		dtype = types_go_proto.DataType_DT_HALF
	}
	typed := func(t types_go_proto.DataType) *attrs.AttrValue {
		return &attrs.AttrValue{Value: &attrs.AttrValue_Type{Type: t}}
	}
	shape := &attrs.AttrValue{Value: &attrs.AttrValue_Shape{Shape: &tensor_shape_go_proto.TensorShapeProto{
		Dim: []*tensor_shape_go_proto.TensorShapeProto_Dim{{Size: int64(side)}, {Size: int64(side)}},
	}}}
	g := &graph_go_proto.GraphDef{}
	node := func(name, op string, with map[string]*attrs.AttrValue, inputs ...string) {
		g.Node = append(g.Node, &node_def_go_proto.NodeDef{Name: name, Op: op, Attr: with, Input: inputs, Device: device.Name})
	}
	node("value", "Placeholder", map[string]*attrs.AttrValue{"dtype": typed(types_go_proto.DataType_DT_FLOAT), "shape": shape})
	node("rounded", "Cast", map[string]*attrs.AttrValue{"SrcT": typed(types_go_proto.DataType_DT_FLOAT), "DstT": typed(dtype)}, "value")
	for _, name := range []string{"a", "b"} {
		node(name, "VarHandleOp", map[string]*attrs.AttrValue{
			"dtype": typed(dtype), "shape": shape, "shared_name": {Value: &attrs.AttrValue_S{S: []byte(name)}},
		})
		node(name+"/set", "AssignVariableOp", map[string]*attrs.AttrValue{"dtype": typed(dtype)}, name, "rounded")
		node(name+"/read", "ReadVariableOp", map[string]*attrs.AttrValue{"dtype": typed(dtype)}, name)
	}
	node("product", "MatMul", map[string]*attrs.AttrValue{"T": typed(dtype)}, "a/read", "b/read")
	return proto.Marshal(g)
}

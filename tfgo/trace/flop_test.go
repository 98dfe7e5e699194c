package trace_test

import (
	"strings"
	"testing"

	"github.com/residual-go/residual/tfgo/trace"
)

type shapes = [][]int

func TestFLOP(t *testing.T) {
	// A convolution of 3x3 from 4 to 8 channels, with 5x5 results for 2 images.
	const conv = 2 * 2 * 5 * 5 * 8 * 3 * 3 * 4
	image, filter, result, sizes := []int{2, 7, 7, 4}, []int{3, 3, 4, 8}, []int{2, 5, 5, 8}, []int{4}
	const depthwise = 2 * 2 * 5 * 5 * 8 * 3 * 3
	deepFilter := []int{3, 3, 4, 2}
	for name, test := range map[string]struct {
		op   trace.Op
		want float64
	}{
		"convolution":              {trace.Op{Op: "Conv2D", Inputs: shapes{image, filter}, Outputs: shapes{result}}, conv},
		"channels first":           {trace.Op{Op: "Conv2D", Inputs: shapes{{2, 4, 7, 7}, filter}, Outputs: shapes{{2, 8, 5, 5}}}, conv},
		"fused":                    {trace.Op{Op: "_FusedConv2D", Inputs: shapes{image, filter, {8}}, Outputs: shapes{result}}, conv},
		"oneDNN's":                 {trace.Op{Op: "_MklNativeConv2D", Inputs: shapes{image, filter}, Outputs: shapes{result}}, conv},
		"oneDNN's, fused":          {trace.Op{Op: "_MklNativeFusedConv2D", Inputs: shapes{image, filter, {8}, result}, Outputs: shapes{result}}, conv},
		"padding fused":            {trace.Op{Op: "_MklNativePadWithFusedConv2D", Inputs: shapes{{2, 5, 5, 4}, filter, {8}, {4, 2}}, Outputs: shapes{result}}, conv},
		"in groups":                {trace.Op{Op: "Conv2D", Inputs: shapes{image, {3, 3, 2, 8}}, Outputs: shapes{result}}, conv / 2},
		"gradient of the images":   {trace.Op{Op: "Conv2DBackpropInput", Inputs: shapes{sizes, filter, result}, Outputs: shapes{image}}, conv},
		"gradient of the filter":   {trace.Op{Op: "_MklNativeConv2DBackpropFilter", Inputs: shapes{image, sizes, result}, Outputs: shapes{filter}}, conv},
		"gradient with bias":       {trace.Op{Op: "_MklNativeConv2DBackpropFilterWithBias", Inputs: shapes{image, sizes, result}, Outputs: shapes{filter, {8}}}, conv},
		"in three dimensions":      {trace.Op{Op: "Conv3D", Inputs: shapes{{2, 6, 7, 7, 4}, {2, 3, 3, 4, 8}}, Outputs: shapes{{2, 5, 5, 5, 8}}}, 10 * conv},
		"depthwise":                {trace.Op{Op: "DepthwiseConv2dNative", Inputs: shapes{image, deepFilter}, Outputs: shapes{result}}, depthwise},
		"depthwise, fused":         {trace.Op{Op: "_MklNativeFusedDepthwiseConv2dNative", Inputs: shapes{image, deepFilter, {8}}, Outputs: shapes{result}}, depthwise},
		"depthwise, images":        {trace.Op{Op: "DepthwiseConv2dNativeBackpropInput", Inputs: shapes{sizes, deepFilter, result}, Outputs: shapes{image}}, depthwise},
		"depthwise, filter":        {trace.Op{Op: "DepthwiseConv2dNativeBackpropFilter", Inputs: shapes{image, sizes, result}, Outputs: shapes{deepFilter}}, depthwise},
		"matrices":                 {trace.Op{Op: "MatMul", Inputs: shapes{{3, 5}, {5, 7}}, Outputs: shapes{{3, 7}}}, 2 * 3 * 5 * 7},
		"matrices, the first over": {trace.Op{Op: "_FusedMatMul", Inputs: shapes{{5, 3}, {5, 7}, {7}}, Outputs: shapes{{3, 7}}}, 2 * 3 * 5 * 7},
		"many matrices":            {trace.Op{Op: "BatchMatMulV2", Inputs: shapes{{9, 1, 3, 5}, {4, 5, 7}}, Outputs: shapes{{9, 4, 3, 7}}}, 2 * 9 * 4 * 3 * 5 * 7},
		"none at all":              {trace.Op{Op: "MatMul", Inputs: shapes{{0, 5}, {5, 7}}, Outputs: shapes{{0, 7}}}, 0},
		"letters":                  {trace.Op{Op: "Einsum", Equation: "abc,cde->abde", Inputs: shapes{{2, 3, 4}, {4, 5, 6}}, Outputs: shapes{{2, 3, 5, 6}}}, 2 * 2 * 3 * 4 * 5 * 6},
		"letters and more axes":    {trace.Op{Op: "Einsum", Equation: "...ab,bc->...ac", Inputs: shapes{{7, 2, 3}, {3, 5}}, Outputs: shapes{{7, 2, 5}}}, 2 * 7 * 2 * 3 * 5},
		"letters that only move":   {trace.Op{Op: "Einsum", Equation: "ab->ba", Inputs: shapes{{2, 3}}, Outputs: shapes{{3, 2}}}, 0},
		"no product":               {trace.Op{Op: "FusedBatchNormV3", Inputs: shapes{image}, Outputs: shapes{image}}, 0},
		"a change of format":       {trace.Op{Op: "_MklInputConversion", Inputs: shapes{image}, Outputs: shapes{image}}, 0},
		"noted twice by a GPU":     {trace.Op{Op: "Conv2D", Device: "/device:GPU:0/stream:all", Inputs: shapes{image, filter}, Outputs: shapes{result}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.op.FLOP()
			if err != nil || got != test.want {
				t.Errorf("%s: FLOP = %g, %v, want %g", test.op.Op, got, err, test.want)
			}
		})
	}
}

// What cannot be counted is not left out without a word.
func TestFLOPThatIsNotKnown(t *testing.T) {
	counted := trace.Op{Op: "MatMul", Inputs: shapes{{3, 5}, {5, 7}}, Outputs: shapes{{3, 7}}}
	for name, op := range map[string]trace.Op{
		"no filter":         {Op: "Conv2D", Name: "here", Inputs: shapes{{2, 7, 7, 4}, nil}, Outputs: shapes{{2, 5, 5, 8}}},
		"no inputs":         {Op: "Conv2DBackpropInput", Name: "here", Outputs: shapes{{2, 5, 5, 8}}},
		"no outputs":        {Op: "_FusedMatMul", Name: "here", Inputs: shapes{{3, 5}, {5, 7}}},
		"no equation":       {Op: "Einsum", Name: "here", Inputs: shapes{{3, 5}, {5, 7}}, Outputs: shapes{{3, 7}}},
		"a wrong equation":  {Op: "Einsum", Name: "here", Equation: "abc,cd->abd", Inputs: shapes{{3, 5}, {5, 7}}, Outputs: shapes{{3, 7}}},
		"an unknown kind":   {Op: "_QuantizedFusedMatMulAndDequantize", Name: "here"},
		"compiled by XLA":   {Op: "_XlaRun", Name: "here"},
		"a recurrent layer": {Op: "CudnnRNNV3", Name: "here"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := trace.FLOP([]trace.Op{counted, op}); err == nil || got != 0 || !strings.Contains(err.Error(), "here ("+op.Op+")") {
				t.Errorf("FLOP = %g, %v", got, err)
			}
		})
	}
	if got, err := trace.FLOP([]trace.Op{counted, {Op: "Relu"}, counted}); err != nil || got != 2*2*3*5*7 {
		t.Errorf("FLOP = %g, %v", got, err)
	}
}

package frozen

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// convolution is a fused Conv2D of images [N,size,size,2] with three filters.
func convolution(size, side, stride, results int, padding string, explicit ...int64) *node {
	random := rand.New(rand.NewPCG(1, 2))
	kernel := make([]float32, side*side*2*3)
	for i := range kernel {
		kernel[i] = float32(random.IntN(9) - 4)
	}
	n := &node{
		name: "conv", op: products["Conv2D"].fused,
		attrs: float32s(map[string]*attrs.AttrValue{
			"strides": intsAttr(1, int64(stride), int64(stride), 1), "fused_ops": stringsAttr("BiasAdd"),
			"padding": {Value: &attrs.AttrValue_S{S: []byte(padding)}}, "explicit_paddings": intsAttr(explicit...),
		}, -1, results, results, 3),
		inputs: []port{
			{&node{name: "x", op: "Placeholder", attrs: float32s(nil, -1, size, size, 2)}, 0},
			{&node{name: "kernel", value: new(mustOf(kernel, side, side, 2, 3))}, 0},
			{&node{name: "bias", value: new(mustOf([]float32{1, 2, 3}, 3))}, 0},
		},
	}
	return n
}

// convolved is the convolution of one image, without the bias.
func convolved(n *node, image []float32, before int) []float32 {
	in, _ := n.inputs[0].shape()
	out, _ := port{n, 0}.shape()
	shape, _ := n.inputs[1].shape()
	kernel, _ := n.inputs[1].floats()
	stride := int(n.attrs["strides"].GetList().GetI()[1])
	var result []float32
	for y := range out[1] {
		for x := range out[2] {
			for filter := range shape[3] {
				sum := float32(0)
				for tap := range shape[0] * shape[1] {
					row, column := y*stride+tap/shape[1]-before, x*stride+tap%shape[1]-before
					if min(row, column) < 0 || row >= in[1] || column >= in[2] {
						continue
					}
					for channel := range shape[2] {
						sum += image[(row*in[2]+column)*shape[2]+channel] * kernel[(tap*shape[2]+channel)*shape[3]+filter]
					}
				}
				result = append(result, sum)
			}
		}
	}
	return result
}

func TestSmallConvolutionsBecomeProducts(t *testing.T) {
	for _, test := range []struct {
		size, side, stride, results int
		padding                     string
		before                      int
		product                     bool
	}{
		{1, 3, 1, 1, "SAME", 1, true},
		{2, 3, 1, 2, "SAME", 1, true},
		{2, 3, 2, 1, "SAME", 0, true},
		{3, 3, 1, 1, "VALID", 0, true},
		{4, 3, 2, 1, "VALID", 0, true},
		{2, 3, 1, 2, "EXPLICIT", 1, true},
		{2, 1, 2, 1, "SAME", 0, true},
		{2, 1, 1, 2, "VALID", 0, true},
		{4, 1, 2, 2, "VALID", 0, true},
		{3, 3, 1, 3, "SAME", 1, false}, // corners apart
		{4, 7, 1, 4, "SAME", 3, false}, // weights of 16 times 16 positions
		{4, 1, 1, 4, "SAME", 0, false}, // many positions
		{3, 1, 1, 5, "EXPLICIT", 1, false},
		{1, 3, 4, 2, "EXPLICIT", 3, false}, // it sees padding alone
	} {
		t.Run(fmt.Sprintf("%d by %d, stride %d, %s", test.size, test.side, test.stride, test.padding), func(t *testing.T) {
			before := int64(test.before)
			n := convolution(test.size, test.side, test.stride, test.results, test.padding, 0, 0, before, before, before, before, 0, 0)
			j, ok := joiningOf(n)
			if ok != test.product {
				t.Fatalf("joiningOf: %t, want %t", ok, test.product)
			}
			if !ok {
				return
			}
			image := make([]float32, test.size*test.size*2)
			for i := range image {
				image[i] = float32(i%7 - 3)
			}
			kernel, _ := n.inputs[1].floats()
			var rows, got []float32
			for _, position := range j.positions {
				rows = append(rows, image[2*position:2*position+2]...)
			}
			width := 2
			if j.taps != nil {
				kernel, width = spread(kernel, j.taps, 2, 3), len(rows)
			}
			columns := len(kernel) / width
			for row := range slices.Chunk(rows, width) {
				for column := range columns {
					sum := float32(0)
					for i, value := range row {
						sum += value * kernel[i*columns+column]
					}
					got = append(got, sum)
				}
			}
			if want := convolved(n, image, test.before); !slices.Equal(got, want) {
				t.Errorf("the product is %v, the convolution %v", got, want)
			}
		})
	}
}

func TestSmallKeepsWhatItCannotTake(t *testing.T) {
	for name, change := range map[string]func(n *node){
		"dilated":       func(n *node) { n.attrs["dilations"] = intsAttr(1, 2, 2, 1) },
		"grouped":       func(n *node) { n.inputs[0].node.attrs = float32s(nil, -1, 1, 1, 4) },
		"free size":     func(n *node) { n.inputs[0].node.attrs = float32s(nil, -1, tensor.AnySize, tensor.AnySize, 2) },
		"unknown shape": func(n *node) { delete(n.attrs, "_output_shapes") },
		"first channels": func(n *node) {
			n.attrs["data_format"] = &attrs.AttrValue{Value: &attrs.AttrValue_S{S: []byte("NCHW")}}
		},
		"bias of the caller":    func(n *node) { n.inputs[2].node = n.inputs[0].node },
		"weights of the caller": func(n *node) { n.inputs[1].node = n.inputs[0].node },
	} {
		n := convolution(1, 3, 1, 1, "SAME")
		change(n)
		if _, ok := joiningOf(n); ok {
			t.Errorf("%s: it became a product", name)
		}
	}
}

package frozen

import (
	"slices"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Fuses finds out what Source.Fuse is, by a convolution of one number.
func Fuses(run func(graph []byte, fetches []string) ([]tensor.Tensor, error)) bool {
	return computes(run, func(*graph) {})
}

// FusesBFloat16 finds out whether the same can be done in bfloat16. oneDNN has no
// such convolution for processors without AVX-512.
func FusesBFloat16(run func(graph []byte, fetches []string) ([]tensor.Tensor, error)) bool {
	return computes(run, (*graph).bfloat16)
}

func computes(run func(graph []byte, fetches []string) ([]tensor.Tensor, error), rewrite func(*graph)) bool {
	g := &graph{names: map[string]bool{}}
	number := func(value float32, shape ...int) port {
		return port{g.constant("number", mustOf([]float32{value}, shape...)), 0}
	}
	sum := &node{
		name: "sum",
		attrs: map[string]*attrs.AttrValue{
			"T": typeAttr(float32Type), "strides": intsAttr(1, 1, 1, 1), "padding": {Value: &attrs.AttrValue_S{S: []byte("VALID")}},
		},
		inputs: []port{number(2, 1, 1, 1, 1), number(3, 1, 1, 1, 1)},
	}
	sum = g.fused(sum, products["Conv2D"], number(5, 1))
	sum.inputs = append(sum.inputs, number(7, 1, 1, 1, 1))
	sum.attrs["fused_ops"] = stringsAttr("BiasAdd", "Add", "Relu")
	sum.setArguments(2)
	g.outputs = []port{{sum, 0}}
	rewrite(g)
	def, err := g.marshal()
	if err != nil {
		return false
	}
	results, err := run(def, g.outputNames())
	if err != nil {
		return false
	}
	values, err := tensor.Values[float32](results[0])
	return err == nil && slices.Equal(values, []float32{2*3 + 5 + 7})
}

package frozen

import (
	"math"

	"github.com/residual-go/residual/tfgo/tensor"
)

// fold puts what is done to each channel of a convolution's or a matrix
// product's result, BatchNorm before all, into its weights and one bias:
// scale * (weights * x + bias) + offset is (scale * weights) * x + (scale * bias + offset).
func (g *graph) fold() {
	readers := g.readers()
	by := replacements{}
	for _, n := range g.nodes() {
		by.follow(n.inputs)
		x, step, ok := affineOf(n)
		if !ok {
			continue
		}
		product, bias := x.node, []float32(nil)
		if product.op == "BiasAdd" && readers[product] == 1 {
			bias, ok = product.inputs[1].floats()
			if !ok {
				continue
			}
			product = product.inputs[0].node
		}
		channels, isProduct := product.channels()
		if !isProduct || readers[product] != 1 || !step.fits(channels) {
			continue
		}
		if product == x.node && n.op == "BiasAdd" { // as it is to be
			continue
		}
		result := g.scaled(product, channels, step, bias)
		// What was read once is now read once more; the old nodes are gone.
		readers[result.inputs[0].node], readers[result] = 1, readers[n]
		by[port{n, 0}] = port{result, 0}
	}
	g.replace(by)
}

// affine is what is done to each channel: y = scale x + offset. A slice of one
// is for all channels.
type affine struct{ scale, offset []float64 }

func (a affine) fits(channels int) bool {
	return (len(a.scale) == 1 || len(a.scale) == channels) && (len(a.offset) == 1 || len(a.offset) == channels)
}

func (a affine) at(channel int) (scale, offset float64) {
	return a.scale[min(channel, len(a.scale)-1)], a.offset[min(channel, len(a.offset)-1)]
}

// affineOf recognizes an operation on channels, its constants known.
func affineOf(n *node) (x port, step affine, ok bool) {
	switch n.op {
	case "FusedBatchNormV3", "FusedBatchNormV2", "FusedBatchNorm":
		return batchNormOf(n)
	case "BiasAdd":
		offset, ok := n.inputs[1].perChannel(1)
		return n.inputs[0], affine{[]float64{1}, offset}, ok && n.channelsLast()
	case "Add", "AddV2", "Mul":
		x, y := n.inputs[0], n.inputs[1]
		if x.node.op == "Const" {
			x, y = y, x
		}
		values, ok := y.perChannel(x.rank())
		if n.op == "Mul" {
			return x, affine{values, []float64{0}}, ok
		}
		return x, affine{[]float64{1}, values}, ok
	case "Sub":
		values, ok := n.inputs[1].perChannel(n.inputs[0].rank())
		for i := range values {
			values[i] = -values[i]
		}
		return n.inputs[0], affine{[]float64{1}, values}, ok
	}
	return port{}, affine{}, false
}

func batchNormOf(n *node) (x port, step affine, ok bool) {
	var parameters [4][]float64
	for i := range parameters {
		values, ok := n.inputs[i+1].perChannel(1)
		if !ok {
			return port{}, affine{}, false
		}
		parameters[i] = values
	}
	scale, offset, mean, variance := parameters[0], parameters[1], parameters[2], parameters[3]
	training, ok := n.attrs["is_training"] // true where it is left out
	if !ok || training.GetB() || !n.channelsLast() || len(mean) != len(scale) {
		return port{}, affine{}, false
	}
	epsilon := float64(float32(1e-4)) // where it is left out
	if given, ok := n.attrs["epsilon"]; ok {
		epsilon = float64(given.GetF())
	}
	for c := range scale {
		scale[c] /= math.Sqrt(variance[c] + epsilon)
		offset[c] -= mean[c] * scale[c]
	}
	return n.inputs[0], affine{scale, offset}, true
}

func (n *node) channelsLast() bool {
	format := string(n.attrs["data_format"].GetS())
	return format == "" || format == "NHWC"
}

// perChannel returns a constant that is broadcast along the last axis of
// something of that rank, or of the whole.
func (p port) perChannel(rank int) ([]float64, bool) {
	values, ok := p.floats()
	shape, _ := p.shape()
	if !ok || len(shape) > rank {
		return nil, false
	}
	for i, size := range shape {
		if size != 1 && i < len(shape)-1 {
			return nil, false
		}
	}
	wide := make([]float64, len(values))
	for i, value := range values {
		wide[i] = float64(value)
	}
	return wide, true
}

// rank is 0 where it is not known.
func (p port) rank() int {
	shape, _ := p.shape()
	return len(shape)
}

// channels tells how many a convolution's or a matrix product's result has,
// where its weights are constants; false for anything else.
func (n *node) channels() (int, bool) {
	if _, ok := products[n.op]; !ok {
		return 0, false
	}
	if _, ok := n.inputs[1].floats(); !ok || !n.channelsLast() || n.attrs["transpose_b"].GetB() {
		return 0, false
	}
	shape, _ := n.inputs[1].shape()
	last := shape[len(shape)-1]
	if n.op == "DepthwiseConv2dNative" { // [height, width, channels, multiplier]
		last *= shape[len(shape)-2]
	}
	return last, true
}

// scaled returns a BiasAdd of a product that does the step besides. The channels
// are the last axis of its weights, of a depthwise convolution the last two.
func (g *graph) scaled(product *node, channels int, step affine, bias []float32) *node {
	weights, _ := product.inputs[1].floats()
	shape, _ := product.inputs[1].shape()
	newWeights, newBias := make([]float32, len(weights)), make([]float32, channels)
	for i, weight := range weights {
		scale, _ := step.at(i % channels)
		newWeights[i] = float32(float64(weight) * scale)
	}
	for c := range newBias {
		scale, offset := step.at(c)
		if bias != nil {
			offset += scale * float64(bias[c])
		}
		newBias[c] = float32(offset)
	}
	folded := *product
	folded.name = g.unique(product.name)
	folded.inputs = []port{product.inputs[0], {g.constant(product.inputs[1].node.name, mustOf(newWeights, shape...)), 0}}
	return &node{
		name: g.unique(product.name + "/bias"), op: "BiasAdd",
		attrs:  biasAttrs(product),
		inputs: []port{{&folded, 0}, {g.constant(product.name+"/bias/value", mustOf(newBias, channels)), 0}},
	}
}

// mustOf makes a tensor of values that are as many as its shape says.
func mustOf(values []float32, shape ...int) tensor.Tensor {
	t, err := tensor.Of(values, shape...)
	if err != nil {
		panic(err)
	}
	return t
}

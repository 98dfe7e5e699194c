package frozen

import (
	"slices"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// small makes matrix products of fused convolutions whose images are no larger
// than their kernels. Each position goes into each result there: a convolution
// would also multiply by the padding around, and its kernels are made for larger
// images. A kernel of one tap is a product for each position.
func (g *graph) small() {
	by := replacements{}
	for _, n := range g.nodes() {
		by.follow(n.inputs)
		if j, ok := joiningOf(n); ok {
			by[port{n, 0}] = g.joined(n, j)
		}
	}
	g.replace(by)
}

// mostPointwise is up to how many positions a product is faster than a
// convolution of one tap.
const mostPointwise = 4

// mostSpread is how many times as large as the kernel a product's weights may be.
const mostSpread = 4

// joining says how the positions of an image go into those of a result, both in
// row order.
type joining struct {
	positions []int   // of the image, that go into any result
	all       bool    // that is every one
	taps      [][]int // [result][i] is the kernel's tap for positions[i], in row order; nil for a kernel of one tap
}

// joiningOf tells how a convolution joins positions, where it is better a
// product.
func joiningOf(n *node) (joining, bool) {
	if !n.isPlain() {
		return joining{}, false
	}
	image, _ := n.inputs[0].shape()
	result, _ := port{n, 0}.shape()
	kernel, _ := n.inputs[1].shape()
	height, width, down, right := image[1], image[2], result[1], result[2]
	if min(height, width, down, right) < 1 { // some are free
		return joining{}, false
	}
	pointwise := kernel[0]*kernel[1] == 1
	if pointwise && down*right > mostPointwise {
		return joining{}, false
	}
	a := axes{rows: n.taps(1, height, down, kernel[0]), columns: n.taps(2, width, right, kernel[1]), kernelWidth: kernel[1]}
	j := joining{positions: a.read()}
	if len(j.positions) == 0 { // it sees nothing but padding
		return joining{}, false
	}
	j.all = len(j.positions) == height*width
	if pointwise {
		return j, len(j.positions) == down*right
	}
	if len(j.positions)*down*right > mostSpread*kernel[0]*kernel[1] {
		return joining{}, false
	}
	var ok bool
	j.taps, ok = a.taps(j.positions)
	return j, ok
}

// isPlain tells whether a node is a fused convolution with constant weights, in
// one group and without holes.
func (n *node) isPlain() bool {
	if n.op != products["Conv2D"].fused || !n.channelsLast() || slices.ContainsFunc(n.attrs["dilations"].GetList().GetI(), func(step int64) bool { return step != 1 }) {
		return false
	}
	_, constant := n.inputs[1].floats()
	_, constantBias := n.inputs[2].floats()
	image, _ := n.inputs[0].shape()
	result, _ := port{n, 0}.shape()
	kernel, _ := n.inputs[1].shape()
	return constant && constantBias && len(image) == 4 && len(result) == 4 && image[3] == kernel[2]
}

// axes are a convolution's taps along both axes of its image, see node.taps.
type axes struct {
	rows, columns [][]int
	kernelWidth   int
}

// read are the positions of the image that go into any result.
func (a axes) read() (positions []int) {
	for y := range a.rows[0] {
		for x := range a.columns[0] {
			if anyReads(a.rows, y) && anyReads(a.columns, x) {
				positions = append(positions, y*len(a.columns[0])+x)
			}
		}
	}
	return positions
}

func anyReads(taps [][]int, position int) bool {
	return slices.ContainsFunc(taps, func(taps []int) bool { return taps[position] >= 0 })
}

// taps are those of the kernel that positions go into results by, see joining;
// not ok where one does not go into each: a product would multiply by zeros.
func (a axes) taps(positions []int) (taps [][]int, ok bool) {
	width := len(a.columns[0])
	for place := range len(a.rows) * len(a.columns) {
		row, column := a.rows[place/len(a.columns)], a.columns[place%len(a.columns)]
		var of []int
		for _, position := range positions {
			y, x := row[position/width], column[position%width]
			if y < 0 || x < 0 {
				return nil, false
			}
			of = append(of, y*a.kernelWidth+x)
		}
		taps = append(taps, of)
	}
	return taps, true
}

// taps returns, for one axis of a convolution's image, by which tap of the
// kernel a position goes into a result: [result][position], -1 where it does not.
func (n *node) taps(axis, size, results, kernel int) [][]int {
	stride, before := int(n.attrs["strides"].GetList().GetI()[axis]), 0
	switch string(n.attrs["padding"].GetS()) {
	case "SAME":
		before = max((results-1)*stride+kernel-size, 0) / 2
	case "EXPLICIT":
		before = int(n.attrs["explicit_paddings"].GetList().GetI()[2*axis])
	}
	taps := make([][]int, results)
	for result := range taps {
		for position := range size {
			tap := position - result*stride + before
			if tap >= kernel {
				tap = -1
			}
			taps[result] = append(taps[result], max(tap, -1))
		}
	}
	return taps
}

// joined returns the product that takes the place of a fused convolution, with
// the sum and the activation that are fused with that.
func (g *graph) joined(n *node, j joining) port {
	kernel, _ := n.inputs[1].floats()
	shape, _ := n.inputs[1].shape()
	channels, filters := shape[2], shape[3]
	x, image := n.inputs[0], int64(channels)
	if !j.all {
		size, _ := x.shape()
		x = g.gather(n, g.reshape(n, x, -1, int64(size[1]*size[2]), image), j.positions)
	}
	weights, results := kernel, 1
	if j.taps != nil {
		weights, results = spread(kernel, j.taps, channels, filters), len(j.taps)
		image *= int64(len(j.positions))
	}
	bias := n.inputs[2]
	if results > 1 {
		one, _ := bias.floats()
		bias = port{g.constant(bias.node.name, mustOf(slices.Repeat(one, results), results*filters)), 0}
	}
	matrix := &node{
		name: n.name, op: "MatMul", attrs: map[string]*attrs.AttrValue{"T": n.attrs["T"]},
		inputs: []port{g.reshape(n, x, -1, image), {g.constant(n.inputs[1].node.name, mustOf(weights, len(weights)/(results*filters), results*filters)), 0}},
	}
	fused := g.fused(matrix, products["MatMul"], bias)
	after := n.attrs["fused_ops"].GetList().GetS()[1:] // the first is the bias
	own := stringsAttr("BiasAdd")
	if len(after) == 1 && string(after[0]) != "Add" {
		own, after = stringsAttr("BiasAdd", string(after[0])), nil
	}
	fused.attrs["fused_ops"] = own
	size, _ := port{n, 0}.shape()
	result := g.reshape(n, port{fused, 0}, -1, int64(size[1]), int64(size[2]), int64(filters))
	result.node.attrs["_output_shapes"] = n.attrs["_output_shapes"]
	return g.after(n, result, after)
}

// after does by operations of their own what a fused convolution does after its
// bias.
func (g *graph) after(n *node, result port, ops [][]byte) port {
	for _, fused := range ops {
		op, inputs := string(fused), []port{result}
		if op == "Add" {
			op, inputs = "AddV2", append(inputs, n.inputs[3])
		}
		result = port{&node{name: g.unique(n.name + "/" + op), op: op, inputs: inputs,
			attrs: map[string]*attrs.AttrValue{"T": n.attrs["T"], "_output_shapes": n.attrs["_output_shapes"]}}, 0}
	}
	return result
}

// spread makes the weights of a product of a kernel's: [positions * channels,
// results * filters].
func spread(kernel []float32, taps [][]int, channels, filters int) []float32 {
	weights := make([]float32, 0, len(taps)*len(taps[0])*channels*filters)
	for position := range taps[0] {
		for channel := range channels {
			for result := range taps {
				first := (taps[result][position]*channels + channel) * filters
				weights = append(weights, kernel[first:first+filters]...)
			}
		}
	}
	return weights
}

func (g *graph) reshape(n *node, x port, sizes ...int64) port {
	shape, err := tensor.Of(sizes, len(sizes))
	if err != nil {
		panic(err)
	}
	return port{&node{
		name: g.unique(n.name + "/reshape"), op: "Reshape", inputs: []port{x, {g.constant(n.name+"/shape", shape), 0}},
		attrs: map[string]*attrs.AttrValue{"T": n.attrs["T"], "Tshape": typeAttr(types_go_proto.DataType_DT_INT64)},
	}, 0}
}

// gather takes some positions of the middle axis of x [N,positions,channels].
func (g *graph) gather(n *node, x port, positions []int) port {
	places := make([]int32, len(positions))
	for i, position := range positions {
		places[i] = int32(position)
	}
	which, err := tensor.Of(places, len(places))
	if err != nil {
		panic(err)
	}
	axis := tensor.Scalar(int32(1))
	index := typeAttr(types_go_proto.DataType_DT_INT32)
	return port{&node{
		name: g.unique(n.name + "/gather"), op: "GatherV2",
		inputs: []port{x, {g.constant(n.name+"/places", which), 0}, {g.constant(n.name+"/axis", axis), 0}},
		attrs:  map[string]*attrs.AttrValue{"Tparams": n.attrs["T"], "Tindices": index, "Taxis": index, "batch_dims": intAttr(0)},
	}, 0}
}

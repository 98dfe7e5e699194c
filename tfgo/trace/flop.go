package trace

import (
	"fmt"
	"regexp"
	"strings"
)

// FLOP counts the floating-point operations of convolutions and matrix products,
// their gradients included: two for each multiplication and addition, those by
// the zeros of a padding too, as it is usual. Nothing else is counted: all else of
// an image classifier is below a hundredth of it. The error says which operation
// cannot be counted.
func FLOP(ops []Op) (float64, error) {
	total := 0.0
	for _, op := range ops {
		count, err := op.FLOP()
		if err != nil {
			return 0, err
		}
		total += count
	}
	return total, nil
}

// FLOP is the function of that name for one operation.
func (o Op) FLOP() (float64, error) {
	if !o.isKernel() {
		return 0, nil
	}
	count, ok := counters[kindOf(o.Op)]
	if !ok && multiplies.MatchString(o.Op) {
		return 0, fmt.Errorf("count operations: %s (%s) is of a kind that is not counted", o.Name, o.Op)
	}
	if !ok {
		return 0, nil
	}
	products, ok := count(o)
	if !ok {
		return 0, fmt.Errorf("count operations: the shapes of %s (%s) are not known: inputs %v, outputs %v", o.Name, o.Op, o.Inputs, o.Outputs)
	}
	return 2 * products, nil
}

// multiplies are the names of operations that are likely to multiply matrices.
var multiplies = regexp.MustCompile(`(?i)conv[123]d|matmul|einsum|rnn|lstm|gru|xla(launch|run)`)

// kindOf takes from an operation's name what only says how it is computed:
// _MklNativePadWithFusedConv2D is a Conv2D.
func kindOf(op string) string {
	for _, prefix := range []string{"_", "Mkl", "Native", "PadWith", "Fused"} {
		op = strings.TrimPrefix(op, prefix)
	}
	return strings.TrimSuffix(op, "WithBias")
}

// counters count the products of an operation; false where a shape that they
// need is not known.
var counters = map[string]func(Op) (float64, bool){
	"Conv2D":                 convolution(Op.output, 0, Op.input, 1, 1),
	"Conv2DBackpropInput":    convolution(Op.input, 2, Op.input, 1, 1),
	"Conv2DBackpropFilter":   convolution(Op.input, 2, Op.output, 0, 1),
	"Conv3D":                 convolution(Op.output, 0, Op.input, 1, 1),
	"Conv3DBackpropInputV2":  convolution(Op.input, 2, Op.input, 1, 1),
	"Conv3DBackpropFilterV2": convolution(Op.input, 2, Op.output, 0, 1),

	"DepthwiseConv2dNative":               convolution(Op.output, 0, Op.input, 1, 2),
	"DepthwiseConv2dNativeBackpropInput":  convolution(Op.input, 2, Op.input, 1, 2),
	"DepthwiseConv2dNativeBackpropFilter": convolution(Op.input, 2, Op.output, 0, 2),

	"MatMul": matrixProduct, "MatMulGrad": matrixProduct,
	"BatchMatMul": matrixProduct, "BatchMatMulV2": matrixProduct, "BatchMatMulV3": matrixProduct,
	"Einsum": einsum,
}

// convolution counts by the shapes of the result (or of its gradient) and of the
// filter, [height,width,channels/groups,results]: each number of the result is a
// sum over the filter, without the last axes that say which result it is.
func convolution(result func(Op, int) []int, r int, filter func(Op, int) []int, f, last int) func(Op) (float64, bool) {
	return func(o Op) (float64, bool) {
		results, weights := result(o, r), filter(o, f)
		if results == nil || len(weights) <= last {
			return 0, false
		}
		return size(results) * size(weights[:len(weights)-last]), true
	}
}

// matrixProduct counts that of [...,m,k] and [...,k,n], transposed or not.
func matrixProduct(o Op) (float64, bool) {
	a, result := o.input(0), o.output(0)
	if len(a) < 2 || len(result) < 2 {
		return 0, false
	}
	m := result[len(result)-2]
	if m == 0 {
		return 0, true
	}
	k := a[len(a)-1] * a[len(a)-2] / m
	return size(result) * float64(k), true
}

// einsum counts a product of two as its letters say, such as "abc,cd->abd": one
// for each combination of their indexes. An ellipsis stands for the axes that
// have no letter.
func einsum(o Op) (float64, bool) {
	operands, _, _ := strings.Cut(o.Equation, "->")
	terms := strings.Split(strings.ReplaceAll(operands, " ", ""), ",")
	if len(terms) == 1 {
		return 0, operands != "" // it only moves and adds
	}
	sizes := map[string]int{}
	for i, term := range terms {
		shape := o.input(i)
		letters, ok := axes(term, len(shape))
		if shape == nil || !ok {
			return 0, false
		}
		for axis, letter := range letters {
			sizes[letter] = max(sizes[letter], shape[axis]) // axes of one are repeated
		}
	}
	total := 1.0
	for _, n := range sizes {
		total *= float64(n)
	}
	return total, true
}

// axes names those of a term of an equation. Axes of an ellipsis are counted from
// their last.
func axes(term string, rank int) ([]string, bool) {
	before, after, found := strings.Cut(term, "...")
	free := rank - len(before) - len(after)
	if free < 0 || !found && free != 0 {
		return nil, false
	}
	names := strings.Split(before, "")
	for i := range free {
		names = append(names, fmt.Sprint("...", free-i))
	}
	return append(names, strings.Split(after, "")...), true
}

func (o Op) input(i int) []int  { return at(o.Inputs, i) }
func (o Op) output(i int) []int { return at(o.Outputs, i) }

func at(shapes [][]int, i int) []int {
	if i >= len(shapes) {
		return nil
	}
	return shapes[i]
}

func size(shape []int) float64 {
	n := 1.0
	for _, dim := range shape {
		n *= float64(dim)
	}
	return n
}

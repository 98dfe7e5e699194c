package frozen

// FewImages is the largest batch for which oneDNN's matrix products take other
// layouts of their weights than for larger ones, on processors with AVX2
// (docs/log.md). An operation keeps its weights in the layout that suited its
// first call, and lays them out anew in each call that another one suits.
const FewImages = 6

// cacheProducts lets matrix products keep their weights laid out where they have
// most of the model's: the graph is slow then for other batches than such as the
// first one. A classifier's few products behind its convolutions are as fast
// without.
func (g *graph) cacheProducts() {
	var inProducts, inConvolutions int
	var fused []*node
	for _, n := range g.nodes() {
		if len(n.inputs) < 2 || n.inputs[1].node.value == nil {
			continue
		}
		size := len(n.inputs[1].node.value.Bytes())
		switch n.op {
		case products["MatMul"].fused:
			fused = append(fused, n)
			inProducts += size
		case products["Conv2D"].fused, products["DepthwiseConv2dNative"].fused:
			inConvolutions += size
		}
	}
	g.sized = inProducts > inConvolutions
	for _, n := range fused {
		n.attrs["is_filter_const"] = boolAttr(g.sized)
	}
}

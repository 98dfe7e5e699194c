package savedmodel_test

import (
	"cmp"
	"slices"

	"github.com/residual-go/residual/tfgo/tensor"
)

func sortByName(s tensor.Signature) {
	for _, specs := range [][]tensor.Spec{s.Inputs, s.Outputs} {
		slices.SortFunc(specs, func(a, b tensor.Spec) int { return cmp.Compare(a.Name, b.Name) })
	}
}

package tensor

import (
	"fmt"
	"slices"
	"strings"
)

// AnySize in a Spec's shape matches a dimension of every size.
const AnySize = -1

// Spec says what a tensor must be.
type Spec struct {
	Name  string
	DType DType
	// Shape has AnySize where the size is free. It is nil, with AnyRank set,
	// where even the number of dimensions is.
	Shape   []int
	AnyRank bool
}

// Signature is a function of a model as its caller sees it: named inputs and
// outputs, each sorted by name.
type Signature struct {
	Inputs, Outputs []Spec
}

// Find returns the spec of that name.
func Find(specs []Spec, name string) (Spec, bool) {
	i := slices.IndexFunc(specs, func(s Spec) bool { return s.Name == name })
	if i < 0 {
		return Spec{}, false
	}
	return specs[i], true
}

// Names lists the names of specs in their order.
func Names(specs []Spec) []string {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	return names
}

// Check returns an error that shows both if t is not what s asks for.
func (s Spec) Check(t Tensor) error {
	if t.dtype != s.DType || !s.fits(t.shape) {
		return fmt.Errorf("%q must be %s, not %s %s", s.Name, s.describe(), t.dtype, FormatShape(t.shape))
	}
	return nil
}

// CheckShape is Check for a tensor that has not been made yet.
func (s Spec) CheckShape(dtype DType, shape []int) error {
	return s.Check(Tensor{dtype: dtype, shape: shape})
}

// String returns the spec as people write it: images uint8 [N,32,32,3].
func (s Spec) String() string { return s.Name + " " + s.describe() }

func (s Spec) describe() string {
	if s.AnyRank {
		return s.DType.String() + " of any shape"
	}
	return s.DType.String() + " " + FormatShape(s.Shape)
}

func (s Spec) fits(shape []int) bool {
	if s.AnyRank {
		return true
	}
	return slices.EqualFunc(s.Shape, shape, func(want, got int) bool { return want == AnySize || want == got })
}

// FormatShape writes [N,32,32,3], N standing for AnySize.
func FormatShape(shape []int) string {
	dims := make([]string, len(shape))
	for i, dim := range shape {
		dims[i] = fmt.Sprint(dim)
		if dim == AnySize {
			dims[i] = "N"
		}
	}
	return "[" + strings.Join(dims, ",") + "]"
}

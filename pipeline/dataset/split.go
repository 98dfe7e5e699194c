package dataset

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// Split draws a share of the examples, between 0 and 1, for validation: rest and
// drawn have each example once, in path order. Which are drawn is a function of
// their number, the share and the seed alone. Pixels in memory are copied: e
// should not be kept.
func (e *Examples) Split(share float64, seed int64) (rest, drawn *Examples, err error) {
	n := int(math.Round(share * float64(e.Len())))
	if !(share > 0 && share < 1) || n < 1 || n >= e.Len() {
		return nil, nil, fmt.Errorf("split examples: %g of %d leaves nothing to one of the two parts", share, e.Len())
	}
	const notAnEpoch = 0 // training counts from 1: its orders are others
	order := Order(e.Len(), seed, notAnEpoch)
	return e.choose(order[n:]), e.choose(order[:n]), nil
}

// choose returns the examples of these indexes, in path order.
func (e *Examples) choose(indexes []int) *Examples {
	indexes = slices.Sorted(slices.Values(indexes))
	chosen := &Examples{shape: e.shape, classes: e.classes, examples: make([]example, len(indexes))}
	size := e.shape.Size()
	if e.pixels != nil {
		chosen.pixels = make([]byte, 0, len(indexes)*size)
	}
	for i, index := range indexes {
		chosen.examples[i] = e.examples[index]
		if e.pixels != nil {
			chosen.pixels = append(chosen.pixels, e.pixels[index*size:][:size]...)
		}
	}
	chosen.fingerprint = sync.OnceValue(chosen.sum)
	return chosen
}

package dataset

import (
	"math/bits"
	"math/rand/v2"
)

// Order returns the permutation of 0 to n-1 in which an epoch visits n
// examples. It depends on nothing but its arguments: a Fisher-Yates shuffle
// from the last place down, place i swapping with the high 64 bits of
// (i+1)*x, x drawn from PCG-DXSM (math/rand/v2) seeded with seed and epoch.
func Order(n int, seed int64, epoch int) []int {
	// The shuffle is spelled out because rand.Perm may change between versions
	// of Go; a run that is resumed years later must not.
	source := rand.NewPCG(uint64(seed), uint64(epoch))
	order := pathOrder(n)
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(uint64(i+1), source.Uint64())
		order[i], order[j] = order[j], order[i]
	}
	return order
}

func pathOrder(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

package dataset

import (
	"slices"
	"testing"
)

func TestOrderIsAPermutation(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 10, 997} {
		order := Order(n, 5, 7)
		slices.Sort(order)
		if !slices.Equal(order, pathOrder(n)) {
			t.Errorf("n = %d: %v is no permutation", n, order)
		}
	}
}

func TestOrderDependsOnSeedAndEpochOnly(t *testing.T) {
	base := Order(100, 1, 1)
	if !slices.Equal(base, Order(100, 1, 1)) {
		t.Error("the same seed and epoch give another order")
	}
	for name, other := range map[string][]int{
		"another seed":        Order(100, 2, 1),
		"another epoch":       Order(100, 1, 2),
		"both swapped":        Order(100, 0, 1),
		"a negative seed":     Order(100, -1, 1),
		"path order, epoch 0": Order(100, 0, 0),
		"no shuffling at all": pathOrder(100),
	} {
		same := 0
		for i := range base {
			if base[i] == other[i] {
				same++
			}
		}
		if same > 10 {
			t.Errorf("%s: %d of 100 places are the same", name, same)
		}
	}
}

// A run that was begun with one version must be resumed by every later one. The
// orders were computed apart, in Python, from Order's description.
func TestOrderNeverChanges(t *testing.T) {
	for _, test := range []struct {
		seed  int64
		epoch int
		want  []int
	}{
		{0, 0, []int{4, 8, 1, 5, 0, 7, 3, 9, 6, 2}},
		{1, 0, []int{7, 6, 1, 3, 2, 4, 8, 9, 0, 5}},
		{0, 1, []int{6, 4, 5, 9, 7, 3, 2, 8, 0, 1}},
		{-3, 12, []int{1, 6, 2, 0, 8, 7, 9, 3, 4, 5}},
	} {
		if got := Order(10, test.seed, test.epoch); !slices.Equal(got, test.want) {
			t.Errorf("seed %d, epoch %d: %v, want %v", test.seed, test.epoch, got, test.want)
		}
	}
}

// Each example must come first about equally often, over epochs as over seeds:
// the two are the halves of one PCG state.
func TestOrderIsEven(t *testing.T) {
	const n, rounds = 10, 10_000
	for name, order := range map[string]func(i int) []int{
		"epochs": func(i int) []int { return Order(n, 42, i) },
		"seeds":  func(i int) []int { return Order(n, int64(i), 3) },
	} {
		var counts [n][n]int
		for i := range rounds {
			for place, example := range order(i) {
				counts[place][example]++
			}
		}
		for place := range n {
			for example, count := range counts[place] {
				// 1000 expected, standard deviation 30.
				if count < 850 || count > 1150 {
					t.Errorf("over %s, example %d is at place %d %d times of %d", name, example, place, count, rounds)
				}
			}
		}
	}
}

package benchmark

import (
	"slices"
	"time"
)

// Times are how long the same work took, again and again, sorted.
type Times []time.Duration

func (t Times) sort() { slices.Sort(t) }

// Percentile picks the time that so many percent were not longer than, by
// nearest rank.
func (t Times) Percentile(percent int) time.Duration {
	rank := (percent*len(t) + 99) / 100
	return t[max(rank, 1)-1]
}

// Median is the time in the middle.
func (t Times) Median() time.Duration { return t.Percentile(50) }

// Quartiles are the times that a quarter and three quarters were not longer
// than.
func (t Times) Quartiles() (low, high time.Duration) { return t.Percentile(25), t.Percentile(75) }

// Best is the shortest time.
func (t Times) Best() time.Duration { return t[0] }

// Worst is the longest time.
func (t Times) Worst() time.Duration { return t[len(t)-1] }

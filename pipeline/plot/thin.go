package plot

import (
	"iter"
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"
)

// maxBuckets bounds the points of a drawn line: a panel has about 900 pixels
// in a row, and more points than that only make it slow.
const maxBuckets = 600

// thin keeps the shape of a line of any length: the lowest and the highest
// point of each of maxBuckets stretches, in their order.
func thin(line plotter.XYs) plotter.XYs {
	if len(line) <= 2*maxBuckets {
		return line
	}
	kept := make(plotter.XYs, 0, 2*maxBuckets)
	for b := range maxBuckets {
		stretch := line[b*len(line)/maxBuckets : (b+1)*len(line)/maxBuckets]
		low, high := 0, 0
		for i, point := range stretch {
			if point.Y < stretch[low].Y {
				low = i
			}
			if point.Y > stretch[high].Y {
				high = i
			}
		}
		kept = append(kept, stretch[min(low, high)])
		if low != high {
			kept = append(kept, stretch[max(low, high)])
		}
	}
	return kept
}

// pieces cuts a line into lines of up to so many points, each of which begins
// where the one before ends.
func pieces(line plotter.XYs, points int) iter.Seq[plotter.XYs] {
	return func(yield func(plotter.XYs) bool) {
		for from := 0; from < len(line)-1; from += points - 1 {
			if !yield(line[from:min(len(line), from+points)]) {
				return
			}
		}
	}
}

// smooth returns the running mean of a line, taken twice to leave no corners;
// odd points count no more than usual ones. Each mean is over as many steps
// before a point as after it, which, unlike a decaying mean, does not lag
// behind a falling loss. It does not have more than maxBuckets points.
func smooth(line plotter.XYs) plotter.XYs {
	if len(line) == 0 {
		return nil
	}
	low, high := usual(line)
	line = clamp(line, low, high)
	reach := max(1, len(line)/60)
	line = runningMean(runningMean(line, reach), reach)
	if len(line) <= maxBuckets {
		return line
	}
	kept := make(plotter.XYs, 0, maxBuckets)
	for b := range maxBuckets {
		kept = append(kept, line[b*(len(line)-1)/(maxBuckets-1)])
	}
	return kept
}

// runningMean averages each point with up to reach others on either side.
func runningMean(line plotter.XYs, reach int) plotter.XYs {
	sums := make([]float64, len(line)+1)
	for i, point := range line {
		sums[i+1] = sums[i] + point.Y
	}
	means := make(plotter.XYs, len(line))
	for i, point := range line {
		from, to := max(0, i-reach), min(len(line), i+reach+1)
		means[i] = plotter.XY{X: point.X, Y: (sums[to] - sums[from]) / float64(to-from)}
	}
	return means
}

// finite drops the points that cannot be drawn: a test loss may be infinite.
func finite(line plotter.XYs) plotter.XYs {
	return slices.DeleteFunc(line, func(p plotter.XY) bool {
		return math.IsNaN(p.Y) || math.Abs(p.Y) > math.MaxFloat32
	})
}

// usual returns the range of a line's points without the oddest hundredth on
// either side. Of a short line no point is odd.
func usual(line plotter.XYs) (low, high float64) {
	values := make([]float64, len(line))
	for i, point := range line {
		values[i] = point.Y
	}
	slices.Sort(values)
	odd := 0
	if len(values) >= 50 {
		odd = (len(values) + 99) / 100
	}
	return values[odd], values[len(values)-1-odd]
}

// clamp moves the points outside of a range to its edge.
func clamp(line plotter.XYs, low, high float64) plotter.XYs {
	clamped := slices.Clone(line)
	for i := range clamped {
		clamped[i].Y = min(max(clamped[i].Y, low), high)
	}
	return clamped
}

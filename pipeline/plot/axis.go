package plot

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// maxTicks is the most marks on an axis.
const maxTicks = 7

// round puts marks on round numbers.
func round(low, high float64) []plot.Tick { return ticks(low, high, 0) }

// whole puts marks on round whole numbers.
func whole(low, high float64) []plot.Tick { return ticks(low, high, 1) }

// ticks puts up to maxTicks marks on multiples of 1, 2 or 5 times a power of
// ten, which is at least smallest.
func ticks(low, high, smallest float64) []plot.Tick {
	every := max(smallest, math.Pow(10, math.Floor(math.Log10((high-low)/maxTicks))))
	for _, factor := range []float64{2, 2.5, 2} {
		if (high-low)/every < maxTicks {
			break
		}
		every *= factor
	}
	var marks []plot.Tick
	first := math.Ceil(low / every)
	for i := range 2 * maxTicks { // numbers so large that adding 1 changes nothing have no end
		n := first + float64(i)
		if n*every > high {
			break
		}
		at := n*every + 0 // not -0
		marks = append(marks, plot.Tick{Value: at, Label: number(at, every)})
	}
	return marks
}

// number writes a multiple of every with no more digits than that needs.
func number(value, every float64) string {
	decimals := max(0, -int(math.Floor(math.Log10(every)+1e-9)))
	switch {
	case math.Abs(value) >= 1e9 || decimals > 9:
		return strconv.FormatFloat(value, 'g', 3, 64)
	case decimals == 0:
		return group(int(math.Round(value)))
	}
	return strconv.FormatFloat(value, 'f', decimals, 64)
}

var percents = plot.ConstantTicks{
	{Value: 0, Label: "0 %"}, {Value: 0.2, Label: "20 %"}, {Value: 0.4, Label: "40 %"},
	{Value: 0.6, Label: "60 %"}, {Value: 0.8, Label: "80 %"}, {Value: 1, Label: "100 %"},
}

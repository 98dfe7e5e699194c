package pipeline

import "math"

// Schedule changes the learning rate during a run.
type Schedule interface {
	// Factor is what Options.LearningRate is multiplied by in a step, counted
	// from 1, of a run of so many. With Options.Hold it is asked for
	// all steps of a call before the first of them.
	Factor(step, steps int) float64
}

// ScheduleFunc is a Schedule that depends on nothing else.
type ScheduleFunc func(step, steps int) float64

// Factor calls f.
func (f ScheduleFunc) Factor(step, steps int) float64 { return f(step, steps) }

// Cosine falls from 1 to nearly 0 along half a cosine, without restarts
// (Loshchilov and Hutter, SGDR, 2017; Keras's CosineDecay).
func Cosine() Schedule {
	return ScheduleFunc(func(step, steps int) float64 {
		return (1 + math.Cos(math.Pi*float64(min(step-1, steps))/float64(steps))) / 2
	})
}

// Linear falls from 1 to nearly 0 along a line (Keras's PolynomialDecay with
// power 1).
func Linear() Schedule {
	return ScheduleFunc(func(step, steps int) float64 { return max(0, 1-float64(step-1)/float64(steps)) })
}

// Warmup rises from near 0 to 1 along a line, over the first rise steps (Goyal
// et al., Accurate, Large Minibatch SGD, 2017). With another schedule the two
// are multiplied.
func Warmup(rise int) Schedule {
	return ScheduleFunc(func(step, _ int) float64 { return min(1, float64(step)/float64(max(1, rise))) })
}

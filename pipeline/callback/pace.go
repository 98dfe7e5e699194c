package callback

import (
	"math"
	"time"
)

// pace is how fast batches go, the last ones counting most: sums that fade
// over time. Their quotients are smooth, without the slow first step of a run
// showing in them for long.
type pace struct {
	batches, images, seconds float64
}

const (
	paceFade = 10 * time.Second // what is that old counts a third
	paceKeep = 0.8              // but after one slow step its forerunners still count
)

func (p *pace) add(images int, took time.Duration) {
	keep := max(paceKeep, math.Exp(-took.Seconds()/paceFade.Seconds()))
	p.batches = p.batches*keep + 1
	p.images = p.images*keep + float64(images)
	p.seconds = p.seconds*keep + took.Seconds()
}

// rate returns images a second; 0 while nothing is known.
func (p pace) rate() float64 { return perSecond(p.images, p.seconds) }

// left returns how long so many batches will take; 0 while nothing is known.
func (p pace) left(batches int) time.Duration {
	if p.batches == 0 {
		return 0
	}
	return time.Duration(float64(batches) * p.seconds / p.batches * float64(time.Second))
}

func perSecond(n, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return n / seconds
}

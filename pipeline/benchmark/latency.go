package benchmark

import (
	"context"
	"time"
)

// Of one image alone so many are measured that a hundredth of them means
// something: at least leastCalls, and on while there is time, up to mostCalls. A
// model that is slow beyond measure is measured for longestLatency.
const (
	leastCalls, mostCalls        = 100, 1000
	usualLatency, longestLatency = 3 * time.Second, 60 * time.Second
)

// enough tells whether that many calls in that much time will do.
func enough(calls int, took time.Duration) bool {
	switch {
	case calls >= mostCalls || took >= longestLatency:
		return true
	case calls >= leastCalls:
		return took >= usualLatency
	default:
		return false
	}
}

func (b Bench) latency(ctx context.Context) (Times, error) {
	predict, err := b.predictor(b.Model, 1)
	if err != nil {
		return nil, err
	}
	var times Times
	begun := time.Now()
	for call := range WarmUp + mostCalls {
		b.OnStep("predict one image", min(call, WarmUp+leastCalls), WarmUp+leastCalls)
		took, err := predict(ctx)
		if err != nil {
			return nil, err
		}
		if call < WarmUp {
			begun = time.Now()
			continue
		}
		times = append(times, took)
		if enough(len(times), time.Since(begun)) {
			break
		}
	}
	times.sort()
	return times, nil
}

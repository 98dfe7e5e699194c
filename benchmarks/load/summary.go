package main

import (
	"math"
	"slices"
	"time"
)

// summary is what is said of the requests that count.
type summary struct {
	Requests          int             `json:"requests"` // with an answer
	Codes             map[int]int     `json:"codes"`    // of the answers
	Errors            int             `json:"errors"`   // requests without an answer
	Dropped           int             `json:"dropped"`  // requests that were not sent
	RequestsPerSecond float64         `json:"requests_per_second"`
	Latency           latency         `json:"latency_ms"`
	ByCode            map[int]latency `json:"latency_ms_by_code"` // of all answers

	well      int   // answered with a code of success: RequestsPerSecond and Latency are of these
	lastError error // of those without an answer
}

type latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

// summarize sums up the records that count, of a time.
func summarize(records []record, measured time.Duration, counts func(record) bool) summary {
	s := summary{Codes: map[int]int{}}
	var took []time.Duration
	byCode := map[int][]time.Duration{}
	for _, r := range records {
		switch {
		case !counts(r):
		case r.dropped:
			s.Dropped++
		case r.err != nil:
			s.Errors++
			s.lastError = r.err
		default:
			s.Requests++
			s.Codes[r.code]++
			byCode[r.code] = append(byCode[r.code], r.ended-r.begun)
			if r.code/100 == 2 {
				took = append(took, r.ended-r.begun)
			}
		}
	}
	s.well = len(took)
	s.RequestsPerSecond = float64(s.well) / measured.Seconds()
	s.Latency = latencyOf(took)
	s.ByCode = map[int]latency{}
	for code, times := range byCode {
		s.ByCode[code] = latencyOf(times)
	}
	return s
}

// latencyOf is all zeros where there is no time.
func latencyOf(took []time.Duration) latency {
	if len(took) == 0 {
		return latency{}
	}
	slices.Sort(took)
	var sum time.Duration
	for _, t := range took {
		sum += t
	}
	return latency{
		P50: milliseconds(percentile(took, 50)), P90: milliseconds(percentile(took, 90)), P99: milliseconds(percentile(took, 99)),
		Max: milliseconds(took[len(took)-1]), Mean: milliseconds(sum) / float64(len(took)),
	}
}

// percentile is the least of the times, which ascend, that p percent do not exceed
// (nearest rank).
func percentile(took []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p / 100 * float64(len(took))))
	return took[max(rank, 1)-1]
}

func milliseconds(t time.Duration) float64 { return float64(t) / float64(time.Millisecond) }

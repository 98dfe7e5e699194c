package main

import (
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// record is one request. Times are since the load's start.
type record struct {
	begun, ended time.Duration // begun is when it was to be sent
	code         int           // of the answer
	err          error         // instead of an answer
	dropped      bool          // it was not sent
}

// window is a part of the time since the start.
type window struct{ from, to time.Duration }

func (w window) has(t time.Duration) bool { return w.from <= t && t < w.to }

// betweenAnswers is about the same window, which begins right after an answer and ends
// with one. Answers come by the batch: how many fall into the window itself depends on
// where it cuts.
func (w window) betweenAnswers(records []record) window {
	last := window{-1, -1}
	for _, r := range records {
		if r.ended < w.from {
			last.from = max(last.from, r.ended)
		}
		if r.ended < w.to {
			last.to = max(last.to, r.ended)
		}
	}
	if last.from < 0 || last.from == last.to {
		return w
	}
	return window{last.from + 1, last.to + 1}
}

// load is a number of connections to one server.
type load struct {
	start       time.Time
	connections []*connection
}

func newLoad(host string, request []byte, connections int) *load {
	l := &load{start: time.Now()}
	for range connections {
		l.connections = append(l.connections, &connection{host: host, request: request})
	}
	return l
}

// ask sends a request that was due at a moment, and waits for the answer.
func (l *load) ask(c *connection, due time.Duration) record {
	code, err := c.ask()
	return record{begun: due, ended: time.Since(l.start), code: code, err: err}
}

// closed asks on each connection, again when there is an answer, until a moment.
// What is on its way then is waited for, so that the server is idle afterwards.
func (l *load) closed(until time.Duration) []record {
	records := make([][]record, len(l.connections))
	var busy sync.WaitGroup
	for i, c := range l.connections {
		busy.Go(func() {
			defer c.close()
			for now := time.Since(l.start); now < until; now = time.Since(l.start) {
				r := l.ask(c, now)
				records[i] = append(records[i], r)
				if r.err != nil {
					time.Sleep(10 * time.Millisecond) // rather than ask a server that is gone as fast as can be
				}
			}
		})
	}
	busy.Wait()
	return slices.Concat(records...)
}

// open sends a request at each of the moments, which ascend, and waits for all
// answers.
func (l *load) open(moments iter.Seq[time.Duration]) []record {
	idle := make(chan *connection, len(l.connections))
	for _, c := range l.connections {
		idle <- c
	}
	var mu sync.Mutex
	var records []record
	add := func(r record) {
		mu.Lock()
		defer mu.Unlock()
		records = append(records, r)
	}
	var busy sync.WaitGroup
	for due := range moments {
		time.Sleep(time.Until(l.start.Add(due)))
		select {
		case c := <-idle:
			busy.Go(func() {
				add(l.ask(c, due))
				idle <- c
			})
		default:
			add(record{begun: due, dropped: true})
		}
	}
	busy.Wait()
	for _, c := range l.connections {
		c.close()
	}
	return records
}

// arrivals are the moments of a Poisson process, rate a second, before a moment. They
// are a function of its arguments.
func arrivals(rate float64, until time.Duration, seed uint64) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		random := rand.New(rand.NewPCG(seed, 0))
		for at := 0.0; ; {
			at += random.ExpFloat64() / rate
			moment := time.Duration(at * float64(time.Second))
			if moment >= until || !yield(moment) {
				return
			}
		}
	}
}

// ticks are moments at equal distances, rate a second, before a moment.
func ticks(rate float64, until time.Duration) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for i := 1; ; i++ {
			moment := time.Duration(float64(i) / rate * float64(time.Second))
			if moment >= until || !yield(moment) {
				return
			}
		}
	}
}

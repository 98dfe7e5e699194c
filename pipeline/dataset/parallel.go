package dataset

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// forEach calls f for 0 to n-1 on all CPUs. It returns the error of the lowest
// index that has one, whatever the timing: indexes are handed out in order, so
// that all below a failed one have been tried when it returns.
func forEach(ctx context.Context, n int, f func(i int) error) error {
	var (
		next   atomic.Int64
		mu     sync.Mutex
		failed = n
		first  error
		group  sync.WaitGroup
	)
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			if err := f(i); err != nil {
				next.Store(int64(n))
				mu.Lock()
				if i < failed {
					failed, first = i, err
				}
				mu.Unlock()
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), n) {
		group.Go(work)
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return first
}

// reporter counts for a Progress function, which it calls a hundred times in
// all and never twice at once.
type reporter struct {
	mu     sync.Mutex
	call   func(Progress)
	p      Progress
	called int64
}

func newReporter(call func(Progress), p Progress) *reporter {
	return &reporter{call: call, p: p}
}

func (r *reporter) add(n int64) {
	if r.call == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.p.Done += n
	if r.p.Done-r.called >= r.p.Total/100 || r.p.Done == r.p.Total {
		r.called = r.p.Done
		r.call(r.p)
	}
}

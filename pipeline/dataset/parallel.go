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

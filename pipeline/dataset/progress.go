package dataset

import "sync"

// Progress is how far Open or Download is.
type Progress struct {
	Doing string // such as "download cifar-10-binary.tar.gz"
	Unit  string // "bytes", "images" or "files"
	Done  int64
	Total int64 // 0 where it is not known
}

// reporter counts for a Progress function, which it calls about a
// hundred times where the total is known, and never twice at once.
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

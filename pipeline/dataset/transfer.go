package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// try makes one request for what part lacks, and returns how many bytes it
// brought.
func (a archive) try(ctx context.Context, part string, progress func(Progress)) (got int64, err error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return 0, finalError{err}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, finalError{err}
	}
	ctx, alive := watch(ctx, a.stall)
	defer alive.stop()
	response, err := a.request(ctx, have)
	if err != nil {
		return 0, stalled(ctx, err)
	}
	defer response.Body.Close()
	start, total, err := startOf(response, have)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", a.url, err)
	}
	if start < 0 {
		return 0, nil // all of it is there
	}
	if err := cut(f, have, start); err != nil {
		return 0, finalError{err}
	}
	report := newReporter(progress, Progress{Doing: "download " + a.name(), Unit: "bytes", Done: start, Total: total})
	got, err = io.Copy(diskWriter{f}, &countingReader{response.Body, alive, report})
	if err != nil {
		return got, fmt.Errorf("get %s: after %d bytes: %w", a.url, start+got, stalled(ctx, err))
	}
	if total > 0 && start+got < total {
		return got, fmt.Errorf("get %s: the connection ended after %d of %d bytes", a.url, start+got, total)
	}
	return got, nil
}

// cut drops what the response brings again.
func cut(f *os.File, have, start int64) error {
	if start == have {
		return nil
	}
	if err := f.Truncate(start); err != nil {
		return err
	}
	_, err := f.Seek(start, io.SeekStart)
	return err
}

func (a archive) request(ctx context.Context, have int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
	if err != nil {
		return nil, finalError{err}
	}
	// Bytes of the file itself: transparent compression would count others.
	request.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	return a.client.Do(request)
}

// startOf returns where in the file the response's body belongs, and the
// file's size if it is known; start is -1 if nothing is left to fetch.
func startOf(response *http.Response, have int64) (start, total int64, err error) {
	total = max(0, response.ContentLength)
	switch code := response.StatusCode; {
	case code == http.StatusOK: // from the beginning, whatever was asked for
		return 0, total, nil
	case code == http.StatusPartialContent:
		start, total, ok := parseContentRange(response.Header.Get("Content-Range"))
		if !ok || start > have {
			return 0, 0, finalError{fmt.Errorf("the server answered bytes from %d with Content-Range %q",
				have, response.Header.Get("Content-Range"))}
		}
		return start, total, nil
	case code == http.StatusRequestedRangeNotSatisfiable && have > 0:
		return -1, 0, nil // the checksum will tell whether it is the right file
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return 0, 0, fmt.Errorf("the server answered %s", response.Status)
	default:
		return 0, 0, finalError{fmt.Errorf("the server answered %s", response.Status)}
	}
}

// parseContentRange reads "bytes 100-199/200"; the size may be "*".
func parseContentRange(value string) (start, total int64, ok bool) {
	value, ok = strings.CutPrefix(value, "bytes ")
	bounds, size, ok2 := strings.Cut(value, "/")
	first, _, ok3 := strings.Cut(bounds, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil || start < 0 {
		return 0, 0, false
	}
	if size != "*" {
		if total, err = strconv.ParseInt(size, 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return start, total, true
}

// diskWriter marks errors of the disk, which another request would not mend.
type diskWriter struct{ file *os.File }

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		err = finalError{err}
	}
	return n, err
}

type countingReader struct {
	io.Reader
	alive  *watchdog
	report *reporter
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.alive.reset()
		r.report.add(int64(n))
	}
	return n, err
}

// watchdog cancels a context that it hears nothing about: a connection that
// hangs is given up, while a slow one may take all the time it needs.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
	stop  func()
}

var errStalled = errors.New("the connection stalled")

func watch(ctx context.Context, limit time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w: nothing came for %v", errStalled, limit)) })
	return ctx, &watchdog{timer, limit, func() { timer.Stop(); cancel(nil) }}
}

func (w *watchdog) reset() { w.timer.Reset(w.limit) }

// stalled replaces "context canceled" by the watchdog's reason.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

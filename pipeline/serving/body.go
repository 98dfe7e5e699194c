package serving

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// bodyFor takes a place among the requests at once, and reads the body; not if the
// request would be refused for what waits already, which costs as little as can be.
func (s *Server) bodyFor(x *exchange, r *http.Request, t target) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	x.entered = true
	err := s.use(x, t, func(v *version) error {
		if len(v.batchers) > 1 { // the body says which
			return nil
		}
		return v.batchers[v.signature].full()
	})
	if err != nil {
		s.metrics.countRejected(err)
		return nil, err
	}
	return s.body(x, r)
}

// body reads a request's body: in time, and no more than the limit, unpacked too.
func (s *Server) body(x *exchange, r *http.Request) ([]byte, error) {
	limit := s.options.Limits.Body
	if r.ContentLength > int64(limit) {
		s.metrics.reject("body")
		return nil, errorf(errTooLarge, "%d bytes, at most %d are read", r.ContentLength, limit)
	}
	packed, err := s.readAll(r.Body, int(r.ContentLength))
	if err != nil {
		return nil, err
	}
	x.setReadDeadline(time.Time{}) // it has arrived
	unpacked, err := unpack(r.Header.Get("Content-Encoding"), packed)
	if err != nil || unpacked == nil {
		return packed, err
	}
	return s.readAll(unpacked, 0)
}

// setReadDeadline says until when a body must have arrived. net/http reads what a
// handler leaves of it, too, so this is for all requests that have one. Not every
// ResponseWriter has deadlines, such as those of tests.
func (x *exchange) setReadDeadline(t time.Time) {
	if x.request.ContentLength != 0 {
		_ = http.NewResponseController(x).SetReadDeadline(t)
	}
}

// readAll reads what is announced to have so many bytes, 0 or less if that is not
// known.
func (s *Server) readAll(r io.Reader, announced int) ([]byte, error) {
	limit := s.options.Limits.Body
	data, err := collect(r, announced, limit)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.metrics.reject("slow")
		return nil, fmt.Errorf("%w: it has %v", errTooSlow, s.options.Limits.Read)
	case errors.Is(err, io.ErrUnexpectedEOF) && announced > 0:
		return nil, errGone
	case err != nil:
		return nil, errorf(ErrInput, "read body: %w", err)
	case data == nil:
		s.metrics.reject("body")
		return nil, fmt.Errorf("%w: at most %d bytes are read", errTooLarge, limit)
	}
	return data, nil
}

// collect reads all; nil if that is more than the limit. Memory is taken as the bytes
// arrive, but for a body that is said to be small, and twice at most.
func collect(r io.Reader, announced, limit int) ([]byte, error) {
	const (
		small = 1 << 20
		chunk = 64 << 10
	)
	size := chunk
	if 0 < announced && announced < small {
		size = announced
	}
	var full [][]byte
	for total := 0; ; {
		data, err := fill(r, size)
		total += len(data)
		full = append(full, data)
		if total > limit {
			return nil, nil
		}
		if err == nil && total != announced {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if len(full) == 1 {
			return data, err
		}
		return slices.Concat(full...), err
	}
}

// fill reads so many bytes, fewer only before an error.
func fill(r io.Reader, size int) ([]byte, error) {
	data := make([]byte, size)
	for n := 0; ; {
		m, err := r.Read(data[n:])
		if n += m; err != nil || n == size {
			return data[:n], err
		}
	}
}

// unpack reads what a Content-Encoding stands for; nil if it stands for nothing.
func unpack(encoding string, packed []byte) (io.Reader, error) {
	var r io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(packed))
	case "deflate": // RFC 9110, 8.4.1.2: zlib's format
		r, err = zlib.NewReader(bytes.NewReader(packed))
	default:
		return nil, errorf(ErrInput, "Content-Encoding %q: gzip and deflate are known", encoding)
	}
	if err != nil {
		return nil, errorf(ErrInput, "Content-Encoding %q: %w", encoding, err)
	}
	return r, nil
}

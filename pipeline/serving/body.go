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
	"strings"
	"time"
)

// body reads a request's body: in time, and no more than the limit, unpacked too.
func (s *Server) body(x *exchange, r *http.Request) ([]byte, error) {
	limit := s.options.Limits.Body
	if r.ContentLength > int64(limit) {
		s.metrics.reject("body")
		return nil, errorf(errTooLarge, "%d bytes, at most %d are read", r.ContentLength, limit)
	}
	control := http.NewResponseController(x)
	// Not every ResponseWriter has deadlines, such as those of tests.
	if err := control.SetReadDeadline(time.Now().Add(s.options.Limits.Read)); err == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	packed, err := s.readAll(r.Body, int(r.ContentLength))
	if err != nil {
		return nil, err
	}
	unpacked, err := unpack(r.Header.Get("Content-Encoding"), packed)
	if err != nil || unpacked == nil {
		return packed, err
	}
	return s.readAll(unpacked, 0)
}

// readAll reads what is announced to have so many bytes. Memory is taken as they
// arrive.
func (s *Server) readAll(r io.Reader, announced int) ([]byte, error) {
	const trusted = 1 << 20
	limit := s.options.Limits.Body
	buffer := bytes.NewBuffer(make([]byte, 0, min(max(announced, 0)+bytes.MinRead, trusted)))
	_, err := buffer.ReadFrom(io.LimitReader(r, int64(limit)+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.metrics.reject("slow")
		return nil, fmt.Errorf("%w: it has %v", errTooSlow, s.options.Limits.Read)
	case errors.Is(err, io.ErrUnexpectedEOF) && announced > 0:
		return nil, errGone
	case err != nil:
		return nil, errorf(ErrInput, "read body: %w", err)
	case buffer.Len() > limit:
		s.metrics.reject("body")
		return nil, errorf(errTooLarge, "at most %d bytes are read", limit)
	}
	return buffer.Bytes(), nil
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

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"
)

// patience is how long an answer may take.
const patience = 2 * time.Minute

// connection asks a server the same thing. It does no more than HTTP/1.1 needs:
// net/http's client takes twice the time, and the server has the same cores.
type connection struct {
	host    string
	request []byte // as it is sent

	conn   net.Conn // nil until it is needed
	answer *bufio.Reader
}

// ask returns the code of the answer.
func (c *connection) ask() (code int, err error) {
	used := c.conn != nil
	code, begun, err := c.try()
	if err != nil && used && !begun { // the server may end a connection that rests, but not twice
		code, _, err = c.try()
	}
	return code, err
}

// try asks once. begun tells whether a part of the answer came.
func (c *connection) try() (code int, begun bool, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.host, patience); err != nil {
			c.conn = nil
			return 0, false, fmt.Errorf("connect: %w", err)
		}
		c.answer = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, false, fmt.Errorf("ask: %w", err)
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, false, fmt.Errorf("ask: %w", err)
	}
	if _, err := c.answer.Peek(1); err != nil {
		return 0, false, fmt.Errorf("wait for answer: %w", err)
	}
	response, err := http.ReadResponse(c.answer, nil)
	if err != nil {
		return 0, true, fmt.Errorf("read answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, true, fmt.Errorf("read answer: %w", err)
	}
	if response.Close {
		c.close()
	}
	return response.StatusCode, true, nil
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is lost
	}
	c.conn = nil
}

// compose returns a POST request as it is sent, and to whom.
func compose(address, file string, header headers) (host string, request []byte, err error) {
	target, err := url.Parse(address)
	if err != nil {
		return "", nil, fmt.Errorf("read -url: %w", err)
	}
	if target.Scheme != "http" || target.Port() == "" {
		return "", nil, fmt.Errorf("read -url: %q is not http://HOST:PORT/…", address)
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return "", nil, fmt.Errorf("read -body: %w", err)
	}
	r, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return "", nil, fmt.Errorf("compose request: %w", err)
	}
	r.Header = http.Header(header)
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		return "", nil, fmt.Errorf("compose request: %w", err)
	}
	return target.Host, text.Bytes(), nil
}

// headers is a flag.Value of lines "Name: value".
type headers http.Header

func (h headers) String() string { return "" }

// Set adds a line.
func (h headers) Set(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf(`%q is not "Name: value"`, line)
	}
	http.Header(h).Add(textproto.TrimString(name), textproto.TrimString(value))
	return nil
}

package serving_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline/serving"
)

func packed(t *testing.T, encoding string, data io.Reader) []byte {
	t.Helper()
	var file bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&file)
	if encoding == "deflate" {
		w = zlib.NewWriter(&file)
	}
	if _, err := io.Copy(w, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestBodies(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{Limits: serving.Limits{Body: 1000}})
	const path = "/v1/models/colors:predict"
	post := func(body []byte, headers ...string) reply { return send(s, http.MethodPost, path, body, headers...) }
	post(bytes.Repeat([]byte(" "), 1001)).is(t, 413, "1001 bytes, at most 1000 are read")
	post([]byte(redRow+strings.Repeat(" ", 1000-len(redRow)))).is(t, 200, "predictions")
	for _, encoding := range []string{"gzip", "deflate", "GZIP", "x-gzip"} {
		file := packed(t, strings.ToLower(strings.TrimPrefix(encoding, "x-")), strings.NewReader(redRow))
		post(file, "Content-Encoding", encoding).is(t, 200, "predictions")
		post(file[:len(file)/2], "Content-Encoding", encoding).is(t, 400, "")
		post([]byte("hello"), "Content-Encoding", encoding).is(t, 400, "Content-Encoding")
	}
	post([]byte(redRow), "Content-Encoding", "identity").is(t, 200, "predictions")
	post([]byte(redRow), "Content-Encoding", "br").is(t, 400, `Content-Encoding \"br\": gzip and deflate are known`)
	many := packed(t, "gzip", strings.NewReader(redRow+strings.Repeat(" ", 1000)))
	if got := post(many, "Content-Encoding", "gzip"); got.code != 413 || got.header.Get("Connection") != "close" {
		t.Errorf("%d, connection %q", got.code, got.header.Get("Connection"))
	}
	// Chunks have no length in advance.
	r := httptest.NewRequest(http.MethodPost, path, io.MultiReader(strings.NewReader(redRow), strings.NewReader(strings.Repeat(" ", 1000))))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	reply{w.Code, nil, w.Body.String()}.is(t, 413, "at most 1000 bytes are read")
	if got := scrape(t, s, `residual_rejected_total{reason="body"}`); got != "3" {
		t.Errorf("%s rejected", got)
	}
}

// A body that does not arrive, and one whose client hangs up in the middle.
func TestSlowBodies(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{Limits: serving.Limits{Read: 50 * time.Millisecond}})
	server := httptest.NewServer(s)
	defer server.Close()
	dial := func(text string) net.Conn {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(conn, text); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	const head = "POST /v1/models/colors:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
	slow := dial(head)
	defer slow.Close()
	answer, err := io.ReadAll(slow) // until the server closes the connection
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "did not arrive in time") {
		t.Errorf("%v: %s", err, answer)
	}
	dial(head).Close()
	// A request that comes later on the same connection has its own time.
	keep := dial(strings.Replace(head, "100", fmt.Sprint(len(redRow)), 1) + redRow[1:])
	defer keep.Close()
	time.Sleep(100 * time.Millisecond)
	if _, err := fmt.Fprint(keep, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(keep); err != nil || strings.Count(string(answer), "HTTP/1.1 200 OK") != 2 {
		t.Errorf("%v: %s", err, answer)
	}
}

func TestDepthAndNumber(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{Limits: serving.Limits{Images: 2}})
	deep := []byte(`{"instances": ` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`)
	send(s, http.MethodPost, "/v1/models/colors:predict", deep).is(t, 400, "nested more than 16 deep")
	send(s, http.MethodPost, "/v2/models/colors/infer", []byte(strings.Repeat(`{"a":`, 1000))).is(t, 400, "nested more than 16 deep")
	row := redRow[len(`{"instances": [`) : len(redRow)-2]
	body := func(n int) []byte {
		return []byte(`{"instances": [` + strings.TrimSuffix(strings.Repeat(row+",", n), ",") + `]}`)
	}
	send(s, http.MethodPost, "/v1/models/colors:predict", body(2)).is(t, 200, "predictions")
	send(s, http.MethodPost, "/v1/models/colors:predict", body(3)).is(t, 400, "has 3 images, at most 2 may be in a request")
}

// pngHeader is the beginning of a PNG file that announces an image of 8 bits a
// channel.
func pngHeader(width, height uint32) []byte {
	chunk := append([]byte("IHDR"), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)...)
	chunk = append(chunk, 8, 6, 0, 0, 0)
	file := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	file = append(file, chunk...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(chunk))
}

// palettedTIFF has one pixel of a color that its palette has not, as the file of
// CVE-2023-36308: with older versions of golang.org/x/image, imaging panics over it in
// a goroutine of its own, where nobody can recover it.
func palettedTIFF() []byte {
	order := binary.LittleEndian
	file := []byte("II*\x00\x08\x00\x00\x00")
	entries := [][4]uint32{ // tag, type, count, value
		{256, 3, 1, 1}, {257, 3, 1, 1}, {258, 3, 1, 8}, {259, 3, 1, 1}, {262, 3, 1, 3}, {273, 4, 1, 140}, {277, 3, 1, 1}, {278, 3, 1, 1}, {279, 4, 1, 1}, {320, 3, 3, 134},
	}
	file = order.AppendUint16(file, uint16(len(entries)))
	for _, e := range entries {
		file = order.AppendUint16(order.AppendUint16(file, uint16(e[0])), uint16(e[1]))
		file = order.AppendUint32(order.AppendUint32(file, e[2]), e[3])
	}
	file = order.AppendUint32(file, 0)      // no further directory
	file = append(file, make([]byte, 6)...) // the palette: one color
	return append(file, 255)                // the pixel
}

func TestImagesThatAreRefused(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	good := picture(t, 8, 8, red)
	for name, c := range map[string]struct {
		body []byte
		code int
		text string
	}{
		"a bomb's header":                 {pngHeader(60_000, 60_000), 413, "more than 64 megapixels"},
		"more pixels than the limit":      {pngHeader(5000, 4000), 413, "5000x4000 pixels, at most 16000000 are decoded"},
		"many pixels in few bytes":        {pngHeader(2500, 2500), 413, "no photograph"},
		"a TIFF that crashed imaging":     {palettedTIFF(), 400, "not a JPEG or PNG"},
		"GIF":                             {[]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), 400, "not a JPEG or PNG"},
		"BMP":                             {[]byte("BM" + strings.Repeat("\x00", 60)), 400, "not a JPEG or PNG"},
		"SVG":                             {[]byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), 400, "not a JPEG or PNG"},
		"a picture that is cut short":     {good[:len(good)-20], 400, "unexpected EOF"},
		"a header that is cut short":      {good[:20], 400, "cut short"},
		"a picture whose bytes are wrong": {append(append([]byte{}, good[:45]...), bytes.Repeat([]byte{7}, 40)...), 400, "corrupt"},
		"nothing":                         {nil, 400, "there is no image"},
		"JSON":                            {[]byte(`{"examples": []}`), 501, "tf.Examples"},
	} {
		t.Run(name, func(t *testing.T) {
			send(s, http.MethodPost, "/v1/models/colors:classify", c.body).is(t, c.code, c.text)
		})
	}
	send(s, http.MethodPost, "/v1/models/colors:classify", good).is(t, 200, `"class":"red","probability":1}`)
}

// What decompresses to much costs little: nothing is taken before it is known how
// much it is.
func TestBombsCostLittle(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	zeros := packed(t, "gzip", io.LimitReader(zeroReader{}, 40<<20))
	// The largest that is decoded whatever its bytes are.
	var flat bytes.Buffer
	if err := png.Encode(&flat, image.NewPaletted(image.Rect(0, 0, 1999, 1999), color.Palette{color.Black, color.White})); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path    string
		body    []byte
		headers []string
		code    int
	}{
		"40 MiB of zeros":       {"/v1/models/colors:predict", zeros, []string{"Content-Encoding", "gzip"}, 413},
		"60,000x60,000 pixels":  {"/v1/models/colors:classify", pngHeader(60_000, 60_000), nil, 413},
		"a flat 4 megapixel":    {"/v1/models/colors:classify", flat.Bytes(), nil, 200},
		"tensor without values": {"/v2/models/colors/infer", []byte(`{"inputs":[{"name":"images","shape":[99999999,4,4,3],"datatype":"UINT8","data":[]}]}`), nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			send(s, http.MethodPost, c.path, c.body, c.headers...).is(t, c.code, "")
			runtime.ReadMemStats(&after)
			if cost := after.TotalAlloc - before.TotalAlloc; cost > 50_000_000 {
				t.Errorf("it took %d MB", cost/1_000_000)
			}
		})
	}
}

type zeroReader struct{}

func (zeroReader) Read(data []byte) (int, error) {
	clear(data)
	return len(data), nil
}

// A few bytes that ask for one output many times.
func TestOutputsThatAreThereTwice(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	body := strings.Replace(string(oipRed()), "{", `{"outputs":[{"name":"probabilities"},{"name":"probabilities"}],`, 1)
	send(s, http.MethodPost, "/v2/models/colors/infer", []byte(body)).is(t, 400, "there twice")
	many := strings.Replace(string(oipRed()), "{", `{"outputs":[`+strings.TrimSuffix(strings.Repeat(`{"name":"x"},`, 1000), ",")+`],`, 1)
	send(s, http.MethodPost, "/v2/models/colors/infer", []byte(many)).is(t, 400, "more than 64 values")
}

// A progressive JPEG takes the time of an image for each of its scans.
func TestScansAreCounted(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	var file bytes.Buffer
	if err := jpeg.Encode(&file, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	send(s, http.MethodPost, "/v1/models/colors:classify", file.Bytes()).is(t, 200, "top")
	scans := append(bytes.TrimSuffix(file.Bytes(), []byte{0xff, 0xd9}), bytes.Repeat([]byte{0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0}, 200)...)
	send(s, http.MethodPost, "/v1/models/colors:classify", scans).is(t, 400, "more than 100 scans")
	// A PNG may have these two bytes anywhere: here in a chunk that nobody reads.
	good := picture(t, 4, 4, red)
	chunk := append([]byte("juNk"), bytes.Repeat([]byte{0xff, 0xda}, 200)...)
	withChunk := binary.BigEndian.AppendUint32(bytes.Clone(good[:33]), uint32(len(chunk)-4)) // behind IHDR
	withChunk = binary.BigEndian.AppendUint32(append(withChunk, chunk...), crc32.ChecksumIEEE(chunk))
	send(s, http.MethodPost, "/v1/models/colors:classify", append(withChunk, good[33:]...)).is(t, 200, "red")
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/savedmodel/modeltest"
)

// patience is with a busy machine.
const patience = time.Minute

// asService makes of this test's program the service itself.
const asService = "RESIDUAL_TEST_AS_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is the service, as it runs elsewhere.
type process struct {
	*exec.Cmd
	web, rpc string // addresses
	ended    chan error

	mu  sync.Mutex
	log strings.Builder
}

// start starts the service on free ports and waits until it listens.
func start(t *testing.T) *process {
	t.Helper()
	p := &process{ended: make(chan error, 1)}
	p.Cmd = exec.Command(os.Args[0], "-model", modeltest.Dir(t, modeltest.Small), "-addr", "127.0.0.1:0", "-grpc-addr", "127.0.0.1:0")
	p.Env = append(os.Environ(), asService+"=1")
	stderr, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill() // nothing, if it has ended
		if t.Failed() {
			t.Logf("the service said:\n%s", p.said())
		}
	})
	listening := make(chan [2]string, 1)
	go func() {
		p.follow(stderr, listening)
		p.ended <- p.Wait()
	}()
	select {
	case addresses := <-listening:
		p.web, p.rpc = addresses[0], addresses[1]
	case err := <-p.ended:
		t.Fatalf("the service ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the service does not listen")
	}
	return p
}

// follow reads the log, in which TensorFlow has lines of its own.
func (p *process) follow(log io.Reader, listening chan<- [2]string) {
	for lines := bufio.NewScanner(log); lines.Scan(); {
		p.mu.Lock()
		fmt.Fprintln(&p.log, lines.Text())
		p.mu.Unlock()
		var line struct{ Msg, HTTP, GRPC string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			listening <- [2]string{line.HTTP, line.GRPC}
		}
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// ask sends a request and reads the answer.
func (p *process) ask(method, path string, body []byte) (code int, answer []byte, err error) {
	request, err := http.NewRequest(method, "http://"+p.web+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// read is ask for JSON that is to come with code 200.
func (p *process) read(t *testing.T, path string, body []byte, answer any) {
	t.Helper()
	code, text, err := p.ask(http.MethodPost, path, body)
	if err != nil || code != http.StatusOK {
		t.Fatalf("POST %s: code %d, error %v: %s", path, code, err, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatalf("POST %s: %v: %s", path, err, text)
	}
}

// picture draws one of another size than the model's.
func picture(width, height int, tint color.NRGBA) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{tint.R + uint8(3*x), tint.G + uint8(5*y), tint.B + uint8(x*y), 255})
		}
	}
	return img
}

func asPNG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func asJPEG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := jpeg.Encode(&file, img, nil); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestTheServiceAnswers(t *testing.T) {
	p := start(t)
	t.Run("an upload as the server would", func(t *testing.T) {
		answers := map[pipeline.Guess]bool{}
		files := [][]byte{
			asPNG(t, picture(48, 40, color.NRGBA{R: 200})),
			asPNG(t, picture(32, 32, color.NRGBA{G: 90, B: 250})),
			asJPEG(t, picture(100, 50, color.NRGBA{R: 30, G: 220})),
		}
		for i, file := range files {
			answers[p.checkUpload(t, fmt.Sprintf("file %d", i), file)] = true
		}
		if len(answers) != len(files) {
			t.Errorf("the answers do not depend on the pictures: %v", answers)
		}
	})
	t.Run("what cannot be judged", p.checkRefusals)
	t.Run("the server's paths", func(t *testing.T) {
		for path, want := range map[string]string{
			"/readyz": "ok\n", "/metrics": `residual_ready 1`, "/v1/models/pictures": `"AVAILABLE"`, "/v2": `"residual"`, "/v2/models/pictures/ready": "",
		} {
			code, answer, err := p.ask(http.MethodGet, path, nil)
			if err != nil || code != http.StatusOK || !strings.Contains(string(answer), want) {
				t.Errorf("GET %s: code %d, error %v, want %q in:\n%s", path, code, err, want, answer)
			}
		}
	})
	t.Run("gRPC", func(t *testing.T) {
		connection, err := grpc.NewClient(p.rpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		service := &healthpb.HealthCheckRequest{Service: "tensorflow.serving.PredictionService"}
		health, err := healthpb.NewHealthClient(connection).Check(ctx, service)
		if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health %v, error %v", health, err)
		}
	})
}

// checkUpload compares the service's own route with the server's.
func (p *process) checkUpload(t *testing.T, name string, file []byte) pipeline.Guess {
	t.Helper()
	var got struct {
		Animal any
		pipeline.Guess
	}
	p.read(t, "/upload", file, &got)
	var want struct {
		Images []struct{ Top []pipeline.Guess }
	}
	p.read(t, "/v1/models/pictures:classify", file, &want)
	if len(want.Images) != 1 || len(want.Images[0].Top) == 0 {
		t.Fatalf("%s: :classify answers %+v", name, want)
	}
	best := want.Images[0].Top[0]
	if got.Class != best.Class || math.Abs(float64(got.Probability-best.Probability)) > 1e-6 {
		t.Errorf("%s: it is %+v, for :classify %+v", name, got.Guess, best)
	}
	alive := !slices.Contains([]string{"airplane", "automobile", "ship", "truck"}, best.Class)
	if got.Animal != any(alive) {
		t.Errorf("%s: whether a %s is an animal: %v, want %v", name, best.Class, got.Animal, alive)
	}
	t.Logf("%s: %s, %.4f, animal: %v", name, got.Class, got.Probability, alive)
	return got.Guess
}

func (p *process) checkRefusals(t *testing.T) {
	vast := asPNG(t, image.NewGray(image.Rect(0, 0, 5000, 4000)))
	for _, test := range []struct {
		name, method string
		file         []byte
		want         int
	}{
		{"no file", http.MethodPost, nil, http.StatusBadRequest},
		{"text", http.MethodPost, []byte("a cat"), http.StatusBadRequest},
		{"a cut file", http.MethodPost, asPNG(t, picture(32, 32, color.NRGBA{}))[:100], http.StatusBadRequest},
		{"too many pixels", http.MethodPost, vast, http.StatusRequestEntityTooLarge},
		{"too many bytes", http.MethodPost, make([]byte, maxBytes+1), http.StatusRequestEntityTooLarge},
		{"another method", http.MethodGet, nil, http.StatusMethodNotAllowed},
	} {
		code, answer, err := p.ask(test.method, "/upload", test.file)
		if err != nil || code != test.want {
			t.Errorf("%s: code %d, error %v, want %d: %s", test.name, code, err, test.want, answer)
		}
	}
}

func TestSIGTERMLosesNoRequest(t *testing.T) {
	p := start(t)
	file := asPNG(t, picture(48, 40, color.NRGBA{R: 200}))
	slow := beginUpload(t, p.web, file)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, "/readyz to say no", func() bool {
		code, _, err := p.ask(http.MethodGet, "/readyz", nil)
		return err == nil && code == http.StatusServiceUnavailable
	})
	var answer verdict
	p.read(t, "/upload", file, &answer) // of somebody who has not heard of it yet
	p.waitFor(t, "no more connections", func() bool {
		connection, err := net.Dial("tcp", p.web)
		if err == nil {
			connection.Close()
		}
		return err != nil
	})
	if got := slow.finish(t); got != answer {
		t.Errorf("the request in flight was answered with %+v, another one for the same picture with %+v", got, answer)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("the service ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("the service does not end")
	}
}

// waitFor waits for what is to come while the service runs.
func (p *process) waitFor(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-p.ended:
			t.Fatalf("the service ended before %s: %v", what, err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("there was no sign of %s", what)
		}
	}
}

// upload is a request in flight.
type upload struct {
	net.Conn
	answers *bufio.Reader
	left    []byte
}

// beginUpload sends half of a file. "100 Continue" says that the service's handler
// has begun to read it.
func beginUpload(t *testing.T, address string, file []byte) *upload {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	u := &upload{connection, bufio.NewReader(connection), file[len(file)/2:]}
	fmt.Fprintf(u, "POST /upload HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(file))
	if got, err := http.ReadResponse(u.answers, nil); err != nil || got.StatusCode != http.StatusContinue {
		t.Fatalf("%v, error %v, want 100 Continue", got, err)
	}
	if _, err := u.Write(file[:len(file)/2]); err != nil {
		t.Fatal(err)
	}
	return u
}

// finish sends the other half and reads the answer.
func (u *upload) finish(t *testing.T) (v verdict) {
	t.Helper()
	if _, err := u.Write(u.left); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(u.answers, nil)
	if err != nil {
		t.Fatalf("the request in flight got no answer: %v", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the request in flight was answered with %s, error %v", response.Status, err)
	}
	return v
}

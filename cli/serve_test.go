package cli_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"

	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
)

var (
	swaps   = flag.Int("swaps", 4, "how many versions a served model gets under load")
	hangUps = flag.Int("hang-ups", 100, "how many clients hang up on a server")
)

// server is a `residual serve` that runs.
type server struct {
	started
	http, grpc string // addresses
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// serveProcess starts a server and waits until it is ready.
func serveProcess(t *testing.T, args ...string) server {
	t.Helper()
	port, grpcPort := freePort(t), freePort(t)
	args = append([]string{"serve", "--port", port, "--grpc-port", grpcPort, "--json"}, args...)
	s := server{start(t, process(t, args)), "127.0.0.1:" + port, "127.0.0.1:" + grpcPort}
	t.Cleanup(func() { _ = s.command.Process.Kill() })
	until(t, "the server is ready", func() bool {
		if s.command.ProcessState == nil && strings.HasSuffix(read(t, s.stdout), "\n") {
			return true
		}
		if err := s.command.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatalf("the server has ended: %s", read(t, s.stderr))
		}
		return false
	})
	return s
}

// get asks for a path and returns the code and the body.
func (s server) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return answerOf(t, http.DefaultClient, http.MethodGet, "http://"+s.http+path, nil)
}

func answerOf(t *testing.T, client *http.Client, method, url string, body []byte) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// ends waits for the end after SIGTERM, which must be a good one.
func (s server) ends(t *testing.T) {
	t.Helper()
	s.signal(t, syscall.SIGTERM)
	if o := s.wait(t); o.code != 0 {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

func TestServe(t *testing.T) {
	s := serveProcess(t, "--model", "cats="+modeltest.Dir(t, modeltest.Small), "--model", modeltest.Dir(t, modeltest.Pets), "--drain-delay", "0s")
	var ready struct {
		HTTP, GRPC string
		Models     []string
	}
	if err := json.Unmarshal([]byte(read(t, s.stdout)), &ready); err != nil || ready.HTTP != "http://"+s.http || ready.GRPC != s.grpc || strings.Join(ready.Models, " ") != "cats pets" {
		t.Errorf("--json says %s, %v", read(t, s.stdout), err)
	}
	for path, want := range map[string]string{"/readyz": "ok", "/v1/models/cats": "AVAILABLE", "/v1/models/pets": "AVAILABLE", "/v2": `"version":"0.1.0"`} {
		if code, body := s.get(t, path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	code, body := answerOf(t, http.DefaultClient, http.MethodPost, "http://"+s.http+"/v1/models/pets:classify", pngImage(t, 50, 40))
	if code != 200 || !strings.Contains(body, `"class":"dog"`) {
		t.Errorf("%d %s", code, body)
	}
	s.ends(t)
	if text := read(t, s.stderr); !strings.Contains(text, "max_batch=64") || !strings.Contains(text, "msg=draining cause=terminated") || !strings.Contains(text, "msg=ended") {
		t.Errorf("the log:\n%s", text)
	}
}

func TestServeRefuses(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	write(t, empty, nil)
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"no model":                   {nil, 2, []string{"--model"}},
		"a model that is not there":  {[]string{"--model", dir + "/none"}, 1, []string{"none"}},
		"a name without a folder":    {[]string{"--model", "a="}, 2, []string{"NAME=DIR"}},
		"a folder without a name":    {[]string{"--model", "=" + small}, 2, []string{"cannot be the name"}},
		"a name with a colon":        {[]string{"--model", "a:b=" + small}, 2, []string{"a:b"}},
		"two of one name":            {[]string{"--model", small, "--model", small}, 2, []string{"two models", "small"}},
		"no ports":                   {[]string{"--model", small, "--port", "0", "--grpc-port", "0"}, 2, []string{"nothing to listen on"}},
		"one port twice":             {[]string{"--model", small, "--port", "8600", "--grpc-port", "8600"}, 2, []string{"both 8600"}},
		"a port beyond":              {[]string{"--model", small, "--port", "65536"}, 2, []string{"65536"}},
		"a negative batch":           {[]string{"--model", small, "--max-batch", "-1"}, 2, []string{"--max-batch"}},
		"no images":                  {[]string{"--model", small, "--max-images", "0"}, 2, []string{"--max-images"}},
		"a negative time":            {[]string{"--model", small, "--drain", "-1s"}, 2, []string{"--drain"}},
		"no time":                    {[]string{"--model", small, "--read-timeout", "soon"}, 2, []string{"--read-timeout", "a time"}},
		"a log of another kind":      {[]string{"--model", small, "--log-format", "xml"}, 2, []string{"xml"}},
		"a label without a version":  {[]string{"--model", small, "--label", "stable"}, 2, []string{"LABEL=VERSION"}},
		"a label for no versions":    {[]string{"--model", small, "--label", "stable=1"}, 2, []string{"numbered versions"}},
		"a watch of one model":       {[]string{"--model", small, "--watch"}, 2, []string{"--watch"}},
		"a certificate alone":        {[]string{"--model", small, "--tls-cert", empty}, 2, []string{"--tls-key"}},
		"a certificate that is none": {[]string{"--model", small, "--tls-cert", empty, "--tls-key", empty}, 1, []string{"read certificate"}},
		"no token file":              {[]string{"--model", small, "--token-file", dir + "/none"}, 1, []string{"read token"}},
		"no token":                   {[]string{"--model", small, "--token-file", empty}, 1, []string{"one word"}},
		"no such signature":          {[]string{"--model", small, "--signature", "guess"}, 1, []string{`"guess"`}},
		"an argument":                {[]string{"--model", small, "x"}, 2, []string{`"x"`}},
		"no such host":               {[]string{"--model", small, "--host", "256.1.1.1"}, 1, []string{"listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--port", freePort(t), "--grpc-port", freePort(t)}, c.args...)
			if strings.Contains(name, "port") {
				args = append([]string{"serve"}, c.args...)
			}
			refused(t, run(args...), c.code, c.says...)
		})
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	refused(t, run("serve", "--model", small, "--port", freePort(t), "--grpc-port", port), 1, "listen", port)
}

// evilModel writes a file when it is asked.
func evilModel(t *testing.T) string {
	t.Helper()
	dir := modeltest.Copy(t, modeltest.Small)
	path := filepath.Join(dir, "saved_model.pb")
	var model pb.SavedModel
	if err := proto.Unmarshal([]byte(read(t, path)), &model); err != nil {
		t.Fatal(err)
	}
	graph := model.GetMetaGraphs()[0].GetGraphDef()
	// Nobody asks for it: it only has to be there.
	graph.Node = append(graph.Node, &node_def_go_proto.NodeDef{Name: "evil", Op: "Timestamp"})
	data, err := proto.Marshal(&model)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, data)
	return dir
}

func TestServeLooksAtOperations(t *testing.T) {
	evil := evilModel(t)
	refused(t, run("serve", "--model", evil, "--port", freePort(t), "--grpc-port", "0"), 1, "Timestamp (in evil)", "--trust")
	s := serveProcess(t, "--model", evil, "--trust", "--drain-delay", "0s")
	s.ends(t)

	o := run("inspect", "--scan", evil)
	if o.code != 1 || !strings.Contains(o.stdout, "a classifier does not need\n  Timestamp  in evil") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	var got struct {
		Operations, Refused []struct {
			Name, Where string
			Count       int
		}
	}
	if o = run("inspect", "--scan", "--json", evil); json.Unmarshal([]byte(o.stdout), &got) != nil || o.code != 1 || len(got.Refused) != 1 || got.Refused[0].Name != "Timestamp" || len(got.Operations) < 10 {
		t.Errorf("exit code %d\n%s", o.code, o.stdout)
	}
	if o = run("inspect", "--scan", modeltest.Dir(t, modeltest.Small)); o.code != 0 || !strings.HasSuffix(o.stdout, "none that a classifier does not need\n") {
		t.Errorf("exit code %d\n%s", o.code, o.stdout)
	}
}

// certificate makes one for 127.0.0.1.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, cert)))
	return cert, key, pool
}

func TestServeWithTLSAndToken(t *testing.T) {
	cert, key, pool := certificate(t)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, []byte("secret\n"))
	s := serveProcess(t, "--model", modeltest.Dir(t, modeltest.Tiny), "--tls-cert", cert, "--tls-key", key, "--token-file", token, "--log-format", "json", "--drain-delay", "0s")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	if code, _ := answerOf(t, client, http.MethodGet, "https://"+s.http+"/readyz", nil); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	if code, _ := answerOf(t, client, http.MethodGet, "https://"+s.http+"/metrics", nil); code != 401 {
		t.Errorf("/metrics without the token: %d", code)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.http+"/v1/models/tiny", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer secret")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != 200 {
		t.Errorf("with the token: %d", response.StatusCode)
	}
	if conn, err := tls.Dial("tcp", s.grpc, &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}}); err != nil {
		t.Errorf("gRPC: %v", err)
	} else {
		conn.Close()
	}
	client.CloseIdleConnections()
	s.ends(t)
	for line := range strings.Lines(read(t, s.stderr)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("--log-format json writes %s", line)
		}
	}
}

// load asks a server from several clients at once, until it is told to stop. It
// counts what was answered, and each answer that is not a good one.
type loadTest struct {
	answered, failed atomic.Int64
	stop             context.CancelFunc
	clients          sync.WaitGroup
}

func loadServer(t *testing.T, s server, model string, clients int) *loadTest {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &loadTest{stop: stop}
	body := pngImage(t, 32, 32)
	for range clients {
		l.clients.Go(func() {
			// Its own connection: what was begun on one that the server closes is seen.
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				response, err := client.Post("http://"+s.http+"/v1/models/"+model+":classify", "image/png", bytes.NewReader(body))
				if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" { // it has ended, and this was never begun
					return
				}
				if err != nil {
					l.failed.Add(1)
					t.Errorf("after %d answers: %v", l.answered.Load(), err)
					return
				}
				text, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != 200 {
					l.failed.Add(1)
					t.Errorf("after %d answers: %d %s, %v", l.answered.Load(), response.StatusCode, text, err)
					return
				}
				l.answered.Add(1)
			}
		})
	}
	return l
}

func (l *loadTest) until(t *testing.T, answered int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d requests are answered", answered), func() bool { return l.answered.Load() >= answered || l.failed.Load() > 0 })
}

func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	for range 3 {
		s := serveProcess(t, "--model", modeltest.Dir(t, modeltest.Small))
		l := loadServer(t, s, "small", 8)
		l.until(t, 200)
		s.ends(t)
		l.stop()
		l.clients.Wait()
	}
}

// New versions under load: none of the requests fails.
func TestVersionsAreSwappedUnderLoad(t *testing.T) {
	base := filepath.Join(t.TempDir(), "cats")
	put := func(version int) {
		t.Helper()
		// Copied beside and moved, as it should be done; a slow copy is for folder_test.go.
		dir := filepath.Join(base, strconv.Itoa(version))
		if err := os.CopyFS(dir+".part", os.DirFS(modeltest.Dir(t, modeltest.Small))); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+".part", dir); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	s := serveProcess(t, "--model", base, "--watch", "--label", "first=1", "--drain-delay", "0s")
	l := loadServer(t, s, "cats", 4)
	for version := 2; version <= 1+*swaps; version++ {
		put(version)
		until(t, fmt.Sprintf("version %d answers", version), func() bool {
			code, body := s.get(t, fmt.Sprintf("/v1/models/cats/versions/%d", version))
			return code == 200 && strings.Contains(body, "AVAILABLE")
		})
		l.until(t, l.answered.Load()+20)
	}
	// What is broken is reported, and the old one stays.
	broken := filepath.Join(base, "9999")
	if err := os.Mkdir(broken, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(broken, "saved_model.pb"), []byte("no graph"))
	until(t, "the broken version is reported", func() bool {
		_, body := s.get(t, "/v1/models/cats/versions/9999")
		return strings.Contains(body, "no SavedModel")
	})
	if code, _ := s.get(t, "/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	for label, want := range map[string]int{"first": 200, "other": 400} {
		if code, body := s.get(t, "/v1/models/cats/labels/"+label); code != want {
			t.Errorf("label %s: %d %s", label, code, body)
		}
	}
	l.stop()
	l.clients.Wait()
	s.ends(t)
	if text := read(t, s.stderr); strings.Count(text, "level=WARN") != 1 {
		t.Errorf("the log:\n%s", text)
	}
}

// Clients that hang up in the middle leave nothing behind.
func TestClientsThatHangUp(t *testing.T) {
	s := serveProcess(t, "--model", modeltest.Dir(t, modeltest.Small), "--drain-delay", "0s")
	body := pngImage(t, 32, 32)
	head := fmt.Sprintf("POST /v1/models/small:classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	whole := head + string(body)
	for i := range *hangUps {
		conn, err := net.Dial("tcp", s.http)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, whole[:1+i*7919%len(whole)]); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	until(t, "nothing is left of them", func() bool {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.command.Process.Pid))
		if err != nil {
			t.Skip("there is no /proc here")
		}
		_, metrics := s.get(t, "/metrics")
		return len(entries) < 40 && strings.Contains(metrics, `residual_queue_images{model="small",version="1"} 0`)
	})
	code, answer := answerOf(t, http.DefaultClient, http.MethodPost, "http://"+s.http+"/v1/models/small:classify", body)
	if code != 200 {
		t.Errorf("%d %s", code, answer)
	}
	s.ends(t)
}

// sendNoBody begins a request whose body does not come. When it returns a handler waits
// for that.
func sendNoBody(t *testing.T, s server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.http)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /v1/models/tiny:classify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue"))); err != nil {
		t.Fatal(err)
	}
	return conn
}

// The second signal does not wait for who does not send his request.
func TestTheSecondSignalEndsServingAtOnce(t *testing.T) {
	s := serveProcess(t, "--model", modeltest.Dir(t, modeltest.Tiny), "--drain-delay", "0s", "--drain", "1h")
	defer sendNoBody(t, s).Close()
	s.signal(t, syscall.SIGTERM)
	until(t, "it drains", func() bool { return strings.Contains(read(t, s.stderr), "draining") })
	s.signal(t, syscall.SIGTERM)
	if o := s.wait(t); o.code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

// Who does not come to an end in time is not answered, and that is said.
func TestDrainingHasAnEnd(t *testing.T) {
	s := serveProcess(t, "--model", modeltest.Dir(t, modeltest.Tiny), "--drain-delay", "0s", "--drain", "100ms")
	defer sendNoBody(t, s).Close()
	s.signal(t, syscall.SIGTERM)
	if o := s.wait(t); o.code != 1 || !strings.Contains(o.stderr, "--drain was over") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

var servedLoads = flag.Int("served-loads", 60, "how often a version is loaded and unloaded")

// Versions come and go without leaving memory, goroutines or descriptors. In a
// process of its own, whose malloc has one arena: another one that it makes at some
// time would look like a leak.
func TestServedVersionsLeaveNothing(t *testing.T) {
	const arenas = "MALLOC_ARENA_MAX"
	if os.Getenv(arenas) != "1" {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServedVersionsLeaveNothing$", "-test.v", "-served-loads", strconv.Itoa(*servedLoads))
		command.Env = append(os.Environ(), arenas+"=1")
		output, err := command.CombinedOutput()
		if t.Logf("%s", output); err != nil {
			t.Error(err)
		}
		return
	}
	s, err := serving.NewServer(serving.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := modeltest.Dir(t, modeltest.Tiny)
	swap := func(number int64) {
		t.Helper()
		model, err := savedmodel.Open(dir, savedmodel.Options{Threads: 1, Signatures: []string{"serving_default"}})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Load(t.Context(), serving.Version{Name: "tiny", Number: number, Model: model, Classes: model.Info().Metadata.Classes, Close: model.Close})
		if err == nil && number > 1 {
			err = s.Unload(t.Context(), "tiny", number-1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const first = 50 // until caches are full
	for number := int64(1); number <= first; number++ {
		swap(number)
	}
	before := modeltest.FootprintNow(t)
	for number := int64(first + 1); number <= int64(first+*servedLoads); number++ {
		swap(number)
	}
	after := modeltest.FootprintNow(t)
	kb := float64(after.ResidentKB-before.ResidentKB) / float64(*servedLoads)
	t.Logf("%d loads: %.1f kB each, goroutines %d and %d, descriptors %d and %d", *servedLoads, kb, before.Goroutines, after.Goroutines, before.Descriptors, after.Descriptors)
	// A few hundred kB come and go with the allocator.
	const noise = 4096
	if after.ResidentKB-before.ResidentKB > 10**servedLoads+noise || after.Goroutines > before.Goroutines || after.Descriptors > before.Descriptors {
		t.Errorf("%+v became %+v", before, after)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

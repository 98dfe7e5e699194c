package main

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve returns a load for a handler.
func serve(t *testing.T, connections int, handler http.HandlerFunc) *load {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	body := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(body, []byte("question"), 0o600); err != nil {
		t.Fatal(err)
	}
	header := headers{}
	if err := header.Set("Question-Kind: hard"); err != nil {
		t.Fatal(err)
	}
	host, request, err := compose(server.URL+"/ask?times=1", body, header)
	if err != nil {
		t.Fatal(err)
	}
	return newLoad(host, request, connections)
}

func all(record) bool { return true }

func TestARequestIsSentAsGiven(t *testing.T) {
	l := serve(t, 1, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "question" || r.Method != http.MethodPost || r.URL.String() != "/ask?times=1" || r.Header.Get("Question-Kind") != "hard" {
			t.Errorf("got %s %s %v %q, %v", r.Method, r.URL, r.Header, body, err)
		}
	})
	if code, err := l.connections[0].ask(); code != http.StatusOK || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
}

func TestAClosedLoopCountsWhatTheServerAnswered(t *testing.T) {
	var asked atomic.Int64
	const connections = 4
	l := serve(t, connections, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if asked.Add(1)%3 == 0 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
		}
	})
	records := l.closed(200 * time.Millisecond)
	s := summarize(records, time.Second, all)
	if int64(s.Requests) != asked.Load() || int64(s.Codes[http.StatusServiceUnavailable]) != asked.Load()/3 || s.Codes[http.StatusOK] != s.Requests-s.Codes[http.StatusServiceUnavailable] {
		t.Errorf("the server was asked %d times, and the load says %+v", asked.Load(), s)
	}
	if s.well != s.Codes[http.StatusOK] || s.RequestsPerSecond != float64(s.well) || s.Errors+s.Dropped != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestEachMomentIsARequestOrIsDropped(t *testing.T) {
	release := make(chan struct{})
	l := serve(t, 2, func(http.ResponseWriter, *http.Request) { <-release })
	const moments = 100
	s := summarize(l.open(func(yield func(time.Duration) bool) {
		defer close(release) // all have come
		for range moments {
			if !yield(0) {
				return
			}
		}
	}), time.Second, all)
	if s.Requests != 2 || s.Dropped != moments-2 || s.Errors != 0 {
		t.Errorf("two connections, and no answer before all %d requests have come: got %+v", moments, s)
	}
}

func TestTimeCountsFromTheMomentARequestIsDue(t *testing.T) {
	l := serve(t, 1, func(http.ResponseWriter, *http.Request) {})
	l.start = l.start.Add(-time.Hour) // this program is late
	records := l.open(slices.Values([]time.Duration{0}))
	if took := records[0].ended - records[0].begun; len(records) != 1 || took < time.Hour {
		t.Errorf("got %+v", records)
	}
}

func TestAConnectionThatRestedMayHaveEnded(t *testing.T) {
	var asked atomic.Int64
	l := serve(t, 1, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	c := l.connections[0]
	if _, err := c.ask(); err != nil {
		t.Fatal(err)
	}
	_ = c.conn.Close() // as if the server had
	if code, err := c.ask(); code != http.StatusOK || err != nil || asked.Load() != 2 {
		t.Errorf("got %d, %v, and the server was asked %d times", code, err, asked.Load())
	}
}

func TestWhatIsNotAnsweredIsAnError(t *testing.T) {
	l := serve(t, 1, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s := summarize(l.open(slices.Values([]time.Duration{0, 0})), time.Second, all)
	if s.Errors+s.Dropped != 2 || s.Errors == 0 || s.lastError == nil || s.Requests != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestOnlyRequestsThatCountAreSummarized(t *testing.T) {
	w := window{time.Second, 3 * time.Second}
	records := []record{
		{begun: 0, ended: time.Second, code: 200},
		{begun: time.Second, ended: 2 * time.Second, code: 200},
		{begun: 2 * time.Second, ended: 4 * time.Second, code: 200},
		{begun: 2 * time.Second, dropped: true},
	}
	s := summarize(records, 2*time.Second, func(r record) bool { return w.has(r.begun) })
	if s.Requests != 2 || s.Dropped != 1 || s.RequestsPerSecond != 1 || s.Latency.Mean != 1500 || s.Latency.Max != 2000 {
		t.Errorf("by their begin: %+v", s)
	}
	if s = summarize(records, 2*time.Second, func(r record) bool { return w.has(r.ended) }); s.Requests != 2 || s.Latency.Mean != 1000 {
		t.Errorf("by their end: %+v", s)
	}
}

func TestArrivalsAreAFunctionOfTheSeed(t *testing.T) {
	const rate, seconds = 50, 1000
	moments := slices.Collect(arrivals(rate, seconds*time.Second, 7))
	if !slices.Equal(moments, slices.Collect(arrivals(rate, seconds*time.Second, 7))) {
		t.Error("the same seed gave other moments")
	}
	if slices.Equal(moments, slices.Collect(arrivals(rate, seconds*time.Second, 8))) {
		t.Error("another seed gave the same moments")
	}
	if !slices.IsSorted(moments) || moments[len(moments)-1] >= seconds*time.Second {
		t.Error("moments must ascend, and end in time")
	}
	// As many as wanted, and gaps as a Poisson process has: their deviation is their mean.
	mean, deviation := gaps(moments)
	if math.Abs(mean*rate-1) > 0.02 || math.Abs(deviation*rate-1) > 0.02 {
		t.Errorf("gaps have the mean %g s and the deviation %g s, both should be %g s", mean, deviation, 1.0/rate)
	}
}

func TestTicksAreAsFarApart(t *testing.T) {
	if got := slices.Collect(ticks(4, time.Second)); !slices.Equal(got, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond}) {
		t.Errorf("got %v", got)
	}
}

func TestARateIsTakenFromOneAnswerToAnother(t *testing.T) {
	// Batches of two each second: two a second, wherever the window cuts.
	var records []record
	for at := time.Second; at < 10*time.Second; at += time.Second {
		records = append(records, record{ended: at, code: 200}, record{ended: at, code: 200})
	}
	for _, w := range []window{{1500 * time.Millisecond, 6600 * time.Millisecond}, {1500 * time.Millisecond, 6400 * time.Millisecond}} {
		found := w.betweenAnswers(records)
		s := summarize(records, found.to-found.from, func(r record) bool { return found.has(r.ended) })
		if math.Abs(s.RequestsPerSecond-2) > 1e-6 {
			t.Errorf("%v: got %g a second in %v, want 2", w, s.RequestsPerSecond, found)
		}
	}
	// With no answer before it, or none in it, the window stays.
	for _, w := range []window{{0, 5 * time.Second}, {1500 * time.Millisecond, 1600 * time.Millisecond}} {
		if found := w.betweenAnswers(records); found != w {
			t.Errorf("got %v, want %v", found, w)
		}
	}
}

func gaps(moments []time.Duration) (mean, deviation float64) {
	var sum, squares float64
	last := time.Duration(0)
	for _, at := range moments {
		gap := (at - last).Seconds()
		sum += gap
		squares += gap * gap
		last = at
	}
	mean = sum / float64(len(moments))
	return mean, math.Sqrt(squares/float64(len(moments)) - mean*mean)
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i+1) * time.Millisecond
	}
	for _, c := range []struct {
		name string
		took []time.Duration
		p    float64
		want float64 // ms
	}{
		{"a half of 100", hundred, 50, 50},
		{"99 of 100", hundred, 99, 99},
		{"all of 100", hundred, 100, 100},
		{"between two", hundred[:2], 50, 1},
		{"above a half of two", hundred[:2], 51, 2},
		{"of one", hundred[:1], 99, 1},
		{"none of 100", hundred, 0, 1},
	} {
		if got := milliseconds(percentile(c.took, c.p)); got != c.want {
			t.Errorf("%s: got %g ms, want %g", c.name, got, c.want)
		}
	}
	want := latency{P50: 50, P90: 90, P99: 99, Max: 100, Mean: 50.5}
	slices.Reverse(hundred)
	if got := latencyOf(hundred); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := latencyOf(nil); got != (latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestWrongRequestsAreRefused(t *testing.T) {
	for _, address := range []string{"https://127.0.0.1:1/", "127.0.0.1:1", "http://127.0.0.1/", ":"} {
		if _, _, err := compose(address, os.DevNull, nil); err == nil {
			t.Errorf("-url %q was taken", address)
		}
	}
	if _, _, err := compose("http://127.0.0.1:1/", filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a body that is not there was taken")
	}
	if err := (headers{}).Set("no colon"); err == nil || !strings.Contains(err.Error(), "no colon") {
		t.Errorf("a header without a colon: %v", err)
	}
}

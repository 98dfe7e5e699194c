package serving_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline/serving"
)

func emptyServer(t *testing.T, o serving.Options) *serving.Server {
	t.Helper()
	s, err := serving.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, s)
	return s
}

func load(t *testing.T, s *serving.Server, number int64, m *colors) {
	t.Helper()
	if err := s.Load(t.Context(), serving.Version{Name: "colors", Number: number, Model: m, Classes: colorNames, Close: m.Close}); err != nil {
		t.Fatal(err)
	}
}

// states lists the versions of "colors" as TensorFlow Serving's status does.
func states(t *testing.T, s http.Handler) map[string]string {
	t.Helper()
	var got struct {
		Versions []struct{ Version, State string } `json:"model_version_status"`
	}
	if err := json.Unmarshal([]byte(send(s, http.MethodGet, "/v1/models/colors", nil).body), &got); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, v := range got.Versions {
		found[v.Version] = v.State
	}
	return found
}

func TestTheNewestVersionAnswers(t *testing.T) {
	s := emptyServer(t, serving.Options{})
	one, two := &colors{}, &colors{}
	load(t, s, 2, two)
	load(t, s, 1, one)
	for path, want := range map[string]string{
		"/v2/models/colors/infer": `"model_version":"2"`, "/v2/models/colors/versions/1/infer": `"model_version":"1"`,
	} {
		send(s, http.MethodPost, path, oipRed()).is(t, 200, want)
	}
	if err := s.SetLabels("colors", map[string]int64{"stable": 1, "canary": 2}); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{"stable": `"version":"1"`, "canary": `"version":"2"`} {
		send(s, http.MethodPost, "/v1/models/colors/labels/"+label+":classify", picture(t, 4, 4, red)).is(t, 200, want)
		send(s, http.MethodGet, "/v1/models/colors/labels/"+label, nil).is(t, 200, "AVAILABLE")
	}
	send(s, http.MethodGet, "/v2/repository/index", nil).is(t, 200, `"labels":["stable"]`)
	if err := s.SetLabels("colors", map[string]int64{"stable": 7}); !errors.Is(err, serving.ErrNotFound) {
		t.Errorf("error: %v", err)
	}
	if err := s.SetLabels("nobody", nil); !errors.Is(err, serving.ErrNotFound) {
		t.Errorf("error: %v", err)
	}
	if err := s.Unload(t.Context(), "colors", 2); err != nil || two.closes.Load() != 1 {
		t.Errorf("%v, closed %d times", err, two.closes.Load())
	}
	send(s, http.MethodPost, "/v2/models/colors/infer", oipRed()).is(t, 200, `"model_version":"1"`)
	send(s, http.MethodPost, "/v1/models/colors/labels/canary:classify", picture(t, 4, 4, red)).is(t, 404, "Label(colors, canary)")
	if diff := cmp.Diff(map[string]string{"1": "AVAILABLE", "2": "END"}, states(t, s)); diff != "" {
		t.Error(diff)
	}
	if err := s.Unload(t.Context(), "colors", 2); !errors.Is(err, serving.ErrNotFound) {
		t.Errorf("error: %v", err)
	}
	load(t, s, 2, &colors{}) // again
	rows, err := s.Predict(t.Context(), "colors", colorImages(t, 3))
	if err != nil || len(rows) != 3 || len(rows[0]) != 3 {
		t.Errorf("%v, %v", rows, err)
	}
	if _, err := s.Predict(t.Context(), "nobody", colorImages(t, 1)); !errors.Is(err, serving.ErrNotFound) {
		t.Errorf("error: %v", err)
	}
}

// A version that does not pass its check is reported, and the old one goes on.
func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		model *colors
		error string
	}{
		"an error": {&colors{err: errors.New("it is ill")}, "it is ill"},
		"no numbers": {&colors{output: func(n int) ([]float32, []int) {
			return []float32{float32(math.NaN()), 0, 0}[:3*min(n, 1)], []int{min(n, 1), 3}
		}}, "not made of finite numbers"},
		"another shape": {&colors{output: func(n int) ([]float32, []int) { return make([]float32, 2*n), []int{n, 2} }}, `"probabilities" must be float32 [N,3], not float32 [1,2]`},
	} {
		t.Run(name, func(t *testing.T) {
			s := emptyServer(t, serving.Options{})
			old := &colors{}
			load(t, s, 1, old)
			err := s.Load(t.Context(), serving.Version{Name: "colors", Number: 2, Model: c.model, Classes: colorNames, Close: c.model.Close})
			if err == nil || !strings.Contains(err.Error(), c.error) || !strings.Contains(err.Error(), "colors, version 2") {
				t.Errorf("error: %v", err)
			}
			if c.model.closes.Load() != 1 {
				t.Errorf("it was closed %d times", c.model.closes.Load())
			}
			if diff := cmp.Diff(map[string]string{"1": "AVAILABLE", "2": "END"}, states(t, s)); diff != "" {
				t.Error(diff)
			}
			send(s, http.MethodGet, "/v1/models/colors/versions/2", nil).is(t, 200, c.error[len(c.error)-7:])
			predict(s).is(t, 200, "predictions")
			send(s, http.MethodGet, "/readyz", nil).is(t, 200, "")
		})
	}
	s := emptyServer(t, serving.Options{})
	load(t, s, 1, &colors{})
	twin := &colors{}
	err := s.Load(t.Context(), serving.Version{Name: "colors", Number: 1, Model: twin, Close: twin.Close})
	if err == nil || !strings.Contains(err.Error(), "is there already, and available") || twin.closes.Load() != 1 {
		t.Errorf("%v, closed %d times", err, twin.closes.Load())
	}
}

func TestUnloadWaitsForWhatHasCome(t *testing.T) {
	s := emptyServer(t, serving.Options{})
	m := &colors{}
	load(t, s, 1, m)
	answer, release := begun(m, s)
	unloaded := make(chan error)
	go func() { unloaded <- s.Unload(context.Background(), "colors", 1) }()
	for states(t, s)["1"] != "UNLOADING" {
		time.Sleep(time.Millisecond)
	}
	predict(s).is(t, 404, "Servable not found")
	send(s, http.MethodGet, "/v2/repository/index", nil).is(t, 200, "UNLOADING")
	if m.closes.Load() != 0 {
		t.Error("it is closed while it answers")
	}
	release()
	(<-answer).is(t, 200, "predictions")
	if err := <-unloaded; err != nil || m.closes.Load() != 1 {
		t.Errorf("%v, closed %d times", err, m.closes.Load())
	}
}

// Those that wait when the time is over are told so; what was begun is finished.
func TestUnloadDoesNotWaitForEver(t *testing.T) {
	s := emptyServer(t, serving.Options{})
	m := &colors{}
	load(t, s, 1, m)
	first, release := begun(m, s)
	waits := make(chan reply)
	go func() { waits <- predict(s) }()
	untilOneWaits(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	unloaded := make(chan error)
	go func() { unloaded <- s.Unload(ctx, "colors", 1) }()
	(<-waits).is(t, 503, "closed for further requests")
	release()
	(<-first).is(t, 200, "predictions")
	if err := <-unloaded; !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

// Swaps under load: no request fails, no model is called when it is closed, each is
// closed once.
func TestSwapsUnderLoad(t *testing.T) {
	s := emptyServer(t, serving.Options{})
	first := &colors{}
	load(t, s, 1, first)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var answered atomic.Int64
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if got := predict(s); got.code != 200 {
					t.Errorf("%d %s", got.code, got.body)
					return
				}
				answered.Add(1)
			}
		})
	}
	models := []*colors{first}
	for number := int64(2); number <= 100; number++ {
		m := &colors{}
		models = append(models, m)
		load(t, s, number, m)
		if err := s.Unload(ctx, "colors", number-1); err != nil {
			t.Error(err)
		}
		for target := answered.Load() + 20; answered.Load() < target; {
			time.Sleep(100 * time.Microsecond)
		}
	}
	stop()
	clients.Wait()
	for i, m := range models[:len(models)-1] {
		if m.misused.Load() > 0 || m.closes.Load() != 1 {
			t.Errorf("version %d: %d calls after it was closed %d times", i+1, m.misused.Load(), m.closes.Load())
		}
	}
	if n := len(states(t, s)); n > 12 {
		t.Errorf("%d versions are remembered", n)
	}
}

// Versions that come while the server closes are closed with it.
func TestCloseWhileAVersionIsLoaded(t *testing.T) {
	s, err := serving.NewServer(serving.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := &colors{}
	release := m.hold()
	loaded, closed := make(chan error), make(chan error)
	go func() {
		loaded <- s.Load(context.Background(), serving.Version{Name: "colors", Number: 1, Model: m, Classes: colorNames, Close: m.Close})
	}()
	for m.calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	go func() { closed <- s.Close(context.Background()) }()
	for late := int64(2); ; late++ { // until it is closed for further ones
		other := &colors{}
		err := s.Load(context.Background(), serving.Version{Name: "colors", Number: late, Model: other, Classes: colorNames, Close: other.Close})
		if errors.Is(err, serving.ErrClosed) {
			if other.closes.Load() != 1 {
				t.Error("a version that came too late is not closed")
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	release()
	if err := <-loaded; !errors.Is(err, serving.ErrClosed) || m.closes.Load() != 1 {
		t.Errorf("%v, closed %d times", err, m.closes.Load())
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// One that is unloaded at once after it was loaded.
func TestLoadAndUnloadBesideEachOther(t *testing.T) {
	s := emptyServer(t, serving.Options{})
	var unloads sync.WaitGroup
	for number := range int64(200) {
		unloads.Go(func() {
			for errors.Is(s.Unload(context.Background(), "colors", number), serving.ErrNotFound) {
				time.Sleep(10 * time.Microsecond)
			}
		})
		load(t, s, number, &colors{})
	}
	unloads.Wait()
}

func TestLoadWantsAModel(t *testing.T) {
	s := emptyServer(t, serving.Options{})
	for _, v := range []serving.Version{{Name: "colors", Number: 1}, {Number: 1, Model: &colors{}}, {Name: "colors", Number: -1, Model: &colors{}}} {
		if err := s.Load(t.Context(), v); err == nil {
			t.Errorf("%v is served", v)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/color"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo/tensor"
)

// oracle sees the same on all pictures, which are of 2x2 pixels. If there is a gate
// each call passes it twice, when it begins and before it ends.
type oracle struct {
	probabilities []float32
	gate          chan struct{}
}

var _ pipeline.Model = oracle{}

func (o oracle) Signature(name string) (tensor.Signature, bool) {
	return tensor.Signature{
		Inputs:  []tensor.Spec{{Name: pipeline.ImagesInput, DType: tensor.Uint8, Shape: []int{tensor.AnySize, 2, 2, 3}}},
		Outputs: []tensor.Spec{{Name: pipeline.ProbabilitiesOutput, DType: tensor.Float32, Shape: []int{tensor.AnySize, len(o.probabilities)}}},
	}, name == pipeline.PredictSignature
}

func (o oracle) Call(_ context.Context, _ string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	if o.gate != nil {
		<-o.gate
		<-o.gate
	}
	n := inputs[pipeline.ImagesInput].Shape()[0]
	var rows []float32
	for range n {
		rows = append(rows, o.probabilities...)
	}
	out, err := tensor.Of(rows, n, len(o.probabilities))
	return map[string]tensor.Tensor{pipeline.ProbabilitiesOutput: out}, err
}

var ofOracle = savedmodel.Metadata{Classes: []string{"truck", "cat", "frog"}, Image: savedmodel.Image{Height: 2, Width: 2, Channels: 3}}

func ask(t *testing.T, model oracle, o serving.BatchOptions) (*uploads, *serving.Batcher) {
	t.Helper()
	batcher, err := serving.NewBatcher(model, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := batcher.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	u, err := newUploads(batcher, ofOracle)
	if err != nil {
		t.Fatal(err)
	}
	return u, batcher
}

func post(u *uploads, file []byte) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	u.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/upload", bytes.NewReader(file)))
	return answer
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		probabilities []float32
		want          string
	}{
		{[]float32{0.125, 0.75, 0.125}, `{"animal":true,"class":"cat","probability":0.75}`},
		{[]float32{0.5, 0.25, 0.25}, `{"animal":false,"class":"truck","probability":0.5}`},
	} {
		u, _ := ask(t, oracle{probabilities: test.probabilities}, serving.BatchOptions{})
		answer := post(u, asPNG(t, picture(3, 2, color.NRGBA{})))
		var got bytes.Buffer
		if err := json.Compact(&got, answer.Body.Bytes()); err != nil || answer.Code != http.StatusOK || got.String() != test.want {
			t.Errorf("code %d, error %v, %s, want %s", answer.Code, err, got.String(), test.want)
		}
	}
}

func TestUploadsAreRefusedWhileTooManyWait(t *testing.T) {
	model := oracle{[]float32{0, 1, 0}, make(chan struct{})}
	u, batcher := ask(t, model, serving.BatchOptions{MaxBatch: 1, MaxWaiting: 1})
	file := asPNG(t, picture(3, 2, color.NRGBA{}))
	open := sync.OnceFunc(func() { close(model.gate) })
	defer open()
	codes := make(chan int, 2)
	begin := func() { go func() { codes <- post(u, file).Code }() }
	begin()
	model.gate <- struct{}{} // it is computed
	begin()
	for deadline := time.Now().Add(patience); batcher.Waiting() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the second one does not wait")
		}
	}
	if code := post(u, file).Code; code != http.StatusTooManyRequests {
		t.Errorf("code %d, want 429", code)
	}
	open()
	for range 2 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("code %d, want 200", code)
		}
	}
}

func TestAModelWithoutAnimalsIsRefused(t *testing.T) {
	m := ofOracle
	m.Classes = []string{"0", "1"}
	if _, err := newUploads(nil, m); err == nil {
		t.Error("no error")
	}
}

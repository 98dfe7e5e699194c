// Command nothing serves a model that costs nothing, at 127.0.0.1:8777, and beside
// it at 127.0.0.1:8778 a handler that does nothing but read the request and answer
// 200 bytes. What benchmarks/load finds the process to need for a request is what
// the server costs, and how much of that is net/http's:
//
//	go run ./benchmarks/nothing &
//	go run ./benchmarks/load -url http://127.0.0.1:8777/v2/models/nothing/infer -body request -connections 64 -pid PID
//
// With -image and -batch the model takes that time for each image and each batch, and
// waits for it: how long requests wait for each other shows so, whatever else the
// machine does. ResNet50 at 224x224 on two cores takes -image 55ms -batch 15ms.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/tfgo/tensor"
)

// nothing gives ten zeros for an image of 32x32 pixels, after a time for each image and
// each batch.
type nothing struct{ image, batch time.Duration }

func (nothing) Signature(name string) (tensor.Signature, bool) {
	return tensor.Signature{
		Inputs:  []tensor.Spec{{Name: "images", DType: tensor.Uint8, Shape: []int{tensor.AnySize, 32, 32, 3}}},
		Outputs: []tensor.Spec{{Name: "probabilities", DType: tensor.Float32, Shape: []int{tensor.AnySize, 10}}},
	}, name == "serving_default"
}

func (m nothing) Call(_ context.Context, _ string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	n := inputs["images"].Shape()[0]
	time.Sleep(m.batch + time.Duration(n)*m.image)
	zeros, err := tensor.Of(make([]float32, 10*n), n, 10)
	return map[string]tensor.Tensor{"probabilities": zeros}, err
}

func main() {
	var model nothing
	flag.DurationVar(&model.image, "image", 0, "how long the model takes for an image")
	flag.DurationVar(&model.batch, "batch", 0, "how long the model takes for a batch besides")
	most := flag.Int("max-batch", 0, "as --max-batch of residual serve")
	flag.Parse()
	debug.SetGCPercent(400) // as residual serve does
	server, err := serving.New(model, serving.Options{Name: "nothing", Batch: serving.BatchOptions{MaxBatch: *most}})
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.ListenAndServe("127.0.0.1:8778", http.HandlerFunc(bare))) }()
	log.Fatal(http.ListenAndServe("127.0.0.1:8777", server))
}

func bare(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		log.Print(err)
	}
	_, _ = w.Write(make([]byte, 200))
}

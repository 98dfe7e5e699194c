package tfgo

// #include <stdlib.h>
// #include "tensorflow/c/c_api.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"unsafe"

	tf "github.com/wamuir/graft/tensorflow"
	configpb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/tfgo/trace"
)

// OpTime is how long one operation of a run took.
type OpTime = trace.Op

// Profile is Run with the times of all operations, in the order of their ends.
// Taking them costs some time itself, and for a while the memory of the graph's
// constants several times.
func (s *Session) Profile(ctx context.Context, feeds Feeds, fetches []string) ([]OpTime, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fed, fetched, err := s.tensors(feeds, fetches)
	if err != nil {
		return nil, err
	}
	metadata, err := s.runTraced(fed, fetched)
	if err != nil {
		return nil, fmt.Errorf("profile graph: %w", err)
	}
	return trace.Read(metadata), nil
}

// runTraced runs the session once, tracing all operations, and drops the
// results.
func (s *Session) runTraced(fed map[tf.Output]*tf.Tensor, fetched []tf.Output) (*configpb.RunMetadata, error) {
	options, err := proto.Marshal(&configpb.RunOptions{
		TraceLevel:            configpb.RunOptions_FULL_TRACE,
		OutputPartitionGraphs: true,
	})
	if err != nil {
		return nil, err
	}
	var (
		inputs, outputs []C.TF_Output
		values          []*C.TF_Tensor
	)
	for output, tensor := range fed {
		inputs, values = append(inputs, outputC(output)), append(values, (*C.TF_Tensor)(handle(tensor)))
	}
	for _, output := range fetched {
		outputs = append(outputs, outputC(output))
	}
	status, metadata := C.TF_NewStatus(), C.TF_NewBuffer()
	defer C.TF_DeleteStatus(status)
	defer C.TF_DeleteBuffer(metadata)
	run := C.TF_NewBuffer()
	defer C.TF_DeleteBuffer(run)
	data := C.CBytes(options)
	defer C.free(data)
	run.data, run.length = data, C.size_t(len(options))
	results := make([]*C.TF_Tensor, len(outputs))
	_ = startingThreads(func() error {
		C.TF_SessionRun((*C.TF_Session)(handle(s.session)), run,
			unsafe.SliceData(inputs), unsafe.SliceData(values), C.int(len(inputs)),
			unsafe.SliceData(outputs), unsafe.SliceData(results), C.int(len(outputs)),
			nil, 0, metadata, status)
		return nil
	})
	runtime.KeepAlive(fed)
	runtime.KeepAlive(s)
	for _, result := range results {
		if result != nil {
			C.TF_DeleteTensor(result)
		}
	}
	if C.TF_GetCode(status) != C.TF_OK {
		return nil, errors.New(C.GoString(C.TF_Message(status)))
	}
	var found configpb.RunMetadata
	return &found, proto.Unmarshal(C.GoBytes(metadata.data, C.int(metadata.length)), &found)
}

func outputC(o tf.Output) C.TF_Output {
	return C.TF_Output{oper: (*C.TF_Operation)(handle(o.Op)), index: C.int(o.Index)}
}

// handle returns the C object that one of graft's is, which it keeps to itself:
// it has no way to run a session with options.
func handle(of any) unsafe.Pointer {
	return reflect.ValueOf(of).Elem().FieldByName("c").UnsafePointer()
}

package tfgo

import (
	"os"

	"golang.org/x/sys/cpu"
)

// oneDNNVariable is TensorFlow's variable for its kernels that are oneDNN's: 0
// or 1. A program or user that sets it gets what they asked for.
const oneDNNVariable = "TF_ENABLE_ONEDNN_OPTS"

// preferOneDNN turns oneDNN on before the library is loaded. By itself TensorFlow
// uses it only on processors with AVX-512 VNNI or newer instructions (tsl's
// port.cc), though it is faster wherever there is AVX2: docs/log.md.
func preferOneDNN() {
	if _, set := os.LookupEnv(oneDNNVariable); !set && cpu.X86.HasAVX2 {
		os.Setenv(oneDNNVariable, "1")
	}
}

// OneDNN tells whether TensorFlow's kernels are oneDNN's, as far as this package
// and the user have a say.
func OneDNN() bool { return os.Getenv(oneDNNVariable) == "1" }

package tfgo

import (
	"os"
	"strings"

	"golang.org/x/sys/cpu"
)

// oneDNNVariable is TensorFlow's variable for its kernels that are oneDNN's: 0
// or 1, false or true. A program or user that sets it gets what they asked for.
const oneDNNVariable = "TF_ENABLE_ONEDNN_OPTS"

// preferOneDNN turns oneDNN on before the library is loaded. By itself TensorFlow
// uses it only on processors with AVX-512 VNNI or newer instructions (tsl's
// port.cc), though it is faster wherever there is AVX2: docs/log.md.
func preferOneDNN() {
	if _, said := askedOneDNN(); !said && cpu.X86.HasAVX2 {
		os.Setenv(oneDNNVariable, "1")
	}
}

// askedOneDNN reads the variable as TensorFlow does (tsl's env_var.cc). Other
// values say nothing.
func askedOneDNN() (on, said bool) {
	switch strings.ToLower(os.Getenv(oneDNNVariable)) {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// OneDNN tells whether TensorFlow's kernels are oneDNN's, as far as this package
// and the user have a say.
func OneDNN() bool {
	on, _ := askedOneDNN()
	return on
}

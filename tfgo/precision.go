package tfgo

import (
	"os"

	"golang.org/x/sys/cpu"
)

// Precision is a floating-point format of computations.
type Precision string

// The precisions that Options takes.
const (
	Float32  Precision = "float32"
	TF32     Precision = "tf32"     // of GPUs: float32 whose products have 10 bits of fraction; float32 on a CPU
	BFloat16 Precision = "bfloat16" // see FastestPrecision
	Float16  Precision = "float16"  // of MeasurePeak and of exported models: no session converts to it
)

// Precisions lists those that sessions compute in.
var Precisions = []Precision{Float32, TF32, BFloat16}

// FastestPrecision chooses by what computes, and says why. On a CPU bfloat16 is
// faster where there are instructions for it, and slower where there are none.
func FastestPrecision(t Target) (chosen Precision, why string) {
	if t.findsGPU() {
		return TF32, "GPUs multiply float32 faster so, where they can (compute capability 8.0 or more)"
	}
	return fastest(cpu.X86.HasAMXBF16, cpu.X86.HasAVX512BF16, os.Getenv(oneDNNVariable))
}

func fastest(amx, avx512 bool, oneDNN string) (Precision, string) {
	switch {
	case oneDNN == "0":
		return Float32, oneDNNVariable + "=0 turns off what computes bfloat16 fast"
	case amx:
		return BFloat16, "this processor has instructions for it (amx_bf16)"
	case avx512:
		return BFloat16, "this processor has instructions for it (avx512_bf16)"
	default:
		return Float32, "this processor has no instructions for bfloat16 (amx_bf16, avx512_bf16)"
	}
}

package tfgo

import (
	"strings"
	"testing"
)

func TestFastestPrecision(t *testing.T) {
	for _, test := range []struct {
		amx, avx512 bool
		oneDNN      string
		want        Precision
		why         string
	}{
		{false, false, "", Float32, "no instructions"},
		{false, true, "", BFloat16, "(avx512_bf16)"},
		{true, true, "1", BFloat16, "(amx_bf16)"},
		{true, true, "0", Float32, "TF_ENABLE_ONEDNN_OPTS=0"},
	} {
		got, why := fastest(test.amx, test.avx512, test.oneDNN)
		if got != test.want || !strings.Contains(why, test.why) {
			t.Errorf("%+v: %s, %s", test, got, why)
		}
	}
}

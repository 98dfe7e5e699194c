package tfgo

import (
	"testing"

	"golang.org/x/sys/cpu"
)

func TestOneDNNIsOnUnlessTheUserSaysOtherwise(t *testing.T) {
	for _, test := range []struct {
		value string
		want  bool
	}{
		{"0", false}, {"false", false}, {"False", false},
		{"1", true}, {"true", true},
		{"", cpu.X86.HasAVX2}, {"yes", cpu.X86.HasAVX2}, // neither, for TensorFlow
	} {
		t.Setenv(oneDNNVariable, test.value)
		preferOneDNN()
		if OneDNN() != test.want {
			t.Errorf("%s=%q: OneDNN() = %t", oneDNNVariable, test.value, OneDNN())
		}
	}
}

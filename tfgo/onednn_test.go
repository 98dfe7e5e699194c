package tfgo

import (
	"os"
	"testing"

	"golang.org/x/sys/cpu"
)

func TestOneDNNIsOnUnlessTheUserSaysOtherwise(t *testing.T) {
	t.Setenv(oneDNNVariable, "0") // put back afterwards
	preferOneDNN()
	if OneDNN() {
		t.Error("it was turned on against the user's word")
	}
	os.Unsetenv(oneDNNVariable)
	preferOneDNN()
	if OneDNN() != cpu.X86.HasAVX2 {
		t.Errorf("OneDNN() = %t on a processor with AVX2: %t", OneDNN(), cpu.X86.HasAVX2)
	}
}

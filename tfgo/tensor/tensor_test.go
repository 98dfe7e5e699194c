package tensor_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/tfgo/tensor"
)

func Example() {
	images, err := tensor.Of(make([]uint8, 2*32*32*3), 2, 32, 32, 3)
	if err != nil {
		panic(err)
	}
	loss, err := tensor.Item[float32](tensor.Scalar(float32(0.5)))
	fmt.Println(images.DType(), images.Shape(), loss, err)
	// Output: uint8 [2 32 32 3] 0.5 <nil>
}

func TestValuesAreWhatWasPutIn(t *testing.T) {
	check(t, []uint8{1, 2, 255})
	check(t, []int32{-1, 2, 3})
	check(t, []int64{-1, 1 << 62, 3})
	check(t, []float32{0.5, -1, 3})
	check(t, []float64{0.5, -1, 3})
	check(t, []bool{true, false, true})
}

func check[T tensor.Element](t *testing.T, want []T) {
	t.Helper()
	x, err := tensor.Of(want, len(want))
	if err != nil {
		t.Fatal(err)
	}
	// Through bytes, as tensors come back from TensorFlow.
	y, err := tensor.FromBytes(x.DType(), x.Bytes(), x.Shape()...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tensor.Values[T](y)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", x.DType(), diff)
	}
	if size := x.DType().Size() * len(want); len(x.Bytes()) != size {
		t.Errorf("%s: %d bytes, want %d", x.DType(), len(x.Bytes()), size)
	}
}

func TestOfRefusesShapesThatDoNotFit(t *testing.T) {
	for _, shape := range [][]int{{1 << 62, 4}, {1 << 32, 1 << 32}, {2}, {4}, {2, 2}, {-1}, {3, -1}, {0}, {}} {
		if _, err := tensor.Of(make([]float32, 3), shape...); err == nil {
			t.Errorf("3 elements fit shape %v", shape)
		}
	}
	if _, err := tensor.FromBytes(tensor.Float32, make([]byte, 6), 2); err == nil {
		t.Error("6 bytes fit float32 [2]")
	}
	if _, err := tensor.FromBytes(tensor.String, nil, 0); err == nil {
		t.Error("a string tensor was made of bytes")
	}
}

func TestValuesRefusesAnotherType(t *testing.T) {
	if _, err := tensor.Values[float32](tensor.Scalar(int64(1))); err == nil {
		t.Error("int64 was read as float32")
	}
	if _, err := tensor.Item[float32](tensor.Tensor{}); err == nil {
		t.Error("nothing was read as float32")
	}
	pair, _ := tensor.Of([]int64{1, 2}, 2)
	if _, err := tensor.Item[int64](pair); err == nil {
		t.Error("two elements were read as one")
	}
}

func TestOfCopiesTheShapeButNotTheData(t *testing.T) {
	data, shape := []int64{1, 2}, []int{2}
	x, err := tensor.Of(data, shape...)
	if err != nil {
		t.Fatal(err)
	}
	data[0], shape[0] = 7, 9
	if got, _ := tensor.Values[int64](x); got[0] != 7 || x.Shape()[0] != 2 {
		t.Errorf("values %v, shape %v", got, x.Shape())
	}
}

func TestSpecCheck(t *testing.T) {
	images := tensor.Spec{Name: "images", DType: tensor.Uint8, Shape: []int{tensor.AnySize, 2, 3}}
	make3 := func(shape ...int) tensor.Tensor {
		size := 1
		for _, dim := range shape {
			size *= dim
		}
		x, err := tensor.Of(make([]uint8, size), shape...)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, good := range []tensor.Tensor{make3(1, 2, 3), make3(64, 2, 3), make3(0, 2, 3)} {
		if err := images.Check(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []tensor.Tensor{make3(1, 3, 2), make3(2, 3), make3(1, 2, 3, 1), tensor.Scalar(uint8(1)), tensor.Scalar(float32(1)), {}} {
		err := images.Check(bad)
		if err == nil || !strings.Contains(err.Error(), `"images" must be uint8 [N,2,3], not `) {
			t.Errorf("Check(%s %v) = %v", bad.DType(), bad.Shape(), err)
		}
	}
	anything := tensor.Spec{Name: "x", DType: tensor.Uint8, AnyRank: true}
	if err := anything.Check(make3(1, 1, 1, 1)); err != nil {
		t.Error(err)
	}
	if got, want := anything.String(), "x uint8 of any shape"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestDTypeNames(t *testing.T) {
	for dtype, want := range map[tensor.DType]string{
		tensor.Float32: "float32", tensor.BFloat16: "bfloat16", tensor.String: "string", tensor.DType(99): "dtype(99)",
	} {
		if got := dtype.String(); got != want {
			t.Errorf("%d is called %q, want %q", int(dtype), got, want)
		}
	}
}

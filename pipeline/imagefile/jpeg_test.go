package imagefile

import (
	"bytes"
	"image"
	"testing"
)

// Worked by hand from libjpeg-turbo's jdsample.c.
func TestChromaIsUpsampledAsInLibjpeg(t *testing.T) {
	rows := func(ratio image.YCbCrSubsampleRatio, width, height int, chroma ...byte) [][]byte {
		img := image.NewYCbCr(image.Rect(0, 0, width, height), ratio)
		copy(img.Cb, chroma)
		u := newUpsampler(img, img.Cb)
		var rows [][]byte
		for y := range height {
			rows = append(rows, bytes.Clone(u.row(y)[:width]))
		}
		return rows
	}
	for _, test := range []struct {
		name      string
		got, want [][]byte
	}{
		{"4:4:4 as it is", rows(image.YCbCrSubsampleRatio444, 3, 1, 1, 2, 3), [][]byte{{1, 2, 3}}},
		{"4:2:2 rounds down and up in turn", rows(image.YCbCrSubsampleRatio422, 6, 1, 10, 20, 30),
			[][]byte{{10, 13, 17, 23, 27, 30}}},
		{"4:2:2 of odd width", rows(image.YCbCrSubsampleRatio422, 5, 1, 10, 20, 30), [][]byte{{10, 13, 17, 23, 27}}},
		{"4:2:2 of two columns repeats", rows(image.YCbCrSubsampleRatio422, 4, 1, 10, 20), [][]byte{{10, 10, 20, 20}}},
		{"4:4:0 between rows", rows(image.YCbCrSubsampleRatio440, 1, 4, 10, 20), [][]byte{{10}, {13}, {17}, {20}}},
		{"4:2:0 in both directions", rows(image.YCbCrSubsampleRatio420, 6, 4, 10, 20, 30, 50, 60, 70),
			[][]byte{{10, 12, 18, 22, 28, 30}, {20, 22, 28, 32, 38, 40}, {40, 42, 48, 52, 58, 60}, {50, 52, 58, 62, 68, 70}}},
		{"4:2:0 of two columns repeats", rows(image.YCbCrSubsampleRatio420, 4, 4, 10, 20, 50, 60),
			[][]byte{{10, 10, 20, 20}, {10, 10, 20, 20}, {50, 50, 60, 60}, {50, 50, 60, 60}}},
		{"4:1:1 repeats", rows(image.YCbCrSubsampleRatio411, 8, 1, 10, 20), [][]byte{{10, 10, 10, 10, 20, 20, 20, 20}}},
		{"4:1:0 repeats", rows(image.YCbCrSubsampleRatio410, 5, 3, 10, 20, 30, 40),
			[][]byte{{10, 10, 10, 10, 20}, {10, 10, 10, 10, 20}, {30, 30, 30, 30, 40}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for y := range test.want {
				if !bytes.Equal(test.got[y], test.want[y]) {
					t.Errorf("row %d is %v, want %v", y, test.got[y], test.want[y])
				}
			}
		})
	}
}

func TestYCCToRGB(t *testing.T) {
	for _, test := range []struct {
		ycc, rgb [3]byte
	}{
		{[3]byte{0, 128, 128}, [3]byte{0, 0, 0}},
		{[3]byte{255, 128, 128}, [3]byte{255, 255, 255}},
		{[3]byte{76, 85, 255}, [3]byte{254, 0, 0}},
		{[3]byte{150, 44, 21}, [3]byte{0, 255, 1}},
		{[3]byte{29, 255, 107}, [3]byte{0, 0, 254}},
		{[3]byte{100, 0, 255}, [3]byte{255, 53, 0}},
	} {
		var dst [4]byte
		yccToRGB(dst[:], test.ycc[:1], test.ycc[1:2], test.ycc[2:])
		if [3]byte(dst[:3]) != test.rgb || dst[3] != 255 {
			t.Errorf("YCbCr %v is %v, want %v", test.ycc, dst[:3], test.rgb)
		}
	}
}

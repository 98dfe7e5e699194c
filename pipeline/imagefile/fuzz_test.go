package imagefile_test

import (
	"bytes"
	"image"
	"image/color"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

func FuzzDecode(f *testing.F) {
	grey := image.NewGray(image.Rect(0, 0, 9, 5))
	palette := image.NewPaletted(image.Rect(0, 0, 9, 5), color.Palette{color.Black, color.NRGBA{200, 100, 50, 128}})
	for _, img := range []image.Image{waves(9, 5), waves(1, 1), grey, palette, image.NewNRGBA64(image.Rect(0, 0, 3, 3))} {
		f.Add(asPNG(img))
		f.Add(asJPEG(img))
	}
	f.Add(pngHeader(1<<31-1, 1<<31-1))
	f.Add([]byte("\xff\xd8\xff\xd9"))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, _, err := image.DecodeConfig(bytes.NewReader(data))
		if err == nil && config.Width*config.Height > 1<<20 && config.Width*config.Height <= imagefile.MaxPixels {
			t.Skip("large images only make fuzzing slow")
		}
		img, err := imagefile.Decode(data)
		if err != nil {
			return
		}
		if !img.Opaque() || img.Rect.Empty() || img.Rect.Min != (image.Point{}) {
			t.Errorf("decoded as %v, opaque %v", img.Rect, img.Opaque())
		}
		shape := imagefile.Shape{Height: 8, Width: 8, Channels: 3}
		if err := imagefile.Fit(img, shape, make([]byte, shape.Size())); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkDecodeCIFAR(b *testing.B) { benchmarkDecode(b, asJPEG(waves(32, 32)), 32, 32) }
func BenchmarkDecodePhoto(b *testing.B) { benchmarkDecode(b, asJPEG(waves(1024, 768)), 1024, 768) }
func BenchmarkDecodePNG(b *testing.B)   { benchmarkDecode(b, asPNG(waves(1024, 768)), 1024, 768) }

func benchmarkDecode(b *testing.B, data []byte, width, height int) {
	b.SetBytes(int64(3 * width * height))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := imagefile.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFit(b *testing.B) {
	img, shape := waves(500, 375), imagefile.Shape{Height: 224, Width: 224, Channels: 3}
	pixels := make([]byte, shape.Size())
	b.ReportAllocs()
	for b.Loop() {
		if err := imagefile.Fit(img, shape, pixels); err != nil {
			b.Fatal(err)
		}
	}
}

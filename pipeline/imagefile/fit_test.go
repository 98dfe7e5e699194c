package imagefile_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// halves is red left and blue right, or red above and blue below.
func halves(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	red, blue := img.Rect, img.Rect
	if width > height {
		red.Max.X, blue.Min.X = width/2, width/2
	} else {
		red.Max.Y, blue.Min.Y = height/2, height/2
	}
	draw.Draw(img, red, image.NewUniform(color.NRGBA{R: 255, A: 255}), image.Point{}, draw.Src)
	draw.Draw(img, blue, image.NewUniform(color.NRGBA{B: 255, A: 255}), image.Point{}, draw.Src)
	return img
}

func TestFitTakesTheMiddleOfEverySize(t *testing.T) {
	for _, size := range []image.Point{{64, 32}, {32, 64}, {100, 40}, {2000, 10}, {10, 2000}, {1, 100_000}, {5_000_000, 1}, {2, 1}, {8, 4}} {
		for _, shape := range []imagefile.Shape{{32, 32, 3}, {16, 24, 3}, {224, 224, 3}} {
			t.Run(fmt.Sprintf("%v to %v", size, shape), func(t *testing.T) {
				pixels := make([]byte, shape.Size())
				if err := imagefile.Fit(halves(size.X, size.Y), shape, pixels); err != nil {
					t.Fatal(err)
				}
				first, last := pixels[:3], pixels[len(pixels)-3:]
				if first[0] < 200 || first[2] > 50 || last[0] > 50 || last[2] < 200 {
					t.Errorf("the corners are %v and %v, want red and blue", first, last)
				}
				red := 0
				for i := 0; i < len(pixels); i += 3 {
					red += int(pixels[i])
				}
				if share := float64(red) / 255 / float64(shape.Height*shape.Width); share < 0.47 || share > 0.53 {
					t.Errorf("%.0f %% is red, want half", 100*share)
				}
			})
		}
	}
}

func TestFitCopiesAnImageOfTheRightSize(t *testing.T) {
	img := waves(32, 24)
	inside := image.NewNRGBA(image.Rect(0, 0, 40, 40))
	draw.Draw(inside, image.Rect(5, 6, 37, 30), img, image.Point{}, draw.Src)
	part := inside.SubImage(image.Rect(5, 6, 37, 30)).(*image.NRGBA)
	shape := imagefile.Shape{Height: 24, Width: 32, Channels: 3}
	for name, img := range map[string]*image.NRGBA{"whole": img, "part of a larger one": part} {
		pixels := make([]byte, shape.Size())
		if err := imagefile.Fit(img, shape, pixels); err != nil {
			t.Fatal(err)
		}
		for y := range 24 {
			for x := range 32 {
				want := waves(32, 24).NRGBAAt(x, y)
				if got := pixels[3*(32*y+x):][:3]; !bytes.Equal(got, []byte{want.R, want.G, want.B}) {
					t.Fatalf("%s: pixel %d,%d is %v, want %v", name, x, y, got, want)
				}
			}
		}
	}
}

// Without a filter that widens, every second column would vanish.
func TestFitDoesNotAlias(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 128, 128))
	for i := range img.Pix {
		img.Pix[i] = 255 * byte(i/4%2)
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	shape := imagefile.Shape{Height: 32, Width: 32, Channels: 3}
	pixels := make([]byte, shape.Size())
	if err := imagefile.Fit(img, shape, pixels); err != nil {
		t.Fatal(err)
	}
	for i, v := range pixels {
		if v < 100 || v > 155 {
			t.Fatalf("byte %d of shrunken black and white stripes is %d, want grey", i, v)
		}
	}
}

func TestFitRefuses(t *testing.T) {
	shape := imagefile.Shape{Height: 4, Width: 4, Channels: 3}
	for name, err := range map[string]error{
		"too little room": imagefile.Fit(waves(4, 4), shape, make([]byte, 47)),
		"grey models":     imagefile.Fit(waves(4, 4), imagefile.Shape{Height: 4, Width: 4, Channels: 1}, make([]byte, 16)),
		"empty images":    imagefile.Fit(waves(0, 0), shape, make([]byte, 48)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

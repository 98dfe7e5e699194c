package imagefile

import (
	"fmt"
	"image"

	"github.com/disintegration/imaging"
)

// The names of Fit's rule, as a model's residual.json records them.
const (
	Rule          = "shorter-side-centre-crop"
	Interpolation = "linear"
)

// maxAspect is the longest strip that Fit scales whole. The ends of a longer
// one are never seen, but scaling a 1x10,000,000 image to a height of 224
// would take gigabytes.
const maxAspect = 16

// Fit brings an image to a model's shape in row-major RGB bytes: the shorter
// side is scaled to the shape's, rounding the longer one down, then the middle
// is cut out. An image that has the shape's size is copied as it is.
func Fit(img *image.NRGBA, shape Shape, dst []byte) error {
	if err := shape.Check(); err != nil {
		return err
	}
	if len(dst) != shape.Size() {
		return fmt.Errorf("fit image: %s needs %d bytes, there is room for %d", shape, shape.Size(), len(dst))
	}
	if img.Rect.Empty() {
		return fmt.Errorf("fit image: it has %dx%d pixels", img.Rect.Dx(), img.Rect.Dy())
	}
	if img.Rect.Dx() != shape.Width || img.Rect.Dy() != shape.Height {
		img = trimStrip(img, shape)
		size := cover(img.Rect.Size(), shape)
		img = imaging.Resize(img, size.X, size.Y, imaging.Linear)
	}
	copyRGB(dst, cutMiddle(img, shape.Width, shape.Height))
	return nil
}

// cover returns the smallest size of from's proportions that holds the shape.
func cover(from image.Point, shape Shape) image.Point {
	// In 64 bits: sides reach 64 Mi and shapes several thousand.
	w, h := int64(from.X), int64(from.Y)
	width, height := int64(shape.Width), int64(shape.Height)
	if w*height > h*width {
		return image.Pt(int(max(width, w*height/h)), shape.Height)
	}
	return image.Pt(shape.Width, int(max(height, h*width/w)))
}

// trimStrip cuts the ends off an image that is maxAspect times too long.
func trimStrip(img *image.NRGBA, shape Shape) *image.NRGBA {
	size := img.Rect.Size()
	longest := image.Pt(
		max(1, maxAspect*size.Y*shape.Width/shape.Height),
		max(1, maxAspect*size.X*shape.Height/shape.Width),
	)
	return cutMiddle(img, min(size.X, longest.X), min(size.Y, longest.Y))
}

// cutMiddle returns the middle of an image, sharing its pixels.
func cutMiddle(img *image.NRGBA, width, height int) *image.NRGBA {
	corner := img.Rect.Min.Add(image.Pt((img.Rect.Dx()-width)/2, (img.Rect.Dy()-height)/2))
	return img.SubImage(image.Rectangle{Min: corner, Max: corner.Add(image.Pt(width, height))}).(*image.NRGBA)
}

func copyRGB(dst []byte, img *image.NRGBA) {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	for y := range height {
		from := img.Pix[y*img.Stride:][:4*width]
		to := dst[y*3*width:][:3*width]
		for len(to) >= 3 && len(from) >= 4 {
			to[0], to[1], to[2] = from[0], from[1], from[2]
			to, from = to[3:], from[4:]
		}
	}
}

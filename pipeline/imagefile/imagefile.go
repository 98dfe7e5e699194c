// Package imagefile turns JPEG and PNG files into a model's RGB bytes.
//
// # Basics
//
// Read decodes a file, Fit brings it to the size that a model takes:
//
//	img, err := imagefile.Read("cat.jpg")
//	pixels := make([]byte, shape.Size())
//	err = imagefile.Fit(img, shape, pixels)
//
// There is one rule for every size: the shorter side is scaled to the model's,
// the middle is cut out, and linear interpolation is used, widened when an
// image shrinks so that nothing aliases. A model's residual.json records it
// under the names Rule and Interpolation.
//
// # Caveats
//
// JPEG comes out as libjpeg, hence Pillow and Keras, decodes it: chroma that
// was stored at half size is interpolated, where Go's own conversion repeats
// it. Pixels are within 4 levels of Pillow's. Only in YCCK files is subsampled
// chroma repeated, and CMYK files without Adobe's marker are refused.
//
// Transparency is dropped, not blended, as Pillow's convert("RGB") does; 16
// bits are cut to the upper 8, where Pillow clips grey ones to white. The
// orientation that a camera notes in EXIF is not applied, as in Keras.
package imagefile

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"strings"
)

// MaxPixels is the largest image that is decoded: 64 megapixels. A file of a
// few kilobytes can announce more than a machine's memory.
const MaxPixels = 64_000_000

// Shape is the size of a model's input image.
type Shape struct {
	Height, Width int
	Channels      int // 3, red green blue
}

// String returns the shape as people write it: 32x32x3.
func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.Height, s.Width, s.Channels) }

// Size returns the bytes of one image.
func (s Shape) Size() int { return s.Height * s.Width * s.Channels }

// Check returns an error if no image can be brought to the shape.
func (s Shape) Check() error {
	switch {
	case s.Channels != 3:
		return fmt.Errorf("image shape %s: %d channels are not supported, only 3 (red, green, blue)", s, s.Channels)
	case s.Height < 1 || s.Width < 1:
		return fmt.Errorf("image shape %s: height and width must be at least 1", s)
	case s.Height > MaxPixels/s.Width:
		return fmt.Errorf("image shape %s: more than %d megapixels", s, MaxPixels/1_000_000)
	}
	return nil
}

// ToImage copies row-major RGB bytes into an image.
func ToImage(pixels []byte, shape Shape) (*image.NRGBA, error) {
	if err := shape.Check(); err != nil {
		return nil, err
	}
	if len(pixels) != shape.Size() {
		return nil, fmt.Errorf("make image: %s needs %d bytes, there are %d", shape, shape.Size(), len(pixels))
	}
	img := image.NewNRGBA(image.Rect(0, 0, shape.Width, shape.Height))
	for from, to := 0, 0; from < len(pixels); from, to = from+3, to+4 {
		copy(img.Pix[to:], pixels[from:from+3])
		img.Pix[to+3] = 255
	}
	return img, nil
}

// Decode reads a JPEG or PNG image, told apart by its first bytes. Every pixel
// of the result is opaque.
func Decode(data []byte) (*image.NRGBA, error) {
	img, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	return img, nil
}

func decode(data []byte) (*image.NRGBA, error) {
	k, _, err := header(data)
	if err != nil {
		return nil, err
	}
	return k.pixels(data)
}

// header looks at what an image says of itself, which is all it takes to refuse a
// bomb.
func header(data []byte) (kind, image.Point, error) {
	k, err := kindOf(data)
	if err != nil {
		return kind{}, image.Point{}, err
	}
	size, err := k.size(bytes.NewReader(data))
	return k, size, err
}

// pixels decodes an image whose header has been looked at.
func (k kind) pixels(data []byte) (*image.NRGBA, error) {
	img, err := k.decode(bytes.NewReader(data))
	if err != nil {
		return nil, k.explain(err)
	}
	return opaque(img)
}

// ErrTooLarge is in the chain of the error about an image that has more pixels than
// are decoded.
var ErrTooLarge = errors.New("the image is too large")

const (
	plausiblePixels = 4_000_000 // of an image, however short its file is
	pixelsForAByte  = 100       // beyond
	mostScans       = 100       // of a progressive JPEG; ten are usual
)

// DecodeAtMost is Decode for images of at most so many pixels that come from anybody.
// An image takes 4 to 12 bytes a pixel; its header is looked at before. Beyond 4
// million pixels it must have a byte for each hundred, as photographs have and
// files do not that were made to take memory.
func DecodeAtMost(data []byte, pixels int) (*image.NRGBA, error) {
	img, err := decodeAtMost(data, pixels)
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	return img, nil
}

func decodeAtMost(data []byte, pixels int) (*image.NRGBA, error) {
	k, size, err := header(data)
	if err != nil {
		return nil, err
	}
	switch area := size.X * size.Y; { // below MaxPixels
	case k.name == jpegName && bytes.Count(data, startOfScan) > mostScans:
		return nil, fmt.Errorf("it has more than %d scans, each of which takes the time of an image", mostScans)
	case area > pixels:
		return nil, fmt.Errorf("%w: it has %dx%d pixels, at most %d are decoded", ErrTooLarge, size.X, size.Y, pixels)
	case area > plausiblePixels && area/pixelsForAByte > len(data):
		return nil, fmt.Errorf("%w: it has %dx%d pixels in %d bytes, which is no photograph", ErrTooLarge, size.X, size.Y, len(data))
	}
	return k.pixels(data)
}

// startOfScan is a JPEG marker. In the data of a scan it cannot be: a byte 0xff is
// followed by 0 there (ITU-T T.81, B.1.1.5).
var startOfScan = []byte{0xff, 0xda}

// kind is a file format.
type kind struct {
	name   string
	magic  string
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

const jpegName = "JPEG"

var kinds = []kind{
	{jpegName, "\xff\xd8", jpeg.DecodeConfig, jpeg.Decode},
	{"PNG", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode},
}

// magicBytes is how much of a file kindOf wants to see.
const magicBytes = 16

func kindOf(data []byte) (kind, error) {
	if len(data) == 0 {
		return kind{}, errors.New("it is empty")
	}
	for _, k := range kinds {
		if strings.HasPrefix(string(data[:min(len(data), magicBytes)]), k.magic) {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("it is not a JPEG or PNG image: it begins with %q", data[:min(len(data), magicBytes)])
}

// size reads the header, which is all it takes to refuse a bomb.
func (k kind) size(r io.Reader) (image.Point, error) {
	config, err := k.config(r)
	if err != nil {
		return image.Point{}, k.explain(err)
	}
	switch {
	case config.Width < 1 || config.Height < 1:
		return image.Point{}, fmt.Errorf("its %s header says %dx%d pixels", k.name, config.Width, config.Height)
	case config.Width > MaxPixels/config.Height:
		return image.Point{}, fmt.Errorf("%w: it has %dx%d pixels, more than %d megapixels", ErrTooLarge, config.Width, config.Height, MaxPixels/1_000_000)
	}
	return image.Pt(config.Width, config.Height), nil
}

// explain says of a decoder's error whether the file was cut short.
func (k kind) explain(err error) error {
	// Both decoders also have errors of their own for an early end.
	short := err == jpeg.FormatError("short Huffman data") || err == png.FormatError("not enough pixel data")
	if short || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("its %s data is cut short: %w", k.name, err)
	}
	return fmt.Errorf("its %s data is corrupt or not supported: %w", k.name, err)
}

package imagefile

import (
	"fmt"
	"image"
	"image/color"
)

// opaque converts what image/jpeg and image/png return, as Pillow's
// convert("RGB") would. Only 16-bit grey is not clipped, which in Pillow turns
// nearly all of such an image white.
func opaque(img image.Image) (*image.NRGBA, error) {
	switch img := img.(type) {
	case *image.YCbCr:
		return fromYCbCr(img), nil
	case *image.CMYK:
		return convert(img.Rect, img.Pix, img.Stride, 4, cmykToRGB), nil
	case *image.Gray:
		return convert(img.Rect, img.Pix, img.Stride, 1, func(to, from []byte) {
			to[0], to[1], to[2] = from[0], from[0], from[0]
		}), nil
	case *image.Gray16:
		return convert(img.Rect, img.Pix, img.Stride, 2, func(to, from []byte) {
			to[0], to[1], to[2] = from[0], from[0], from[0]
		}), nil
	case *image.RGBA: // without alpha, so nothing is premultiplied
		return convert(img.Rect, img.Pix, img.Stride, 4, func(to, from []byte) { copy(to, from[:3]) }), nil
	case *image.NRGBA:
		return convert(img.Rect, img.Pix, img.Stride, 4, func(to, from []byte) { copy(to, from[:3]) }), nil
	case *image.RGBA64:
		return convert(img.Rect, img.Pix, img.Stride, 8, highBytes), nil
	case *image.NRGBA64:
		return convert(img.Rect, img.Pix, img.Stride, 8, highBytes), nil
	case *image.Paletted:
		palette := rgbPalette(img.Palette)
		return convert(img.Rect, img.Pix, img.Stride, 1, func(to, from []byte) { copy(to, palette[from[0]][:]) }), nil
	default:
		return nil, fmt.Errorf("its pixels are of a kind that is not supported: %T", img)
	}
}

// convert calls pixel for each pixel with 3 bytes to fill from size bytes.
func convert(rect image.Rectangle, pix []byte, stride, size int, pixel func(to, from []byte)) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, rect.Dx(), rect.Dy()))
	for y := range rect.Dy() {
		from := pix[y*stride:][:rect.Dx()*size]
		to := img.Pix[y*img.Stride:][:img.Stride]
		for len(from) > 0 {
			pixel(to[:3:3], from[:size:size])
			to[3] = 255
			from, to = from[size:], to[4:]
		}
	}
	return img
}

// highBytes reduces 16 bits to 8 by cutting, as Pillow and libpng do.
func highBytes(to, from []byte) { to[0], to[1], to[2] = from[0], from[2], from[4] }

func rgbPalette(palette color.Palette) [256][3]byte {
	var rgb [256][3]byte
	for i, entry := range palette {
		c := color.NRGBAModel.Convert(entry).(color.NRGBA)
		rgb[i] = [3]byte{c.R, c.G, c.B}
	}
	return rgb
}

// cmykToRGB is Pillow's cmyk2rgb.
func cmykToRGB(to, from []byte) {
	white := 255 - int(from[3])
	for i := range to {
		ink := int(from[i])*white + 128
		to[i] = byte(white - (ink+ink>>8)>>8)
	}
}

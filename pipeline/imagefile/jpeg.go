package imagefile

import "image"

// fromYCbCr converts a JPEG's planes as libjpeg-turbo does: the steps are those
// of jdsample.c and jdcolor.c with its default settings, down to the rounding.
func fromYCbCr(src *image.YCbCr) *image.NRGBA {
	width, height := src.Rect.Dx(), src.Rect.Dy()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	cb := newUpsampler(src, src.Cb)
	cr := newUpsampler(src, src.Cr)
	for y := range height {
		luma := src.Y[y*src.YStride:][:width]
		yccToRGB(img.Pix[y*img.Stride:][:4*width], luma, cb.row(y)[:width], cr.row(y)[:width])
	}
	return img
}

// yccTables are the products of jdcolor.c's build_ycc_rgb_table, in 16-bit
// fixed point; the green ones keep their fraction until they are added.
var yccTables = func() (t struct{ crRed, cbBlue, crGreen, cbGreen [256]int32 }) {
	const half = 1 << 15
	for i := range int32(256) {
		x := i - 128
		t.crRed[i] = (91881*x + half) >> 16   // 1.40200
		t.cbBlue[i] = (116130*x + half) >> 16 // 1.77200
		t.crGreen[i] = -46802 * x             // 0.71414
		t.cbGreen[i] = -22554*x + half        // 0.34414
	}
	return t
}()

func yccToRGB(dst, luma, cb, cr []byte) {
	for x, l := range luma {
		y, b, r := int32(l), cb[x], cr[x]
		pixel := dst[4*x:][:4]
		pixel[0] = clamp(y + yccTables.crRed[r])
		pixel[1] = clamp(y + (yccTables.cbGreen[b]+yccTables.crGreen[r])>>16)
		pixel[2] = clamp(y + yccTables.cbBlue[b])
		pixel[3] = 255
	}
}

func clamp(v int32) byte { return byte(max(0, min(v, 255))) }

// upsampler brings a chroma plane to the size of the image, row by row.
type upsampler struct {
	plane         []byte
	stride        int
	width, height int // of the plane's pixels that carry image
	ratioX        int
	ratioY        int
	wide          []byte // a row of the result
	sums          []int32
}

func newUpsampler(src *image.YCbCr, plane []byte) *upsampler {
	u := &upsampler{plane: plane, stride: src.CStride, ratioX: 1, ratioY: 1}
	switch src.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		u.ratioX = 2
	case image.YCbCrSubsampleRatio420:
		u.ratioX, u.ratioY = 2, 2
	case image.YCbCrSubsampleRatio440:
		u.ratioY = 2
	case image.YCbCrSubsampleRatio411:
		u.ratioX = 4
	case image.YCbCrSubsampleRatio410:
		u.ratioX, u.ratioY = 4, 2
	}
	u.width = (src.Rect.Dx() + u.ratioX - 1) / u.ratioX
	u.height = (src.Rect.Dy() + u.ratioY - 1) / u.ratioY
	u.wide = make([]byte, u.width*u.ratioX)
	u.sums = make([]int32, u.width)
	return u
}

// row returns row y of the result, which is good until the next call.
func (u *upsampler) row(y int) []byte {
	near := u.line(y / u.ratioY)
	// jdsample.c's conditions: a plane of one or two columns is repeated.
	switch narrow := u.width <= 2; {
	case u.ratioX == 1 && u.ratioY == 1:
		return near
	case u.ratioX == 1 && u.ratioY == 2:
		far, bias := u.farLine(y)
		blendRows(u.wide, near, far, bias)
	case u.ratioX == 2 && u.ratioY == 1 && !narrow:
		widen(u.wide, near)
	case u.ratioX == 2 && u.ratioY == 2 && !narrow:
		far, _ := u.farLine(y)
		widenBetween(u.wide, near, far, u.sums)
	default:
		repeat(u.wide, near, u.ratioX)
	}
	return u.wide
}

// line returns a row of the plane; those beyond the edge repeat the last one.
func (u *upsampler) line(y int) []byte {
	y = max(0, min(y, u.height-1))
	return u.plane[y*u.stride:][:u.width]
}

// farLine returns the second nearest row of a plane of half height, with the
// rounding that jdsample.c uses on that side.
func (u *upsampler) farLine(y int) ([]byte, int32) {
	if y%2 == 0 {
		return u.line(y/2 - 1), 1
	}
	return u.line(y/2 + 1), 2
}

// blendRows is h1v2_fancy_upsample: 3/4 of the nearer row, 1/4 of the further.
func blendRows(dst, near, far []byte, bias int32) {
	for x := range near {
		dst[x] = byte((3*int32(near[x]) + int32(far[x]) + bias) >> 2)
	}
}

// widen is h2v1_fancy_upsample: the same along a row of at least 3 pixels.
func widen(dst, src []byte) {
	last := len(src) - 1
	for x, v := range src {
		left, right := int32(src[max(x-1, 0)]), int32(src[min(x+1, last)])
		dst[2*x] = byte((3*int32(v) + left + 1) >> 2)
		dst[2*x+1] = byte((3*int32(v) + right + 2) >> 2)
	}
}

// widenBetween is h2v2_fancy_upsample: both, rounded once.
func widenBetween(dst, near, far []byte, sums []int32) {
	for x := range near {
		sums[x] = 3*int32(near[x]) + int32(far[x])
	}
	last := len(sums) - 1
	for x, v := range sums {
		left, right := sums[max(x-1, 0)], sums[min(x+1, last)]
		dst[2*x] = byte((3*v + left + 8) >> 4)
		dst[2*x+1] = byte((3*v + right + 7) >> 4)
	}
}

// repeat is h2v1_upsample, h2v2_upsample and int_upsample.
func repeat(dst, src []byte, times int) {
	for x := range dst {
		dst[x] = src[x/times]
	}
}

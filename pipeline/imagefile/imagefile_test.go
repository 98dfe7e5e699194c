package imagefile_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// waves draws a smooth coloured picture.
func waves(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{byte(255 * x / width), byte(255 * y / height), byte(128 + 127*(x-y)/(width+height)), 255})
		}
	}
	return img
}

func asJPEG(img image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func asPNG(img image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// pngHeader is a PNG file that ends after announcing its size.
func pngHeader(width, height uint32) []byte {
	chunk := append([]byte("IHDR"), 0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0)
	binary.BigEndian.PutUint32(chunk[4:], width)
	binary.BigEndian.PutUint32(chunk[8:], height)
	data := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), chunk...)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(chunk))
}

// jpegOfSize changes the size that a JPEG announces.
func jpegOfSize(data []byte, width, height uint16) []byte {
	data = bytes.Clone(data)
	frame := bytes.Index(data, []byte("\xff\xc0"))
	binary.BigEndian.PutUint16(data[frame+5:], height)
	binary.BigEndian.PutUint16(data[frame+7:], width)
	return data
}

func TestDecodeKeepsColours(t *testing.T) {
	drawn := waves(40, 30)
	for _, test := range []struct {
		name    string
		data    []byte
		largest int
	}{
		{"PNG", asPNG(drawn), 0},
		{"JPEG", asJPEG(drawn), 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			img, err := imagefile.Decode(test.data)
			if err != nil {
				t.Fatal(err)
			}
			var d difference
			d.add(rgb(t, img), rgb(t, drawn))
			if d.largest > test.largest {
				t.Errorf("the decoded image differs by %v", &d)
			}
		})
	}
}

func TestDecodeRefusesBadData(t *testing.T) {
	photo, drawing := asJPEG(waves(40, 30)), asPNG(waves(40, 30))
	broken := bytes.Clone(drawing)
	broken[len(broken)/2] ^= 0x55
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "it is empty"},
		{"text", []byte("hello, world"), `it is not a JPEG or PNG image: it begins with "hello, world"`},
		{"GIF", []byte("GIF89a\x01\x00\x01\x00"), "it is not a JPEG or PNG image"},
		{"TIFF, which imaging.Decode would take", []byte("II*\x00\x08\x00\x00\x00"), "it is not a JPEG or PNG image"},
		{"a JPEG's first bytes", photo[:2], "its JPEG data is cut short"},
		{"half a JPEG", photo[:len(photo)/2], "its JPEG data is cut short"},
		{"a JPEG without its end marker", photo[:len(photo)-2], "its JPEG data is cut short"},
		{"half a PNG", drawing[:len(drawing)/2], "its PNG data is cut short"},
		{"a PNG without its last chunk", drawing[:len(drawing)-12], "its PNG data is cut short"},
		{"a PNG with a flipped byte", broken, "its PNG data is corrupt"},
		{"a PNG of a row more than 64 megapixels", pngHeader(64_000, 1001), "it has 64000x1001 pixels, more than 64 megapixels"},
		{"a PNG whose pixels overflow", pngHeader(1<<31-1, 1<<31-1), "dimension overflow"},
		{"a PNG of 64 megapixels", pngHeader(64_000, 1000), "its PNG data is cut short"},
		{"a JPEG bomb", jpegOfSize(photo, 65535, 65535), "it has 65535x65535 pixels, more than 64 megapixels"},
		{"a JPEG without height", jpegOfSize(photo, 40, 0), "its JPEG header says 40x0 pixels"},
		{"an arithmetic-coded JPEG", bytes.Replace(photo, []byte("\xff\xc0"), []byte("\xff\xc9"), 1), "its JPEG data is corrupt or not supported"},
	} {
		t.Run(test.name, func(t *testing.T) {
			img, err := imagefile.Decode(test.data)
			if err == nil {
				t.Fatalf("decoded as %v", img.Rect)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
		})
	}
}

func TestDecodeRefusesEveryTruncation(t *testing.T) {
	for name, data := range map[string][]byte{"JPEG": asJPEG(waves(20, 20)), "PNG": asPNG(waves(20, 20))} {
		for n := range data {
			if _, err := imagefile.Decode(data[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes decode", name, n, len(data))
			}
		}
		if _, err := imagefile.Decode(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	photo := asJPEG(waves(40, 30))
	for _, test := range []struct{ name, path, want string }{
		{"a folder", dir, "it is a folder, not an image file"},
		{"no file", filepath.Join(dir, "none.jpg"), "no such file or directory"},
		{"an empty file", write("empty.png", nil), "it is empty"},
		{"a text file named .jpg", write("text.jpg", []byte("# Notes\n")), `it is not a JPEG or PNG image: it begins with "# Notes\n"`},
		{"a cut file", write("cut.jpg", photo[:len(photo)-100]), "its JPEG data is cut short"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := imagefile.Read(test.path)
			if err == nil {
				t.Fatal("no error")
			}
			want := fmt.Sprintf("read image %q: ", test.path)
			if !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q and %q", err, want, test.want)
			}
			if strings.Count(err.Error(), test.path) > 1 {
				t.Errorf("error %q names the file twice", err)
			}
		})
	}
}

func TestReadSizeNeedsOnlyTheHeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cut.jpg")
	photo := asJPEG(waves(40, 30))
	if err := os.WriteFile(path, photo[:len(photo)-100], 0o644); err != nil {
		t.Fatal(err)
	}
	size, err := imagefile.ReadSize(path)
	if err != nil || size != image.Pt(40, 30) {
		t.Errorf("size %v, error %v, want (40,30)", size, err)
	}
	if err := os.WriteFile(path, jpegOfSize(photo, 65535, 65535), 0o644); err != nil {
		t.Fatal(err)
	}
	if size, err := imagefile.ReadSize(path); err == nil {
		t.Errorf("the size of a bomb is %v, want an error", size)
	}
}

func TestReadDoesNotTakeInEndlessFiles(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip(err)
	}
	if _, err := imagefile.Read("/dev/zero"); err == nil || !strings.Contains(err.Error(), "not a JPEG or PNG") {
		t.Errorf("error %v, want one that it is no image", err)
	}
}

func TestToImageAndBack(t *testing.T) {
	shape := imagefile.Shape{Height: 5, Width: 7, Channels: 3}
	pixels := make([]byte, shape.Size())
	for i := range pixels {
		pixels[i] = byte(3 * i)
	}
	img, err := imagefile.ToImage(pixels, shape)
	if err != nil {
		t.Fatal(err)
	}
	if !img.Opaque() {
		t.Error("the image is not opaque")
	}
	if got := img.NRGBAAt(6, 4); got != (color.NRGBA{pixels[102], pixels[103], pixels[104], 255}) {
		t.Errorf("the last pixel is %v", got)
	}
	if !bytes.Equal(rgb(t, img), pixels) {
		t.Error("Fit does not give back the bytes of ToImage")
	}
	if _, err := imagefile.ToImage(pixels[1:], shape); err == nil {
		t.Error("too few bytes are no error")
	}
}

func TestShape(t *testing.T) {
	shape := imagefile.Shape{Height: 32, Width: 16, Channels: 3}
	if shape.String() != "32x16x3" || shape.Size() != 1536 {
		t.Errorf("%s has %d bytes", shape, shape.Size())
	}
	for _, test := range []struct {
		shape imagefile.Shape
		want  string
	}{
		{shape, ""},
		{imagefile.Shape{Height: 28, Width: 28, Channels: 1}, "1 channels are not supported"},
		{imagefile.Shape{Width: 28, Channels: 3}, "at least 1"},
		{imagefile.Shape{Height: 28, Width: -1, Channels: 3}, "at least 1"},
		{imagefile.Shape{Height: 1 << 40, Width: 1 << 40, Channels: 3}, "megapixels"},
	} {
		err := test.shape.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v: error %v, want %q", test.shape, err, test.want)
		}
	}
}

package cli_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"path/filepath"
	"strconv"
	"testing"
)

// picture draws an image in which no two places are alike.
func picture(width, height int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, color.NRGBA{uint8(x * 255 / width), uint8(y * 255 / height), uint8((x * y) % 251), 255})
		}
	}
	return img
}

func pngImage(t *testing.T, width, height int) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, picture(width, height)); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func jpegImage(t *testing.T, width, height int) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := jpeg.Encode(&file, picture(width, height), nil); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// pngBomb announces 100000x100000 pixels in a few bytes.
func pngBomb() []byte {
	header := binary.BigEndian.AppendUint32([]byte("IHDR"), 100_000)
	header = binary.BigEndian.AppendUint32(header, 100_000)
	header = append(header, 8, 2, 0, 0, 0) // 8 bits, RGB
	file := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), uint32(len(header)-4))
	file = append(file, header...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(header))
}

// jpegBomb announces 60000x60000 pixels: the size in the frame header of a
// small file is changed.
func jpegBomb(t *testing.T) []byte {
	t.Helper()
	file := jpegImage(t, 16, 16)
	frame := bytes.Index(file, []byte{0xff, 0xc0})
	if frame < 0 {
		t.Fatal("the JPEG has no baseline frame")
	}
	binary.BigEndian.PutUint16(file[frame+5:], 60_000)
	binary.BigEndian.PutUint16(file[frame+7:], 60_000)
	return file
}

// petFolders makes class folders for the model Pets, two images a class.
func petFolders(t *testing.T, dir string) string {
	t.Helper()
	for _, split := range []string{"train", "test"} {
		for _, class := range []string{"cat", "dog"} {
			for i := range 2 {
				write(t, filepath.Join(dir, split, class, strconv.Itoa(i)+".png"), pngImage(t, 16+i, 16))
			}
		}
	}
	return dir
}

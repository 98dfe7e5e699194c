package imagefile

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
)

// maxFileBytes bounds what Read takes into memory: MaxPixels of the widest
// format, PNG with four channels of 16 bits, uncompressed, twice over.
const maxFileBytes = 16 * MaxPixels

// Read decodes a JPEG or PNG file. Its errors name the file.
func Read(path string) (*image.NRGBA, error) {
	var img *image.NRGBA
	err := withFile(path, func(r *bufio.Reader, _ kind) error {
		data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
		if err != nil {
			return err
		}
		if len(data) > maxFileBytes {
			return fmt.Errorf("it is larger than %d MiB", maxFileBytes>>20)
		}
		img, err = decode(data)
		return err
	})
	return img, err
}

// ReadSize returns the width and height that a JPEG or PNG file announces. It
// reads only the header: the rest of the file may still be damaged.
func ReadSize(path string) (image.Point, error) {
	var size image.Point
	err := withFile(path, func(r *bufio.Reader, k kind) error {
		var err error
		size, err = k.size(r)
		return err
	})
	return size, err
}

// withFile opens a file that begins as an image does. Looking first keeps a
// folder full of videos from being read into memory.
func withFile(path string, use func(*bufio.Reader, kind) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read image %q: %w", path, withoutPath(err))
		}
	}()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("it is a folder, not an image file")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	head, err := r.Peek(magicBytes)
	if err != nil && err != io.EOF {
		return err
	}
	k, err := kindOf(head)
	if err != nil {
		return err
	}
	return use(r, k)
}

// withoutPath takes the path out of an os error, whose reader knows it already.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

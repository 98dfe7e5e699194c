package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// defaultTop is how many classes are answered if the request does not say.
const defaultTop = 5

// picture is an image file as it came.
type picture struct {
	Name string           `json:"name,omitempty"`
	Top  []pipeline.Guess `json:"top"` // best first
	data []byte
}

// classify answers what is on JPEG or PNG files: one as the body, or several as
// multipart/form-data. ?top=K is how many classes are answered.
func (s *Server) classify(x *exchange, r *http.Request, t target) error {
	top := defaultTop
	if text := r.URL.Query().Get("top"); text != "" {
		var err error
		if top, err = strconv.Atoi(text); err != nil || top < 1 {
			return errorf(ErrInput, "top must be a whole number of at least 1, not %q", text)
		}
	}
	body, err := s.bodyFor(x, r, t)
	if err != nil {
		return err
	}
	pictures, err := s.pictures(r.Header.Get("Content-Type"), body)
	if err != nil {
		return err
	}
	answer := struct {
		Model   string    `json:"model"`
		Version string    `json:"version"`
		Images  []picture `json:"images"`
	}{Images: pictures}
	err = s.use(x, t, func(v *version) error {
		answer.Model, answer.Version = v.Name, fmt.Sprint(v.Number)
		return s.name(r.Context(), v, pictures, top)
	})
	if err == nil {
		writeJSON(x, http.StatusOK, answer)
	}
	return err
}

// pictures takes a body apart.
func (s *Server) pictures(contentType string, body []byte) ([]picture, error) {
	kind, parameters, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && kind == "multipart/form-data":
		return s.parts(multipart.NewReader(bytes.NewReader(body), parameters["boundary"]))
	case kind == "application/json" || len(body) > 0 && body[0] == '{':
		return nil, errorf(ErrNotImplemented, "TensorFlow Serving's :classify wants tf.Examples, which this server does not read; send a JPEG or PNG file, or ask :predict")
	case len(body) == 0:
		return nil, errorf(ErrInput, "there is no image: send a JPEG or PNG file, or several as multipart/form-data")
	}
	return []picture{{data: body}}, nil
}

// parts reads the files of a form. Fields that are no files are overlooked.
func (s *Server) parts(form *multipart.Reader) ([]picture, error) {
	var pictures []picture
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errorf(ErrInput, "read form: %w", err)
		}
		if part.FileName() == "" && !strings.HasPrefix(part.Header.Get("Content-Type"), "image/") {
			continue
		}
		if len(pictures) == s.options.Limits.Images {
			s.metrics.reject("images")
			return nil, errorf(ErrInput, "at most %d images may be in a request", s.options.Limits.Images)
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, errorf(ErrInput, "read form: %w", err)
		}
		pictures = append(pictures, picture{Name: part.FileName(), data: data})
	}
	if len(pictures) == 0 {
		return nil, errorf(ErrInput, "there is no file in the form")
	}
	return pictures, nil
}

// name finds out what is on the pictures.
func (s *Server) name(ctx context.Context, v *version, pictures []picture, top int) error {
	if v.images == nil {
		return errorf(ErrInput, "%s does not classify images", v.Name)
	}
	size := v.images.Size()
	var pixels []byte // taken as the pictures are decoded
	left := pixelsOfRequest * s.options.Limits.Pixels
	for _, p := range pictures {
		pixels = append(pixels, make([]byte, size)...)
		area, err := s.decode(ctx, p.data, *v.images, pixels[len(pixels)-size:], left)
		if err != nil && p.Name != "" {
			return fmt.Errorf("%q: %w", p.Name, err)
		}
		if err != nil {
			return err
		}
		left -= area
	}
	images, err := tensor.Of(pixels, len(pictures), v.images.Height, v.images.Width, v.images.Channels)
	if err != nil {
		return err
	}
	outputs, err := s.call(ctx, v.batchers[pipeline.PredictSignature], tensors{pipeline.ImagesInput: images})
	if err != nil {
		return err
	}
	probabilities, err := pipeline.Probabilities(outputs, len(pictures))
	if err != nil {
		return err
	}
	for i, row := range probabilities {
		if pictures[i].Top, err = pipeline.Top(row, v.Classes, top); err != nil {
			return err
		}
	}
	return nil
}

// pixelsOfRequest is how many of the largest images a request's pictures may amount
// to.
const pixelsOfRequest = 8

// decode brings a picture of at most so many pixels to the model's size, and returns
// how many it had. Few are decoded at once: each takes memory for all its pixels.
func (s *Server) decode(ctx context.Context, data []byte, shape imagefile.Shape, pixels []byte, left int) (int, error) {
	select {
	case s.decoding <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-s.decoding }()
	img, err := imagefile.DecodeAtMost(data, min(left, s.options.Limits.Pixels))
	if err == nil {
		err = imagefile.Fit(img, shape, pixels)
	}
	switch {
	case errors.Is(err, imagefile.ErrTooLarge):
		s.metrics.reject("pixels")
		return 0, ofKind(errTooLarge, err)
	case err != nil:
		return 0, ofKind(ErrInput, err)
	}
	return img.Rect.Dx() * img.Rect.Dy(), nil
}

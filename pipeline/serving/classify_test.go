package serving_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/serving"
)

type classified struct {
	Model, Version string
	Images         []struct {
		Name string
		Top  []pipeline.Guess
	}
}

func classify(t *testing.T, s http.Handler, query string, body []byte, headers ...string) classified {
	t.Helper()
	got := send(s, http.MethodPost, "/v1/models/colors:classify"+query, body, headers...)
	var c classified
	if err := json.Unmarshal([]byte(got.body), &c); got.code != 200 || err != nil {
		t.Fatalf("%d, %v: %s", got.code, err, got.body)
	}
	return c
}

func TestClassifyOneImage(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	// The body is what it is, whatever its type is said to be.
	for _, contentType := range []string{"", "image/png", "application/octet-stream", "application/x-www-form-urlencoded", "nonsense;;"} {
		got := classify(t, s, "", picture(t, 40, 9, green), "Content-Type", contentType)
		want := []pipeline.Guess{{Class: "green", Probability: 1}, {Class: "red"}, {Class: "blue"}}
		if diff := cmp.Diff(want, got.Images[0].Top); diff != "" || len(got.Images) != 1 || got.Model != "colors" || got.Version != "1" {
			t.Errorf("%q: %+v\n%s", contentType, got, diff)
		}
	}
	if got := classify(t, s, "?top=1", picture(t, 4, 4, red)); len(got.Images[0].Top) != 1 {
		t.Errorf("the best one: %+v", got)
	}
	for _, top := range []string{"0", "-1", "x", "1.5"} {
		send(s, http.MethodPost, "/v1/models/colors:classify?top="+top, picture(t, 4, 4, red)).is(t, 400, "top must be a whole number")
	}
	send(s, http.MethodPost, "/v1/models/colors/versions/1:classify", picture(t, 4, 4, red)).is(t, 200, "red")
	send(s, http.MethodPost, "/v1/models/colors/versions/2:classify", picture(t, 4, 4, red)).is(t, 404, "Specific(colors, 2)")
}

// form makes multipart/form-data of files and a field that is none.
func form(t *testing.T, files ...[]byte) (body []byte, contentType string) {
	t.Helper()
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	if err := w.WriteField("comment", "hello"); err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		part, err := w.CreateFormFile("files", fmt.Sprintf("%d ü.png", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(file); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes(), w.FormDataContentType()
}

func TestClassifySeveralImages(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{Limits: serving.Limits{Images: 3}})
	body, contentType := form(t, picture(t, 4, 4, red), picture(t, 90, 70, green))
	got := classify(t, s, "?top=1", body, "Content-Type", contentType)
	if len(got.Images) != 2 || got.Images[0].Name != "0 ü.png" || got.Images[0].Top[0].Class != "red" || got.Images[1].Top[0].Class != "green" {
		t.Errorf("%+v", got)
	}
	refuse := func(text string, files ...[]byte) {
		t.Helper()
		body, contentType := form(t, files...)
		send(s, http.MethodPost, "/v1/models/colors:classify", body, "Content-Type", contentType).is(t, 400, text)
	}
	one := picture(t, 4, 4, red)
	refuse("there is no file in the form")
	refuse(`\"1 ü.png\"`, one, []byte("no picture"))
	refuse("at most 3 images", one, one, one, one)
	send(s, http.MethodPost, "/v1/models/colors:classify", body[:len(body)/2], "Content-Type", contentType).is(t, 400, "read form")
	send(s, http.MethodPost, "/v1/models/colors:classify", body, "Content-Type", "multipart/form-data").is(t, 400, "read form")
	// A part that says only what it is.
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"image/png"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(one); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := classify(t, s, "", text.Bytes(), "Content-Type", w.FormDataContentType()); got.Images[0].Name != "" {
		t.Errorf("%+v", got)
	}
}

// A model that is no classifier of images can still be asked for tensors.
func TestClassifyNeedsAClassifier(t *testing.T) {
	s, err := serving.New(&model{}, serving.Options{}) // images of one channel
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	send(s, http.MethodPost, "/v1/models/model:classify", picture(t, 4, 4, red)).is(t, 400, "does not classify images")
	send(s, http.MethodPost, "/v1/models/model:predict", []byte(`{"instances": [[[[7]]], [[[9]]]]}`)).is(t, 200, "[9.0]")
	if _, err := serving.New(&colors{}, serving.Options{Classes: []string{"red"}}); err == nil {
		t.Error("a model with more classes than names is served")
	}
	numbered, err := serving.New(&colors{}, serving.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer numbered.Close(t.Context())
	send(numbered, http.MethodPost, "/v1/models/model:classify", picture(t, 4, 4, green)).is(t, 200, `"class":"1","probability":1`)
}

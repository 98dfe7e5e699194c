package callback

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/plot"
)

func checkPicture(t *testing.T, path string) {
	t.Helper()
	if _, err := png.Decode(bytes.NewReader(readFile(t, path))); err != nil {
		t.Errorf("%s is no picture: %v", path, err)
	}
	path = strings.TrimSuffix(path, ".png") + ".svg"
	var picture struct{ XMLName xml.Name }
	if err := xml.Unmarshal(readFile(t, path), &picture); err != nil || picture.XMLName.Local != "svg" {
		t.Errorf("%s is no picture: %v", path, err)
	}
}

func TestCurveDrawsAfterTheFirstEpoch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plots", "training.png")
	c := &Curve{Path: path, Title: "resnet50"}
	s := script{epochs: 1, batches: 10, batchSize: 64, testBatches: 2, step: time.Second}
	if err := s.play(c, nil); err != nil {
		t.Fatal(err)
	}
	checkPicture(t, path)
	before, _ := os.Stat(path)
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("Close drew the same picture again")
	}
}

func TestCurveCloseDrawsARunThatEndedEarly(t *testing.T) {
	for _, runErr := range []error{nil, context.Canceled} {
		path := filepath.Join(t.TempDir(), "training.png")
		c := &Curve{Path: path}
		s := script{epochs: 1, batches: 10, batchSize: 64, step: time.Second, stopAfter: 5}
		if err := s.play(c, nil); !errors.Is(err, errScriptEnds) {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there was a picture within the epoch: %v", err)
		}
		if err := c.Close(runErr); err != nil {
			t.Fatal(err)
		}
		checkPicture(t, path)
	}
}

func TestCurveOfNoStepsIsNotDrawn(t *testing.T) {
	dir := t.TempDir()
	c := &Curve{Path: filepath.Join(dir, "plots", "training.png")}
	s := script{epochs: 1, batches: 10, stopAfter: 1}
	_ = s.play(c, nil)
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("there is %v", entries)
	}
}

func TestCurveIsAlwaysWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "training.png")
	c := &Curve{Path: path}
	done := make(chan struct{})
	var viewer sync.WaitGroup
	viewer.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			data, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				continue // not yet
			}
			time.Sleep(time.Millisecond)
			if _, err := png.DecodeConfig(bytes.NewReader(data)); err != nil || !bytes.HasSuffix(data, []byte("IEND\xaeB`\x82")) {
				t.Errorf("a viewer saw half a picture: %v", err)
				return
			}
		}
	})
	s := script{epochs: 2, batches: 20, batchSize: 64, step: time.Second}
	s.onEvent = func(pipeline.Event) { c.throttle = throttle{} } // draw after every epoch
	if err := s.play(c, nil); err != nil {
		t.Error(err)
	}
	close(done)
	viewer.Wait()
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("the pictures are %v", entries)
	}
}

func TestCurveNamesTheSVGAfterThePNG(t *testing.T) {
	for path, want := range map[string]string{
		"plots/training.png": "plots/training.svg",
		"training":           "training.svg",
		"run.1":              "run.1.svg",
		"training.svg":       "training.svg.svg", // not the file of the PNG
	} {
		if got := plot.SVG.Beside(path); got != want {
			t.Errorf("the SVG of %s is %s, want %s", path, got, want)
		}
	}
}

func TestCurveDoesNotSlowShortEpochsDown(t *testing.T) {
	c := &Curve{Path: filepath.Join(t.TempDir(), "training.png")}
	s := script{epochs: 200, batches: 5, batchSize: 64, step: time.Second}
	begun := time.Now()
	drawings, drawn := 0, 0
	s.onEvent = func(pipeline.Event) {
		if c.drawn != drawn {
			drawings, drawn = drawings+1, c.drawn
		}
	}
	if err := s.play(c, nil); err != nil {
		t.Fatal(err)
	}
	if most := 2 + int(time.Since(begun)/(10*time.Millisecond)); drawings == 0 || drawings > min(100, most) {
		t.Errorf("%d drawings in 200 epochs that took %v", drawings, time.Since(begun))
	}
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	if c.drawn != 200*5+200 {
		t.Errorf("the picture shows %d steps and epochs, want all", c.drawn)
	}
}

func TestCurveNamesTheFileThatItCannotWrite(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "occupied")
	if err := os.WriteFile(occupied, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := script{epochs: 1, batches: 2, batchSize: 8, step: time.Second}
	err := s.play(&Curve{Path: filepath.Join(occupied, "training.png")}, nil)
	if err == nil || !strings.Contains(err.Error(), occupied) {
		t.Errorf("with a file in the folder's place, Handle = %v, want an error that names it", err)
	}
	path := filepath.Join(t.TempDir(), "training.png")
	if err := os.Mkdir(path, 0o755); err != nil { // the last rename will fail
		t.Fatal(err)
	}
	err = s.play(&Curve{Path: path}, nil)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("with a folder in the file's place, Handle = %v, want an error that names it", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("half a picture is left: %v", entries)
	}
}

package callback

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/residual-go/residual/pipeline"
)

// logRecords reads a W&B log by the format's description, not by the writer's
// code.
func logRecords(t *testing.T, path string) [][]byte {
	t.Helper()
	data := readFile(t, path)
	if !bytes.HasPrefix(data, []byte(":W&B\xe1\xbe\x00")) {
		t.Fatalf("%s begins with %q", path, data[:min(7, len(data))])
	}
	var records [][]byte
	var open []byte
	inside := false
	for at := 7; at < len(data); {
		if left := 32768 - at%32768; left < 7 {
			if end := min(left, len(data)-at); len(bytes.Trim(data[at:at+end], "\x00")) > 0 {
				t.Fatalf("byte %d: no zeros at the end of a block", at)
			}
			at += left
			continue
		}
		length, kind := int(binary.LittleEndian.Uint16(data[at+4:])), data[at+6]
		part := data[at+7 : at+7+length]
		if sum := crc32.ChecksumIEEE(data[at+6 : at+7+length]); sum != binary.LittleEndian.Uint32(data[at:]) {
			t.Fatalf("byte %d: a wrong checksum", at)
		}
		if at/32768 != (at+7+length-1)/32768 {
			t.Fatalf("byte %d: a chunk crosses blocks", at)
		}
		if begins := kind == 1 || kind == 2; begins == inside {
			t.Fatalf("byte %d: a chunk of type %d, inside a record: %v", at, kind, inside)
		}
		open, inside = append(open, part...), kind == 2 || kind == 3
		if !inside {
			records, open = append(records, open), nil
		}
		at += 7 + length
	}
	if inside {
		t.Fatalf("%s ends inside a record", path)
	}
	return records
}

// Records of every length around the end of a block come back.
func TestWandbLogComesBack(t *testing.T) {
	for name, lengths := range map[string][]int{
		"empty ones":                 {0, 0, 0},
		"the first block is filled":  {32768 - 7 - 7, 1},
		"one byte is left":           {32768 - 7 - 7 - 1, 1},
		"six bytes are left":         {32768 - 7 - 7 - 6, 1},
		"room for a header alone":    {32768 - 7 - 7 - 7, 1, 0},
		"room for a header, empty":   {32768 - 7 - 7 - 7, 0, 1},
		"over three blocks":          {5, 90_000, 5},
		"to the end of the third":    {32761 - 7 + 2*32761, 1},
		"many that fit nowhere well": {9999, 9999, 9999, 9999, 9999, 40000, 1, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "run.wandb")
			l, err := newWandbLog(path)
			if err != nil {
				t.Fatal(err)
			}
			var want [][]byte
			for i, length := range lengths {
				record := bytes.Repeat([]byte{byte('a' + i)}, length)
				if err := l.write(record); err != nil {
					t.Fatal(err)
				}
				want = append(want, record)
			}
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
			got := logRecords(t, path)
			if len(got) != len(want) {
				t.Fatalf("%d records, want %d", len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("record %d has %d bytes, want %d", i, len(got[i]), len(want[i]))
				}
			}
		})
	}
}

// offline is what a log says.
type offline struct {
	run     map[protowire.Number][]any
	config  map[string]any
	history []map[string]any
	summary map[string]any // the last one
	files   []string
	axes    map[string]string // by glob
	exit    *int
	kinds   []protowire.Number
}

func readOffline(t *testing.T, path string) offline {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(path, "run-*.wandb"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("%s has the logs %v (%v)", path, logs, err)
	}
	o := offline{axes: map[string]string{}}
	for i, data := range logRecords(t, logs[0]) {
		record := wire(t, data)
		if record[1][0] != uint64(i+1) {
			t.Errorf("record %d has the number %v", i+1, record[1][0])
		}
		for kind := range record {
			if kind == 1 {
				continue
			}
			o.kinds = append(o.kinds, kind)
			o.read(t, kind, within(t, record, kind)[0])
		}
	}
	return o
}

func (o *offline) read(t *testing.T, kind protowire.Number, message map[protowire.Number][]any) {
	t.Helper()
	switch kind {
	case 2:
		row := items(t, message)
		step := uint64(0)
		if n := within(t, message, 2)[0][1]; n != nil {
			step = n[0].(uint64)
		}
		if row["_step"] != float64(step) {
			t.Errorf("_step %v in a row of step %d", row["_step"], step)
		}
		o.history = append(o.history, row)
	case 3:
		o.summary = items(t, message)
	case 6:
		o.files = append(o.files, within(t, message, 1)[0][1][0].(string))
	case 12:
		if message[2] != nil {
			o.axes[message[2][0].(string)] = message[4][0].(string)
		}
	case 17:
		o.run, o.config = message, items(t, within(t, message, 4)[0])
	case 18:
		code := 0
		if message[1] != nil {
			code = int(message[1][0].(uint64))
		}
		o.exit = &code
	}
}

// items reads keys and values in field 1.
func items(t *testing.T, message map[protowire.Number][]any) map[string]any {
	t.Helper()
	values := map[string]any{}
	for _, item := range within(t, message, 1) {
		var value any
		if err := json.Unmarshal([]byte(item[16][0].(string)), &value); err != nil {
			t.Fatal(err)
		}
		values[item[1][0].(string)] = value
	}
	return values
}

func TestWandBWritesARun(t *testing.T) {
	dir := t.TempDir()
	c := &WandB{
		Dir: dir, Project: "residual", Name: "first", Classes: []string{"cat", "dog"}, Preview: tinyPNG(t),
		Config: map[string]any{"epochs": 2, "train": map[string]any{"examples": 12}},
	}
	playWatched(t, c, 0)
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	pattern := `^offline-run-\d{8}_\d{6}-[a-z0-9]{8}$`
	if name := filepath.Base(c.Path()); !regexp.MustCompile(pattern).MatchString(name) || !strings.HasSuffix(name, "-"+c.RunID) {
		t.Errorf("the folder is %s, want one like %s with the ID %s", name, pattern, c.RunID)
	}
	o := readOffline(t, c.Path())
	if o.kinds[0] != 21 || o.kinds[1] != 17 || o.kinds[len(o.kinds)-1] != 18 {
		t.Errorf("the records are %v, want a header, the run, and at last the exit", o.kinds)
	}
	if o.run[1][0] != c.RunID || o.run[3][0] != "residual" || o.run[8][0] != "first" || o.run[18] != nil {
		t.Errorf("the run is %v", o.run)
	}
	if diff := cmp.Diff(map[string]any{"epochs": 2.0, "train": map[string]any{"examples": 12.0}}, o.config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"train/*": "step", "epoch/*": "epoch"}, o.axes); diff != "" {
		t.Errorf("axes (-want +got):\n%s", diff)
	}
	if o.exit == nil || *o.exit != 0 {
		t.Errorf("exit code %v", o.exit)
	}
	checkHistory(t, o.history)
	if o.summary["train/loss"] != 2./6 || o.summary["epoch/test_loss"] != 0.75 || o.summary["epoch"] != 2.0 {
		t.Errorf("summary %v", o.summary)
	}
	checkPictures(t, c.Path(), o)
}

func checkHistory(t *testing.T, history []map[string]any) {
	t.Helper()
	last := -1.0
	steps, epochs := 0, 0
	for _, row := range history {
		if at := row["_step"].(float64); at <= last {
			t.Errorf("after W&B's step %g comes %g", last, at)
		} else {
			last = at
		}
		if row["_timestamp"].(float64) < 1.7e9 || row["_runtime"].(float64) < 0 {
			t.Errorf("a row of %v, %v", row["_timestamp"], row["_runtime"])
		}
		want := map[string]any{}
		switch {
		case row["step"] != nil:
			steps++
			want = map[string]any{"step": float64(steps), "train/loss": 2 / float64(steps), "train/accuracy": 0.25,
				"train/learning_rate": 0.125, "train/images_per_second": 8.0, "train/grad_norm": 3.5}
		case row["epoch/seconds"] != nil:
			epochs++
			want = map[string]any{"epoch": float64(epochs), "epoch/train_loss": 1 / float64(epochs), "epoch/train_accuracy": 0.5,
				"epoch/test_loss": 1.5 / float64(epochs), "epoch/test_accuracy": 0.75, "epoch/seconds": 2.0}
		}
		for key, value := range want {
			if row[key] != value {
				t.Errorf("%s is %v, want %v, in %v", key, row[key], value, row)
			}
		}
	}
	if steps != 6 || epochs != 2 {
		t.Errorf("%d steps and %d epochs", steps, epochs)
	}
}

// checkPictures holds the pictures of history against their files.
func checkPictures(t *testing.T, run string, o offline) {
	t.Helper()
	pictures := map[string]int{}
	listed := map[string]bool{}
	for _, name := range o.files {
		listed[name] = true
		if _, err := os.Stat(filepath.Join(run, "files", name)); err != nil {
			t.Error(err)
		}
	}
	for _, row := range o.history {
		for key, value := range row {
			picture, ok := value.(map[string]any)
			if !ok {
				continue
			}
			pictures[key]++
			name := picture["path"].(string)
			data := readFile(t, run, "files", name)
			hash := sha256.Sum256(data)
			if picture["_type"] != "image-file" || picture["format"] != "png" || picture["sha256"] != hex.EncodeToString(hash[:]) ||
				picture["size"] != float64(len(data)) || !(picture["width"].(float64) > 0 && picture["height"].(float64) > 0) || !listed[name] {
				t.Errorf("%s is %v", key, picture)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"preview": 1, "epoch/confusion": 2}, pictures); diff != "" {
		t.Errorf("pictures (-want +got):\n%s", diff)
	}
}

func TestWandBTellsHowARunEnded(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code int
	}{
		"well":        {nil, 0},
		"failed":      {errors.New("the loss is NaN"), 1},
		"interrupted": {fmt.Errorf("train step 7: %w", context.Canceled), 255},
		"out of time": {context.DeadlineExceeded, 255},
	} {
		for _, begun := range []string{"after some steps", "before the first step"} {
			c := &WandB{Dir: t.TempDir()}
			if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
				t.Fatal(err)
			}
			if begun == "after some steps" {
				playSteps(t, c, 1, 3)
			}
			if err := c.Close(test.err); err != nil {
				t.Fatal(err)
			}
			o := readOffline(t, c.Path())
			if o.exit == nil || *o.exit != test.code || o.run[3][0] != "uncategorized" {
				t.Errorf("%s, %s: exit code %v, want %d, in project %v", name, begun, o.exit, test.code, o.run[3])
			}
		}
	}
}

func playSteps(t *testing.T, c pipeline.Callback, first, last int) {
	t.Helper()
	for number := first; number <= last; number++ {
		if err := c.Handle(context.Background(), pipeline.Step{Number: number, Epoch: 1, Examples: 4, Loss: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

// cutShort plays a run that went on beyond its checkpoint and was then stopped.
func cutShort(t *testing.T, dir string) (c *WandB, state []byte) {
	t.Helper()
	c = &WandB{Dir: dir, Name: "resumed", Preview: tinyPNG(t)}
	playWatched(t, c, 0)
	state, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, lost := range watchedEvents(2)[1:4] {
		if err := c.Handle(context.Background(), lost); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(context.Canceled); err != nil {
		t.Fatal(err)
	}
	return c, state
}

func goOnFrom(t *testing.T, dir string, state []byte) *WandB {
	t.Helper()
	c := &WandB{Dir: dir, Name: "resumed", Preview: tinyPNG(t)}
	if err := c.Restore(state); err != nil {
		t.Fatal(err)
	}
	playWatched(t, c, 2)
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// keptDir is a folder for python_export/tests/test_logs.py, where
// RESIDUAL_TEST_WANDB names one.
func keptDir(t *testing.T, name string) string {
	if keep := os.Getenv("RESIDUAL_TEST_WANDB"); keep != "" {
		return filepath.Join(keep, name)
	}
	return t.TempDir()
}

// A resumed run is one run in one log, whatever was in that log beyond the
// checkpoint.
func TestWandBResumes(t *testing.T) {
	dir := keptDir(t, "one")
	before, state := cutShort(t, dir)
	after := goOnFrom(t, dir, state)
	if after.Path() != before.Path() || after.RunID != before.RunID {
		t.Errorf("the run was %s, and is %s", before.Path(), after.Path())
	}
	o := readOffline(t, after.Path())
	var steps, epochs []any
	last := -1.0
	for _, row := range o.history {
		if own := row["_step"].(float64); own <= last {
			t.Errorf("W&B's step %g comes after %g", own, last)
		} else {
			last = own
		}
		if step, ok := row["step"]; ok {
			steps = append(steps, step)
		}
		if epoch, ok := row["epoch"]; ok {
			epochs = append(epochs, epoch)
		}
	}
	if len(steps) != 12 || steps[11] != 12.0 || len(epochs) != 4 || epochs[3] != 4.0 {
		t.Errorf("there are rows of steps %v and epochs %v", steps, epochs)
	}
	if err := (&WandB{}).Restore([]byte(`{"log": 7}`)); err == nil {
		t.Error("a state of another form was taken")
	}
}

// What was uploaded is not uploaded again: a second log has the rest.
func TestWandBResumesWhatWasUploaded(t *testing.T) {
	dir := keptDir(t, "two")
	before, state := cutShort(t, dir)
	logs, _ := filepath.Glob(filepath.Join(before.Path(), "*.wandb"))
	if err := os.WriteFile(logs[0]+".synced", nil, 0o644); err != nil { // as wandb sync does
		t.Fatal(err)
	}
	uploaded := readFile(t, logs[0])
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // folders are named by the second
	after := goOnFrom(t, dir, state)
	if !bytes.Equal(uploaded, readFile(t, logs[0])) {
		t.Error("the log that was uploaded has changed")
	}
	if after.RunID != before.RunID {
		t.Errorf("the run was %s, and is %s", before.RunID, after.RunID)
	}
	two := readOffline(t, after.Path())
	if two.run[18] == nil || two.run[18][0] != uint64(1) || two.run[14][0] != uint64(two.history[0]["_step"].(float64)) {
		t.Errorf("the second log begins with %v and the row %v", two.run, two.history[0])
	}
	if two.history[0]["step"] != 7.0 || two.history[0]["preview"] != nil {
		t.Errorf("the second log begins with %v", two.history[0])
	}
}

// What was told is in the log, whatever becomes of the program.
func TestWandBHasNoBuffer(t *testing.T) {
	c := &WandB{Dir: t.TempDir()}
	defer c.Close(nil)
	rows := 0
	for _, event := range watchedEvents(0) {
		if err := c.Handle(context.Background(), event); err != nil {
			t.Fatal(err)
		}
		switch event.(type) {
		case pipeline.Step, pipeline.Epoch:
			rows++
		}
		if o := readOffline(t, c.Path()); len(o.history) != rows {
			t.Fatalf("%d rows after %d events", len(o.history), rows)
		}
	}
}

// JSON has no number for these; W&B spells them so.
func TestWandBOfNumbersThatAreNone(t *testing.T) {
	for want, x := range map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)} {
		c := &WandB{Dir: t.TempDir()}
		_ = c.Handle(context.Background(), pipeline.Begin{})
		if err := c.Handle(context.Background(), pipeline.Step{Number: 1, Epoch: 1, GradNorm: x}); err != nil {
			t.Fatal(err)
		}
		_ = c.Close(nil)
		if o := readOffline(t, c.Path()); o.history[0]["train/grad_norm"] != want {
			t.Errorf("%v is %v, want %s", x, o.history[0]["train/grad_norm"], want)
		}
	}
}

func TestWandBMetadata(t *testing.T) {
	c := &WandB{Dir: t.TempDir()}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	defer c.Close(nil)
	var metadata map[string]any
	if err := json.Unmarshal(readFile(t, c.Path(), "files", "wandb-metadata.json"), &metadata); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"os", "go", "host", "program", "executable", "args", "startedAt", "cpu_count", "cpu_count_logical", "root"} {
		if metadata[name] == nil || metadata[name] == "" {
			t.Errorf("there is no %s in %v", name, metadata)
		}
	}
}

func TestWandBNamesWhatItCannotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	occupy(t, dir)
	c := &WandB{Dir: dir}
	if err := c.Handle(context.Background(), pipeline.Begin{}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("Handle = %v, want an error that names %s", err, dir)
	}
	if err := c.Close(nil); err != nil {
		t.Errorf("Close = %v", err)
	}

	c = &WandB{Dir: t.TempDir(), Classes: []string{"cat", "dog"}}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	occupy(t, c.Path(), "files", "media")
	err := c.Handle(context.Background(), pipeline.Epoch{Number: 1, Confusion: [][]int{{1, 0}, {0, 1}}})
	if err == nil || !strings.Contains(err.Error(), filepath.Join("files", "media")) {
		t.Errorf("Handle = %v", err)
	}
	_ = c.Close(err)

	c = &WandB{Dir: t.TempDir(), Config: map[string]any{"f": func() {}}}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	if err := c.Handle(context.Background(), pipeline.Step{Number: 1, Epoch: 1}); err == nil || !strings.Contains(err.Error(), `"f"`) {
		t.Errorf("with a config that JSON cannot say, Handle = %v", err)
	}
	_ = c.Close(nil)
}

func TestWandBSaysThatTheDiskIsFull(t *testing.T) {
	c := &WandB{Dir: t.TempDir()}
	if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
		t.Fatal(err)
	}
	_ = c.log.file.Close()
	c.log.file = devFull(t)
	saysThatTheDiskIsFull(t, c)
}

func BenchmarkWandBStep(b *testing.B) {
	c := &WandB{Dir: b.TempDir()}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	defer c.Close(nil)
	benchmarkStep(b, c)
}

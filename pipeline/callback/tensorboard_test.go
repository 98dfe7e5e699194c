package callback

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	summarypb "github.com/wamuir/graft/tensorflow/core/framework/summary_go_proto"
	eventpb "github.com/wamuir/graft/tensorflow/core/util/event_go_proto"

	"github.com/residual-go/residual/pipeline"
)

// The checksums of RFC 3720 (B.4), masked as TensorFlow's crc32c_test.cc does.
func TestMaskedCRC(t *testing.T) {
	ascending := make([]byte, 32)
	for i := range ascending {
		ascending[i] = byte(i)
	}
	for name, test := range map[string]struct {
		data []byte
		sum  uint32
	}{
		"32 zeros":     {make([]byte, 32), 0x8a9136aa},
		"32 ones":      {bytes.Repeat([]byte{0xff}, 32), 0x62a8ab43},
		"0 to 31":      {ascending, 0x46dd794e},
		"check string": {[]byte("123456789"), 0xe3069283},
	} {
		unmasked := maskedCRC(test.data) - 0xa282ead8
		if sum := unmasked>>17 | unmasked<<15; sum != test.sum {
			t.Errorf("%s: %#x, want %#x", name, sum, test.sum)
		}
	}
}

// readEvents reads the one event file of a folder.
func readEvents(t *testing.T, dir string) []*eventpb.Event {
	t.Helper()
	names := eventFiles(t, dir)
	if len(names) != 1 {
		t.Fatalf("%s has the event files %v, want one", dir, names)
	}
	return readEventFile(t, names[0])
}

func eventFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// readEventFile reads a file by the format's description, not by the writer's
// code.
func readEventFile(t *testing.T, name string) []*eventpb.Event {
	t.Helper()
	data := readFile(t, name)
	table := crc32.MakeTable(0x82f63b78)
	check := func(part []byte, want uint32) {
		t.Helper()
		sum := crc32.Checksum(part, table)
		if masked := ((sum >> 15) | (sum << 17)) + 0xa282ead8; masked != want {
			t.Fatalf("%s: checksum %#x, want %#x", name, masked, want)
		}
	}
	var events []*eventpb.Event
	for len(data) > 0 {
		length := binary.LittleEndian.Uint64(data)
		check(data[:8], binary.LittleEndian.Uint32(data[8:]))
		content := data[12 : 12+length]
		check(content, binary.LittleEndian.Uint32(data[12+length:]))
		event := &eventpb.Event{}
		if err := proto.Unmarshal(content, event); err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
		data = data[16+length:]
	}
	if len(events) == 0 || events[0].GetFileVersion() != "brain.Event:2" {
		t.Fatalf("%s begins with %v", name, events)
	}
	return events[1:]
}

// valuesOf lists an event file's values: scalars by tag and step.
func valuesOf(t *testing.T, dir string) (scalars map[string]float32, pictures map[string][]byte) {
	t.Helper()
	scalars, pictures = map[string]float32{}, map[string][]byte{}
	for _, event := range readEvents(t, dir) {
		if event.WallTime < 1.7e9 {
			t.Errorf("wall time %v", event.WallTime)
		}
		for _, value := range event.GetSummary().GetValue() {
			key := fmt.Sprintf("%s %d", value.Tag, event.Step)
			switch value := value.Value.(type) {
			case *summarypb.Summary_Value_SimpleValue:
				scalars[key] = value.SimpleValue
			case *summarypb.Summary_Value_Image:
				pictures[key] = value.Image.EncodedImageString
				config, err := png.DecodeConfig(bytes.NewReader(value.Image.EncodedImageString))
				if err != nil || int32(config.Width) != value.Image.Width || int32(config.Height) != value.Image.Height {
					t.Errorf("%s: %v, %dx%d as announced", key, err, value.Image.Width, value.Image.Height)
				}
			}
		}
	}
	return scalars, pictures
}

func TestTensorBoardWritesWhatKerasDoes(t *testing.T) {
	dir := t.TempDir()
	c := &TensorBoard{Dir: dir, Classes: []string{"cat", "dog"}, Preview: tinyPNG(t)}
	playWatched(t, c, 0)
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]float32{}
	for number := 1; number <= 6; number++ {
		for tag, value := range map[string]float32{
			"batch_loss": float32(2 / float64(number)), "batch_accuracy": 0.25, "learning_rate": 0.125, "images_per_second": 8, "grad_norm": 3.5,
		} {
			want[fmt.Sprintf("%s %d", tag, number)] = value
		}
	}
	validation := map[string]float32{}
	for epoch := 1; epoch <= 2; epoch++ {
		want[fmt.Sprintf("epoch_loss %d", epoch)] = float32(1 / float64(epoch))
		want[fmt.Sprintf("epoch_accuracy %d", epoch)] = 0.5
		want[fmt.Sprintf("epoch_learning_rate %d", epoch)] = 0.125
		validation[fmt.Sprintf("epoch_loss %d", epoch)] = float32(1.5 / float64(epoch))
		validation[fmt.Sprintf("epoch_accuracy %d", epoch)] = 0.75
	}
	scalars, pictures := valuesOf(t, filepath.Join(dir, "train"))
	if diff := cmp.Diff(want, scalars); diff != "" {
		t.Errorf("train (-want +got):\n%s", diff)
	}
	if len(pictures) != 1 || !bytes.Equal(pictures["preview 0"], c.Preview) {
		t.Errorf("train has %d pictures, want the preview", len(pictures))
	}
	scalars, pictures = valuesOf(t, filepath.Join(dir, "validation"))
	if diff := cmp.Diff(validation, scalars); diff != "" {
		t.Errorf("validation (-want +got):\n%s", diff)
	}
	if pictures["confusion 1"] == nil || pictures["confusion 2"] == nil || len(pictures) != 2 {
		t.Errorf("there are %d confusion matrices, want the first and the last", len(pictures))
	}
	if events, _ := filepath.Glob(filepath.Join(dir, "events*")); events != nil {
		t.Errorf("there is %v, but there are no hyperparameters", events)
	}
}

// What was told is in the file, whatever becomes of the program.
func TestTensorBoardHasNoBuffer(t *testing.T) {
	dir := t.TempDir()
	c := &TensorBoard{Dir: dir}
	defer c.Close(nil)
	steps := 0
	for _, event := range watchedEvents(0) {
		if err := c.Handle(context.Background(), event); err != nil {
			t.Fatal(err)
		}
		if _, ok := event.(pipeline.Step); ok {
			steps++
		}
		scalars, _ := valuesOf(t, filepath.Join(dir, "train"))
		if _, ok := scalars[fmt.Sprintf("batch_loss %d", steps)]; !ok && steps > 0 {
			t.Fatalf("step %d is not in the file after its event", steps)
		}
	}
}

func TestTensorBoardHasNoValidationWithoutATest(t *testing.T) {
	dir := t.TempDir()
	c := &TensorBoard{Dir: dir, Classes: []string{"cat", "dog"}}
	s := script{epochs: 2, batches: 3, batchSize: 8}
	if err := s.play(c, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "validation")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a folder validation: %v", err)
	}
	scalars, _ := valuesOf(t, filepath.Join(dir, "train"))
	if _, ok := scalars["grad_norm 1"]; ok {
		t.Error("there is a norm of gradients that the model did not tell")
	}
}

// Drawing must not take more than a tenth of the time.
func TestTensorBoardPassesOverShortEpochs(t *testing.T) {
	dir := t.TempDir()
	c := &TensorBoard{Dir: dir, Classes: []string{"cat", "dog"}}
	const epochs = 300
	if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
		t.Fatal(err)
	}
	for number := 1; number <= epochs; number++ {
		test := pipeline.Metrics{Examples: 4}
		if err := c.Handle(context.Background(), pipeline.Epoch{Number: number, Test: &test, Confusion: [][]int{{2, 0}, {1, 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	_, pictures := valuesOf(t, filepath.Join(dir, "validation"))
	if pictures["confusion 1"] == nil || pictures[fmt.Sprintf("confusion %d", epochs)] == nil || len(pictures) > epochs/3 {
		t.Errorf("of %d epochs %d were drawn, want few, with the first and the last", epochs, len(pictures))
	}
}

func TestTensorBoardFilesHaveNamesThatAreKnown(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // in the same second, or in two
		c := &TensorBoard{Dir: dir}
		if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(nil); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "train"))
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v: want two files", entries, err)
	}
	pattern := fmt.Sprintf(`^events\.out\.tfevents\.\d{10}\..+\.%d\.\d+\.v2$`, os.Getpid())
	for _, entry := range entries {
		if !regexp.MustCompile(pattern).MatchString(entry.Name()) {
			t.Errorf("%s does not match %s", entry.Name(), pattern)
		}
	}
}

// wire is a protobuf message by field number: numbers, and bytes.
func wire(t *testing.T, message []byte) map[protowire.Number][]any {
	t.Helper()
	fields := map[protowire.Number][]any{}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		message = message[n:]
		var value any
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			var bits uint64
			bits, n = protowire.ConsumeFixed64(message)
			value = math.Float64frombits(bits)
		case protowire.BytesType:
			var data []byte
			data, n = protowire.ConsumeBytes(message)
			value = string(data)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		fields[number] = append(fields[number], value)
		message = message[n:]
	}
	return fields
}

// within is wire for the messages in a field.
func within(t *testing.T, fields map[protowire.Number][]any, number protowire.Number) (messages []map[protowire.Number][]any) {
	t.Helper()
	for _, value := range fields[number] {
		messages = append(messages, wire(t, []byte(value.(string))))
	}
	return messages
}

func TestTensorBoardHParams(t *testing.T) {
	for name, test := range map[string]struct {
		runErr error
		status uint64
	}{"success": {nil, 1}, "failure": {errors.New("diverged"), 2}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := &TensorBoard{Dir: dir, HParams: map[string]any{"shuffle": true, "batch_size": 64, "rate": 0.5, "model": "small", "seed": int64(-3)}}
			playWatched(t, c, 0)
			if err := c.Close(test.runErr); err != nil {
				t.Fatal(err)
			}
			content := map[string]map[protowire.Number][]any{}
			for _, event := range readEvents(t, dir) {
				for _, value := range event.GetSummary().GetValue() {
					if plugin := value.GetMetadata().GetPluginData(); plugin.GetPluginName() != "hparams" || value.GetTensor() == nil {
						t.Errorf("%s has %v", value.Tag, value.Metadata)
					}
					content[value.Tag] = wire(t, value.Metadata.PluginData.Content)
				}
			}
			experiment := within(t, content["_hparams_/experiment"], 2)[0]
			kinds := map[any]any{}
			for _, info := range within(t, experiment, 4) {
				kinds[info[1][0]] = info[4][0]
			}
			wantKinds := map[any]any{"shuffle": uint64(2), "batch_size": uint64(3), "rate": uint64(3), "model": uint64(1), "seed": uint64(3)}
			if diff := cmp.Diff(wantKinds, kinds); diff != "" {
				t.Errorf("types (-want +got):\n%s", diff)
			}
			if n := len(experiment[5]); n != 4 {
				t.Errorf("there are %d metrics, want loss and accuracy of both folders", n)
			}
			values := map[any]any{}
			for _, entry := range within(t, within(t, content["_hparams_/session_start_info"], 3)[0], 1) {
				for _, value := range within(t, entry, 2)[0] {
					values[entry[1][0]] = value[0]
				}
			}
			want := map[any]any{"shuffle": uint64(1), "batch_size": 64.0, "rate": 0.5, "model": "small", "seed": -3.0}
			if diff := cmp.Diff(want, values); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if end := within(t, content["_hparams_/session_end_info"], 4)[0]; end[1][0] != test.status {
				t.Errorf("the session ended with status %v, want %d", end[1][0], test.status)
			}
		})
	}
}

func TestTensorBoardNamesWhatItCannotWrite(t *testing.T) {
	for _, folder := range []string{"", "train"} {
		dir := filepath.Join(t.TempDir(), "logs")
		occupy(t, dir, folder)
		c := &TensorBoard{Dir: dir}
		if err := c.Handle(context.Background(), pipeline.Begin{}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("Handle = %v, want an error that names %s", err, dir)
		}
		if err := c.Close(nil); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	dir := t.TempDir()
	occupy(t, dir, "validation")
	c := &TensorBoard{Dir: dir}
	if err := c.Handle(context.Background(), pipeline.Begin{}); err != nil {
		t.Fatal(err)
	}
	err := c.Handle(context.Background(), pipeline.Epoch{Number: 1, Test: &pipeline.Metrics{}})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "validation")) {
		t.Errorf("Handle = %v", err)
	}
	if err := c.Close(err); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// A run that is cut short twice at the same place, and resumed: all values are
// there once, and readers hear from which step on they come again.
func TestTensorBoardResumes(t *testing.T) {
	c := &TensorBoard{Dir: t.TempDir(), HParams: map[string]any{"seed": 1}, Classes: []string{"cat", "dog"}, Preview: tinyPNG(t)}
	playWatched(t, c, 0)
	state, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, lost := range watchedEvents(2)[1:6] { // an epoch and its test
			if err := c.Handle(context.Background(), lost); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(context.Canceled); err != nil {
			t.Fatal(err)
		}
		c = &TensorBoard{Dir: c.Dir, HParams: c.HParams, Classes: c.Classes, Preview: c.Preview}
		if err := c.Restore(state); err != nil {
			t.Fatal(err)
		}
		if err := c.Handle(context.Background(), pipeline.Begin{Step: 6, Epochs: 4, Batches: 3, TestExamples: 4}); err != nil {
			t.Fatal(err)
		}
	}
	for _, event := range watchedEvents(2)[1:] {
		if err := c.Handle(context.Background(), event); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(nil); err != nil {
		t.Fatal(err)
	}
	for folder, files := range map[string]int{".": 2, "train": 2, "validation": 2} {
		names := eventFiles(t, filepath.Join(c.Dir, folder))
		if len(names) != files {
			t.Errorf("%s has the event files %v", folder, names)
		}
		seen, restarted := map[string]bool{}, []int64(nil)
		for _, name := range names {
			for _, event := range readEventFile(t, name) {
				if event.GetSessionLog().GetStatus() == eventpb.SessionLog_START {
					restarted = append(restarted, event.Step)
				}
				for _, value := range event.GetSummary().GetValue() {
					key := fmt.Sprintf("%s %d", value.Tag, event.Step)
					if seen[key] {
						t.Errorf("%s: %s is there twice", folder, key)
					}
					seen[key] = true
				}
			}
		}
		want := map[string][]string{
			".":          {"_hparams_/session_start_info 0", "_hparams_/session_end_info 0"},
			"train":      {"batch_loss 1", "batch_loss 6", "batch_loss 7", "batch_loss 12", "epoch_loss 2", "epoch_loss 3", "preview 0"},
			"validation": {"epoch_loss 2", "epoch_loss 3", "epoch_loss 4"},
		}[folder]
		for _, key := range want {
			if !seen[key] {
				t.Errorf("%s: there is no %s", folder, key)
			}
		}
		if folder == "train" && (len(restarted) != 1 || restarted[0] != 7) {
			t.Errorf("readers are told of restarts at %v", restarted)
		}
	}
	for _, wrong := range []string{`{}`, `[]`, strings.Replace(string(state), `"bytes":`, `"bytes":9`, 1)} {
		if err := (&TensorBoard{Dir: c.Dir}).Restore([]byte(wrong)); err == nil {
			t.Errorf("the state %s was taken", wrong)
		}
	}
}

func TestTensorBoardSaysThatTheDiskIsFull(t *testing.T) {
	full := devFull(t)
	c := &TensorBoard{files: map[string]*eventFile{runFolder: {journal: &journal{file: full}}, trainFolder: {journal: &journal{file: full}}}}
	saysThatTheDiskIsFull(t, c)
}

func BenchmarkTensorBoardStep(b *testing.B) {
	c := &TensorBoard{Dir: b.TempDir()}
	_ = c.Handle(context.Background(), pipeline.Begin{})
	defer c.Close(nil)
	benchmarkStep(b, c)
}

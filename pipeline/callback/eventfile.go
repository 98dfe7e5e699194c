package callback

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	summarypb "github.com/wamuir/graft/tensorflow/core/framework/summary_go_proto"
	eventpb "github.com/wamuir/graft/tensorflow/core/util/event_go_proto"
)

// eventFile is a file of events as TensorBoard follows it. An event is a
// record of TensorFlow's TFRecord format, little-endian:
//
//	uint64  length of data
//	uint32  masked CRC-32C of the length
//	data    an Event message (tensorflow/core/util/event.proto)
//	uint32  masked CRC-32C of data
//
// The mask rotates a checksum right by 15 bits and adds 0xa282ead8
// (tensorflow/core/lib/hash/crc32c.h). Each record is one write.
type eventFile struct {
	*journal
	name   string // without its folder
	record []byte
}

// eventVersion is in the first event of a file (tensorflow/core/util/events_writer.h).
const eventVersion = "brain.Event:2"

// eventPrefix begins the name of a file that TensorBoard reads.
const eventPrefix = "events.out.tfevents."

// newEventFile makes a file in dir, which it makes if needed.
func newEventFile(dir string) (*eventFile, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of events: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	now := time.Now()
	for number := 0; ; number++ { // a run may begin in the second in which another began
		name := fmt.Sprintf(eventPrefix+"%010d.%s.%d.%d.v2", now.Unix(), filepath.Base(host), os.Getpid(), number)
		file, err := newJournal(filepath.Join(dir, name))
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("create events: %w", err)
		}
		f := &eventFile{journal: file, name: name}
		return f, f.write(&eventpb.Event{WallTime: unixSeconds(now), What: &eventpb.Event_FileVersion{FileVersion: eventVersion}})
	}
}

// summary writes values that belong to a step.
func (f *eventFile) summary(step int, values ...*summarypb.Summary_Value) error {
	return f.write(&eventpb.Event{
		WallTime: unixSeconds(time.Now()),
		Step:     int64(step),
		What:     &eventpb.Event_Summary{Summary: &summarypb.Summary{Value: values}},
	})
}

// write appends an event.
func (f *eventFile) write(event *eventpb.Event) error {
	data, err := proto.Marshal(event)
	if err == nil {
		f.record = appendTFRecord(f.record[:0], data)
		err = f.journal.write(f.record)
	}
	if err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}

// cutEvents takes the event files of a folder back to marks, which are by the
// files' names. Those without a mark are removed.
func cutEvents(dir string, marks map[string]mark) error {
	for name, m := range marks {
		file, err := reopenJournal(filepath.Join(dir, filepath.Base(name)), m)
		if err == nil {
			err = file.close()
		}
		if err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if _, ok := marks[entry.Name()]; !ok && strings.HasPrefix(entry.Name(), eventPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

// restarted tells readers that steps from this one on come again.
func (f *eventFile) restarted(step int) error {
	return f.write(&eventpb.Event{
		WallTime: unixSeconds(time.Now()),
		Step:     int64(step),
		What:     &eventpb.Event_SessionLog{SessionLog: &eventpb.SessionLog{Status: eventpb.SessionLog_START}},
	})
}

// close closes the file. A nil one is closed already.
func (f *eventFile) close() error {
	if f == nil {
		return nil
	}
	if err := f.journal.close(); err != nil {
		return fmt.Errorf("close events: %w", err)
	}
	return nil
}

func appendTFRecord(to, data []byte) []byte {
	at := len(to)
	to = binary.LittleEndian.AppendUint64(to, uint64(len(data)))
	to = binary.LittleEndian.AppendUint32(to, maskedCRC(to[at:]))
	to = append(to, data...)
	return binary.LittleEndian.AppendUint32(to, maskedCRC(data))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func maskedCRC(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func scalarValue(tag string, x float64) *summarypb.Summary_Value {
	return &summarypb.Summary_Value{Tag: tag, Value: &summarypb.Summary_Value_SimpleValue{SimpleValue: float32(x)}}
}

func scores(prefix string, loss, accuracy float64) []*summarypb.Summary_Value {
	return []*summarypb.Summary_Value{scalarValue(prefix+"loss", loss), scalarValue(prefix+"accuracy", accuracy)}
}

// imageValue shows a PNG file.
func imageValue(tag string, file []byte) (*summarypb.Summary_Value, error) {
	config, err := png.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("write events: picture %q: %w", tag, err)
	}
	const rgb = 3
	return &summarypb.Summary_Value{Tag: tag, Value: &summarypb.Summary_Value_Image{Image: &summarypb.Summary_Image{
		Width: int32(config.Width), Height: int32(config.Height), Colorspace: rgb, EncodedImageString: file,
	}}}, nil
}

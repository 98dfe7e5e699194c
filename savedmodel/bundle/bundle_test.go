package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	shapepb "github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// A table is written here by hand, from the format's description, so that the
// reader is not only held against one writer. Files of TensorFlow itself are
// read by package savedmodel's tests.

type pair struct{ key, value []byte }

// table writes one data block, an empty meta block and an index block.
func table(pairs []pair) []byte {
	var file bytes.Buffer
	put := func(entries []pair) []byte {
		at, content := file.Len(), block(entries)
		file.Write(content)
		file.WriteByte(0) // not compressed
		sum := crc32.Checksum(append(bytes.Clone(content), 0), crc32.MakeTable(crc32.Castagnoli))
		binary.Write(&file, binary.LittleEndian, (sum>>15|sum<<17)+0xa282ead8)
		return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(at)), uint64(len(content)))
	}
	var index []pair
	if len(pairs) > 0 {
		half := (len(pairs) + 1) / 2 // two blocks, where there is enough for them
		index = append(index, pair{pairs[half-1].key, put(pairs[:half])})
		if half < len(pairs) {
			index = append(index, pair{pairs[len(pairs)-1].key, put(pairs[half:])})
		}
	}
	footer := append(put(nil), put(index)...)
	file.Write(append(footer, make([]byte, 40-len(footer))...))
	binary.Write(&file, binary.LittleEndian, uint64(0xdb4775248b80fb57))
	return file.Bytes()
}

// block writes entries with shared prefixes and one restart point.
func block(entries []pair) []byte {
	var out, last []byte
	for _, e := range entries {
		shared := 0
		for shared < len(last) && shared < len(e.key) && last[shared] == e.key[shared] {
			shared++
		}
		for _, n := range []int{shared, len(e.key) - shared, len(e.value)} {
			out = binary.AppendUvarint(out, uint64(n))
		}
		out = append(append(out, e.key[shared:]...), e.value...)
		last = e.key
	}
	return append(out, 0, 0, 0, 0, 1, 0, 0, 0)
}

func header(shards int32) pair {
	return pair{nil, marshal(&pb.BundleHeaderProto{NumShards: shards})}
}

func entry(key string, shard int32, offset, size int64, dims ...int64) pair {
	shape := &shapepb.TensorShapeProto{}
	for _, dim := range dims {
		shape.Dim = append(shape.Dim, &shapepb.TensorShapeProto_Dim{Size: dim})
	}
	return pair{[]byte(key), marshal(&pb.BundleEntryProto{
		Dtype: types_go_proto.DataType_DT_FLOAT, Shape: shape, ShardId: shard, Offset: offset, Size: size,
	})}
}

func marshal(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

// write makes a checkpoint with an index and data files of these sizes.
func write(t *testing.T, index []byte, sizes map[string]int) string {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "variables")
	if err := os.WriteFile(prefix+".index", index, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, size := range sizes {
		if err := os.WriteFile(prefix+name, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return prefix
}

func TestReadListsTensorsInTheOrderOfTheirKeys(t *testing.T) {
	prefix := write(t,
		table([]pair{header(2), entry("dense/bias", 0, 0, 8, 2), entry("dense/kernel", 1, 4, 24, 3, 2), entry("step", 0, 8, 4)}),
		map[string]int{".data-00000-of-00002": 12, ".data-00001-of-00002": 28})
	got, err := Read(prefix)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{Key: "dense/bias", DType: tensor.Float32, Shape: []int{2}, Size: 8},
		{Key: "dense/kernel", DType: tensor.Float32, Shape: []int{3, 2}, Size: 24},
		{Key: "step", DType: tensor.Float32, Shape: []int{}, Size: 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
}

func TestReadNamesTheFileThatIsWrong(t *testing.T) {
	good := table([]pair{header(2), entry("a", 0, 0, 8, 2), entry("b", 1, 0, 8, 2)})
	whole := map[string]int{".data-00000-of-00002": 8, ".data-00001-of-00002": 8}
	one := map[string]int{".data-00000-of-00001": 8}
	for name, test := range map[string]struct {
		index []byte
		sizes map[string]int
		want  string
	}{
		"a data file missing":      {good, map[string]int{".data-00000-of-00002": 8}, "variables.data-00001-of-00002"},
		"a data file cut":          {good, map[string]int{".data-00000-of-00002": 8, ".data-00001-of-00002": 7}, "variables.data-00001-of-00002: it was cut: 7 bytes of 8"},
		"index empty":              {nil, whole, "variables.index"},
		"index cut at the start":   {good[1:], whole, "variables.index"},
		"index cut at the end":     {good[:len(good)-1], whole, "variables.index"},
		"no header":                {table([]pair{entry("a", 0, 0, 8, 2)}), one, "does not begin with a header"},
		"nothing at all":           {table(nil), one, "no header"},
		"no data files":            {table([]pair{header(0)}), one, "0 data files"},
		"too many data files":      {table([]pair{header(1 << 30)}), one, "1073741824 data files"},
		"a shard beyond the last":  {table([]pair{header(1), entry("a", 1, 0, 8, 2)}), one, `entry "a" is in data file 1 of 1`},
		"a shard before the first": {table([]pair{header(1), entry("a", -1, 0, 8, 2)}), one, `entry "a" is in data file -1 of 1`},
		"a negative size":          {table([]pair{header(1), entry("a", 0, 0, -8, 2)}), one, `entry "a" is at 0 with -8 bytes`},
		"an end beyond int64":      {table([]pair{header(1), entry("a", 0, 1<<62, 1<<62, 2)}), one, `entry "a" is at`},
		"a value that is no entry": {table([]pair{header(1), {[]byte("a"), []byte{0xff}}}), one, `entry "a"`},
		"big endian":               {table([]pair{{nil, marshal(&pb.BundleHeaderProto{NumShards: 1, Endianness: pb.BundleHeaderProto_BIG})}}), one, "big-endian"},
	} {
		t.Run(name, func(t *testing.T) {
			entries, err := Read(write(t, test.index, test.sizes))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Read = %v, %v, want %q in the error", entries, err, test.want)
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of nothing: %v, want fs.ErrNotExist", err)
	}
}

func TestEveryFlippedBitOfABlockIsNoticed(t *testing.T) {
	index := table([]pair{header(1), entry("a", 0, 0, 8, 2)})
	if _, err := parse(index); err != nil {
		t.Fatal(err)
	}
	for at := range len(index) - footerSize {
		for bit := range 8 {
			damaged := bytes.Clone(index)
			damaged[at] ^= 1 << bit
			// The meta index is never read: its bits do not matter.
			x, err := parse(damaged)
			if err == nil && !cmp.Equal(x.entries, must(parse(index)).entries) {
				t.Fatalf("bit %d of byte %d changed what was read", bit, at)
			}
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func FuzzRead(f *testing.F) {
	f.Add(table([]pair{header(1), entry("a", 0, 0, 8, 2), entry("ab", 0, 8, 8, 2)}))
	f.Add(table(nil))
	f.Add(make([]byte, footerSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parse(data)
		if err == nil && len(x.shards) == 0 {
			t.Error("an index without data files was taken")
		}
	})
}

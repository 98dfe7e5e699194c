// Package bundle reads the index of TensorFlow's checkpoints.
//
// # Basics
//
// A checkpoint ("tensor bundle", tensorflow/core/util/tensor_bundle) is a
// prefix with files behind it: PREFIX.index says which tensors there are,
// PREFIX.data-00000-of-00001 and its like hold their bytes. Read reads the
// index and checks that the data files are there and long enough:
//
//	entries, err := bundle.Read("models/resnet50/variables/variables")
//
// # Caveats
//
// The tensors' bytes are not read, so a flipped bit in them is not noticed
// here. TensorFlow checks their CRC when it restores them.
package bundle

import (
	"errors"
	"fmt"
	"math"
	"os"

	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Entry is one tensor of a checkpoint.
type Entry struct {
	Key   string // such as "dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"
	DType tensor.DType
	Shape []int
	Size  int64 // bytes
}

// maxIndex is more than the index of any real model takes, which is about 100
// bytes a tensor.
const maxIndex = 256 << 20

// Read returns the tensors of the checkpoint with this prefix, in the order of
// their keys. Its errors name the file; fs.ErrNotExist is in the chain where
// one is missing.
func Read(prefix string) ([]Entry, error) {
	path := prefix + ".index"
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIndex {
		return nil, fmt.Errorf("read %s: %d bytes are too many for an index", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	index, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for shard, want := range index.shards {
		path := fmt.Sprintf("%s.data-%05d-of-%05d", prefix, shard, len(index.shards))
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.Size() < want {
			return nil, fmt.Errorf("read %s: it was cut: %d bytes of %d", path, info.Size(), want)
		}
	}
	return index.entries, nil
}

// index is what an index file says.
type index struct {
	entries []Entry
	shards  []int64 // bytes that each data file must have
}

// maxShards is TensorFlow's own: file names have five digits.
const maxShards = 99999

func parse(data []byte) (index, error) {
	var (
		x      index
		header bool
	)
	err := readTable(data, func(key, value []byte) error {
		if !header {
			header = true
			return x.readHeader(key, value)
		}
		return x.readEntry(key, value)
	})
	if err == nil && !header {
		err = errors.New("it has no header")
	}
	return x, err
}

func (x *index) readHeader(key, value []byte) error {
	var header pb.BundleHeaderProto
	if err := proto.Unmarshal(value, &header); err != nil || len(key) != 0 {
		return errors.New("it does not begin with a header")
	}
	if n := header.GetNumShards(); n < 1 || n > maxShards {
		return fmt.Errorf("its header says %d data files", n)
	}
	if header.GetEndianness() != pb.BundleHeaderProto_LITTLE {
		return errors.New("it was written on a big-endian machine")
	}
	x.shards = make([]int64, header.GetNumShards())
	return nil
}

func (x *index) readEntry(key, value []byte) error {
	var entry pb.BundleEntryProto
	if err := proto.Unmarshal(value, &entry); err != nil {
		return fmt.Errorf("entry %q: %w", key, err)
	}
	shard, offset, size := int(entry.GetShardId()), entry.GetOffset(), entry.GetSize()
	if shard < 0 || shard >= len(x.shards) {
		return fmt.Errorf("entry %q is in data file %d of %d", key, shard, len(x.shards))
	}
	if offset < 0 || size < 0 || offset > math.MaxInt64-size {
		return fmt.Errorf("entry %q is at %d with %d bytes", key, offset, size)
	}
	x.shards[shard] = max(x.shards[shard], offset+size)
	shape := make([]int, len(entry.GetShape().GetDim()))
	for i, dim := range entry.GetShape().GetDim() {
		shape[i] = int(dim.GetSize())
	}
	x.entries = append(x.entries, Entry{
		Key:   string(key),
		DType: tensor.DType(entry.GetDtype()),
		Shape: shape,
		Size:  size,
	})
	return nil
}

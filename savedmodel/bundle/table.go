package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// An index file is a LevelDB table (google/leveldb, doc/table_format.md):
// blocks of entries sorted by key, an index block that points at them, and a
// footer that points at the index block.
const (
	footerSize    = 48
	tableMagic    = 0xdb4775248b80fb57
	trailerSize   = 5 // of a block: compression, masked CRC-32C
	noCompression = 0
)

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	errCutTable = errors.New("it is not a checkpoint index, or it was cut")
)

// readTable calls visit for each entry of a table in the order of the keys. The
// slices are only valid during the call.
func readTable(data []byte, visit func(key, value []byte) error) error {
	if len(data) < footerSize {
		return errCutTable
	}
	footer := data[len(data)-footerSize:]
	if binary.LittleEndian.Uint64(footer[footerSize-8:]) != tableMagic {
		return errCutTable
	}
	_, rest, err := readHandle(footer) // the meta index, which nobody uses
	if err != nil {
		return err
	}
	top, _, err := readHandle(rest)
	if err != nil {
		return err
	}
	return readBlock(data, top, func(_, value []byte) error {
		block, _, err := readHandle(value)
		if err != nil {
			return err
		}
		return readBlock(data, block, visit)
	})
}

// handle says where a block lies in the file.
type handle struct{ offset, size uint64 }

func readHandle(data []byte) (handle, []byte, error) {
	offset, rest, err := readVarint(data)
	if err != nil {
		return handle{}, nil, err
	}
	size, rest, err := readVarint(rest)
	return handle{offset, size}, rest, err
}

func readVarint(data []byte) (uint64, []byte, error) {
	value, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, nil, errCutTable
	}
	return value, data[n:], nil
}

// readBlock visits a block's entries. A key is stored as the length of what it
// shares with the key before it, and the rest.
func readBlock(data []byte, h handle, visit func(key, value []byte) error) error {
	entries, err := blockEntries(data, h)
	if err != nil {
		return err
	}
	var key []byte
	for len(entries) > 0 {
		var shared, added, size uint64
		for _, field := range []*uint64{&shared, &added, &size} {
			if *field, entries, err = readVarint(entries); err != nil {
				return err
			}
		}
		if shared > uint64(len(key)) || added > uint64(len(entries)) || size > uint64(len(entries))-added {
			return errCutTable
		}
		key = append(bytes.Clone(key[:shared]), entries[:added]...)
		if err := visit(key, entries[added:added+size]); err != nil {
			return err
		}
		entries = entries[added+size:]
	}
	return nil
}

// blockEntries checks a block and returns its entries, without the list of
// restart points that follows them.
func blockEntries(data []byte, h handle) ([]byte, error) {
	if h.size > uint64(len(data)) || h.offset > uint64(len(data))-h.size || uint64(len(data))-h.size-h.offset < trailerSize {
		return nil, errCutTable
	}
	block := data[h.offset : h.offset+h.size+trailerSize]
	content, trailer := block[:h.size], block[h.size:]
	if sum := crc32.Checksum(block[:h.size+1], castagnoli); binary.LittleEndian.Uint32(trailer[1:]) != mask(sum) {
		return nil, errors.New("its checksum is wrong")
	}
	if trailer[0] != noCompression {
		return nil, fmt.Errorf("it is compressed (type %d), which TensorFlow does not do", trailer[0])
	}
	if len(content) < 4 {
		return nil, errCutTable
	}
	restarts := uint64(binary.LittleEndian.Uint32(content[len(content)-4:]))
	if tail := 4 * (restarts + 1); tail <= uint64(len(content)) {
		return content[:uint64(len(content))-tail], nil
	}
	return nil, errCutTable
}

// mask is LevelDB's: a CRC of data that holds CRCs is weak.
func mask(sum uint32) uint32 { return (sum>>15 | sum<<17) + 0xa282ead8 }

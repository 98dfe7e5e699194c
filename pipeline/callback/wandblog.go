package callback

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// wandbLog is the file run-ID.wandb: a log in LevelDB's format
// (https://github.com/google/leveldb/blob/main/doc/log_format.md) with W&B's
// header (wandb/sdk/internal/datastore.py). It is a row of blocks of 32 KiB,
// little-endian:
//
//	":W&B", uint16 0xBEE1, uint8 0   only at the beginning of the first block
//	chunks                           a record is one, or several if it crosses blocks
//	zeros                            where fewer than 7 bytes are left of a block
//
// and a chunk is:
//
//	uint32  CRC-32 (IEEE, not masked as LevelDB's) of type and data
//	uint16  length of data
//	uint8   type: 1 a whole record, 2 its first chunk, 3 a middle one, 4 the last
//	data
//
// Each record is one write.
type wandbLog struct {
	*journal
	out []byte
}

const (
	wandbBlock  = 32 << 10
	chunkHeader = 7

	chunkFull, chunkFirst, chunkMiddle, chunkLast = 1, 2, 3, 4
)

func newWandbLog(path string) (*wandbLog, error) {
	file, err := newJournal(path)
	if err != nil {
		return nil, fmt.Errorf("create W&B log: %w", err)
	}
	l := &wandbLog{journal: file}
	l.out = append(binary.LittleEndian.AppendUint16([]byte(":W&B"), 0xbee1), 0)
	return l, l.flush()
}

func reopenWandbLog(path string, m mark) (*wandbLog, error) {
	file, err := reopenJournal(path, m)
	if err != nil {
		return nil, fmt.Errorf("resume W&B log: %w", err)
	}
	return &wandbLog{journal: file}, nil
}

func (l *wandbLog) write(record []byte) error {
	l.out = l.out[:0]
	for begun := false; ; begun = true {
		left := wandbBlock - int(l.size+int64(len(l.out)))%wandbBlock
		if left < chunkHeader {
			l.out = append(l.out, make([]byte, left)...)
			left = wandbBlock
		}
		part := record[:min(len(record), left-chunkHeader)]
		record = record[len(part):]
		l.chunk(part, begun, len(record) == 0)
		if len(record) == 0 {
			return l.flush()
		}
	}
}

// chunk appends a part of a record, which had begun before or ends with it.
func (l *wandbLog) chunk(part []byte, begun, ends bool) {
	kind := byte(chunkMiddle)
	switch {
	case !begun && ends:
		kind = chunkFull
	case !begun:
		kind = chunkFirst
	case ends:
		kind = chunkLast
	}
	sum := crc32.Update(crc32.ChecksumIEEE([]byte{kind}), crc32.IEEETable, part)
	l.out = binary.LittleEndian.AppendUint32(l.out, sum)
	l.out = binary.LittleEndian.AppendUint16(l.out, uint16(len(part)))
	l.out = append(append(l.out, kind), part...)
}

// flush writes what is ready.
func (l *wandbLog) flush() error {
	if err := l.journal.write(l.out); err != nil {
		return fmt.Errorf("write W&B log: %w", err)
	}
	return nil
}

// close closes the file. A nil one is closed already.
func (l *wandbLog) close() error {
	if l == nil {
		return nil
	}
	if err := l.journal.close(); err != nil {
		return fmt.Errorf("close W&B log: %w", err)
	}
	return nil
}

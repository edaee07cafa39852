package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// acknowledged looks behind the place where a file stops making sense for proof
// that more than a torn write is there: the beginning of a later record that
// says that the missing one was on disk. It returns that as an error.
//
// It walks wlog's pages by itself, since wlog's reader ends at the first bad
// fragment. A page is a run of fragments, and a fragment never crosses it:
//
//	type 1 (low 3 bits: 1 whole record, 2 first, 3 middle, 4 last, 0 padding),
//	length 2, CRC-32C 4, both big endian, then the bytes
func acknowledged(path string, from int64, missing uint64) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("look behind the bad record: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look behind the bad record: %w", err)
	}
	page := make([]byte, pageSize)
	for at := from / pageSize * pageSize; at < info.Size(); at += pageSize {
		n := min(pageSize, info.Size()-at)
		if _, err := f.ReadAt(page[:n], at); err != nil {
			return fmt.Errorf("look behind the bad record: %w", err)
		}
		skip := max(0, from-at)
		for start := range fragments(page[skip:n]) {
			h, err := decodeHead(start)
			if err == nil && h.seq > missing && h.synced >= missing {
				return fmt.Errorf("record %d behind it says that record %d was on disk", h.seq, missing)
			}
		}
	}
	return nil
}

// fragments yields the good fragments of a page that begin a record. A bad one
// is stepped over if its length leads to another.
func fragments(page []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(page) >= fragmentFrame {
			kind, length := page[0]&7, int(binary.BigEndian.Uint16(page[1:]))
			if kind == 0 || fragmentFrame+length > len(page) {
				return
			}
			data := page[fragmentFrame : fragmentFrame+length]
			good := crc32.Checksum(data, castagnoli) == binary.BigEndian.Uint32(page[3:])
			if good && kind <= 2 && !yield(data) {
				return
			}
			page = page[fragmentFrame+length:]
		}
	}
}

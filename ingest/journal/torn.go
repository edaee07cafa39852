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
// wlog's reader ends at the first bad fragment, so this one goes by itself. A
// page of the file is a run of fragments, and none crosses its end:
//
//	type 1 (low 3 bits: 1 whole record, 2 first, 3 middle, 4 last, 0 padding),
//	length 2, CRC-32C 4, both big endian, then the bytes
//
// Damage may have hit a length, so each byte is tried as the start of one; few
// get as far as the checksum.
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
		for i := max(0, from-at); i < n; i++ {
			if h, ok := beginning(page[i:n]); ok && h.seq > missing && h.synced >= missing {
				return fmt.Errorf("record %d behind it says that record %d was on disk", h.seq, missing)
			}
		}
	}
	return nil
}

// beginning returns the head of the record that begins here, if one does.
func beginning(page []byte) (head, bool) {
	if len(page) < fragmentFrame+headSize || page[0]&7 < 1 || page[0]&7 > 2 {
		return head{}, false
	}
	length := int(binary.BigEndian.Uint16(page[1:]))
	if fragmentFrame+length > len(page) {
		return head{}, false
	}
	data := page[fragmentFrame : fragmentFrame+length]
	if len(data) < headSize || data[0] != version {
		return head{}, false
	}
	h, err := decodeHead(data)
	return h, err == nil && crc32.Checksum(data, castagnoli) == binary.BigEndian.Uint32(page[3:])
}

package journal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Describe prints a file of a journal: the records of its log, one a line, or
// who it is or was locked by; and what is wrong with it, if anything. It reads
// only, so it may look at a journal that is open: the record being written then
// shows as torn.
func Describe(path string, w io.Writer) error {
	switch filepath.Base(path) {
	case identityName:
		id, err := readIdentity(path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "identity of a journal: %s, format %d\n", id.ID, id.Format)
		return err
	case lockName:
		return describeLock(path, w)
	}
	batches, events, last := 0, int64(0), uint64(0)
	good, err := scan(path, func(rec []byte) error {
		h, err := decodeHead(rec)
		if err != nil {
			return err
		}
		if h.length != len(rec) {
			return fmt.Errorf("%w: record %d has %d bytes of %d", errTorn, h.seq, len(rec), h.length)
		}
		if last != 0 && h.seq != last+1 {
			return fmt.Errorf("record %d is followed by %d", last, h.seq)
		}
		last = h.seq
		switch h.kind {
		case kindBatch:
			b, err := decodeBatch(rec)
			if err != nil {
				return err
			}
			if _, err := b.body(); err != nil {
				return err
			}
			batches++
			events += b.count
			_, err = fmt.Fprintf(w, "%d\tbatch\t%s/%d\t[%d,%d)\t%s\t%d bytes, %d stored\tkey %q\n", h.seq, b.stream, b.partition,
				b.first, b.end(), b.arrival.UTC().Format(time.RFC3339Nano), b.size, len(b.stored), b.key)
			return err
		case kindKeys:
			stream, entries, err := decodeKeys(rec)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "%d\tkeys\t%s\t%d idempotency keys carried over\n", h.seq, stream, len(entries))
			return err
		}
		_, err = fmt.Fprintf(w, "%d\tmark\tended in good order\n", h.seq)
		return err
	})
	if err != nil {
		return fmt.Errorf("journal file %s, after %d good bytes: %w", path, good, err)
	}
	_, err = fmt.Fprintf(w, "%d batches, %d events, %d bytes\n", batches, events, good)
	return err
}

// describeLock prints what the lock says of who took it last. Whether it is
// held now, the file does not tell.
func describeLock(path string, w io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer file.Close()
	const longest = 1 << 10 // far more than a process and a time take
	holder, err := io.ReadAll(io.LimitReader(file, longest))
	if err != nil {
		return fmt.Errorf("journal: read lock: %w", err)
	}
	_, err = fmt.Fprintf(w, "lock of a journal, taken last by %q\n", bytes.TrimSpace(holder))
	return err
}

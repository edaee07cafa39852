package ingest

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/zeebo/xxh3"
)

const blockBytes = 256 << 10

// lineReader cuts a byte stream into blocks of whole lines.
type lineReader struct {
	r       io.Reader
	maxLine int
	eager   bool   // hand out lines as soon as they are there, not a block at a time
	rest    []byte // read, and not yet a whole line
	long    int64  // bytes of an overlong line that were read and left out of rest
	trash   []byte
	last    []byte // the newest tailBytes of input handed out
}

// tailBytes before a position are what a file is recognised by.
const tailBytes = 4096

// next returns whole lines, the bytes of input they stand for, and the error
// that ended the block, if one did. A line over the limit ends its block: its
// beginning stands for all of it, so that it is seen and rejected. What is
// behind the last newline stays for the next call.
func (l *lineReader) next(buf []byte) (lines []byte, consumed int64, err error) {
	if l.long > 0 {
		return l.skipLong(append(buf[:0], l.rest...))
	}
	if cap(buf) < blockBytes {
		buf = make([]byte, 0, blockBytes)
	}
	buf = append(buf[:0], l.rest...)
	l.rest = l.rest[:0]
	searched := 0
	for {
		for len(buf) < cap(buf) && err == nil {
			var n int
			n, err = l.r.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			if l.eager && bytes.IndexByte(buf[len(buf)-n:], '\n') >= 0 {
				break
			}
		}
		if i := bytes.LastIndexByte(buf[searched:], '\n'); i >= 0 {
			end := searched + i + 1
			l.rest = append(l.rest[:0], buf[end:]...)
			l.note(buf[:end])
			return buf[:end], int64(end), err
		}
		switch {
		case err != nil:
			l.rest = append(l.rest[:0], buf...)
			return nil, 0, err
		case len(buf) > l.maxLine:
			l.rest = append(l.rest[:0], buf[:l.maxLine+1]...)
			l.long = int64(len(buf) - len(l.rest))
			l.note(buf)
			return l.skipLong(buf[:l.maxLine+1])
		}
		searched = len(buf)
		buf = append(buf, make([]byte, min(len(buf), l.maxLine+1-len(buf)))...)[:len(buf)]
	}
}

// skipLong reads to the end of an overlong line, of which buf is the beginning.
func (l *lineReader) skipLong(buf []byte) (lines []byte, consumed int64, err error) {
	if l.trash == nil {
		l.trash = make([]byte, 64<<10)
	}
	for {
		n, err := l.r.Read(l.trash)
		if i := bytes.IndexByte(l.trash[:n], '\n'); i >= 0 {
			consumed = int64(len(buf)) + l.long + int64(i) + 1
			l.note(l.trash[:i+1])
			l.rest, l.long = append(l.rest[:0], l.trash[i+1:n]...), 0
			return append(buf, '\n'), consumed, err
		}
		l.long += int64(n)
		l.note(l.trash[:n])
		if err != nil {
			return nil, 0, err
		}
	}
}

// unterminated gives what stands behind the last newline, if it is a whole
// JSON value by itself: a file need not end in a newline.
func (l *lineReader) unterminated() ([]byte, bool) {
	if l.long > 0 || !json.Valid(l.rest) {
		return nil, false
	}
	line := l.rest
	l.rest = nil
	l.note(line)
	return line, true
}

// pending is how many bytes wait for their newline.
func (l *lineReader) pending() int64 { return int64(len(l.rest)) + l.long }

func (l *lineReader) note(p []byte) {
	if len(p) >= tailBytes {
		l.last = append(l.last[:0], p[len(p)-tailBytes:]...)
		return
	}
	if drop := len(l.last) + len(p) - tailBytes; drop > 0 {
		l.last = append(l.last[:0], l.last[drop:]...)
	}
	l.last = append(l.last, p...)
}

// tail is the hash of the newest tailBytes handed out, nil before the first.
func (l *lineReader) tail() []byte {
	if len(l.last) == 0 {
		return nil
	}
	sum := xxh3.Hash128(l.last).Bytes()
	return sum[:]
}

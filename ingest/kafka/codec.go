package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codec is how the records of a batch are compressed.
type codec uint8

const (
	uncompressed codec = iota
	gzipped
	snappy
	lz4ed
	zstded
)

// codecs decompresses, with readers that are made when first needed and then
// used again. A batch that would decompress to more than maxBatchBytes is an
// error.
type codecs struct {
	source bytes.Reader
	gzip   *gzip.Reader
	lz4    *lz4.Reader
	zstd   *zstd.Decoder
}

var errTooLarge = fmt.Errorf("more than %d MiB", maxBatchBytes>>20)

// inflate appends to dst what src holds.
func (c *codecs) inflate(dst, src []byte, how codec) ([]byte, error) {
	switch how {
	case uncompressed:
		return append(dst, src...), nil
	case gzipped:
		if c.gzip == nil {
			c.gzip = new(gzip.Reader)
		}
		c.source.Reset(src)
		if err := c.gzip.Reset(&c.source); err != nil {
			return dst, err
		}
		return readAll(dst, c.gzip, 4*len(src))
	case snappy:
		return unsnappy(dst, src)
	case lz4ed:
		c.source.Reset(src)
		if c.lz4 == nil {
			c.lz4 = lz4.NewReader(&c.source)
		} else {
			c.lz4.Reset(&c.source)
		}
		return readAll(dst, c.lz4, 4*len(src))
	case zstded:
		return c.unzstd(dst, src)
	}
	return dst, fmt.Errorf("unknown codec %d", how)
}

func (c *codecs) unzstd(dst, src []byte) ([]byte, error) {
	if c.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBatchBytes))
		if err != nil {
			return dst, err
		}
		c.zstd = d
	}
	out, err := c.zstd.DecodeAll(src, dst)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// close gives back what the readers hold.
func (c *codecs) close() {
	if c.zstd != nil {
		c.zstd.Close()
	}
	*c = codecs{}
}

// readAll appends all that r gives, guessing that it is about size bytes.
func readAll(dst []byte, r io.Reader, size int) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, min(size, maxBatchBytes)+bytes.MinRead)
	for {
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-start > maxBatchBytes:
			return dst[:start], errTooLarge
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst[:start], err
		case len(dst) == cap(dst):
			dst = slices.Grow(dst, max(bytes.MinRead, (len(dst)-start)/2))
		}
	}
}

// xerial is how the Java client frames snappy: this, two versions, and then
// blocks, each behind its length.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHead = 16

func unsnappy(dst, src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, xerial) {
		return snappyBlock(dst, src, maxBatchBytes)
	}
	start, out := len(dst), dst
	if len(src) < xerialHead {
		return dst, io.ErrUnexpectedEOF
	}
	for src = src[xerialHead:]; len(src) > 0; {
		if len(src) < 4 {
			return dst, io.ErrUnexpectedEOF
		}
		size := binary.BigEndian.Uint32(src)
		if src = src[4:]; int64(size) > int64(len(src)) {
			return dst, io.ErrUnexpectedEOF
		}
		var err error
		if out, err = snappyBlock(out, src[:size], maxBatchBytes-(len(out)-start)); err != nil {
			return dst, err
		}
		src = src[size:]
	}
	return out, nil
}

func snappyBlock(dst, src []byte, limit int) ([]byte, error) {
	size, err := s2.DecodedLen(src)
	if err != nil {
		return dst, err
	}
	if size > limit {
		return dst, errTooLarge
	}
	start := len(dst)
	dst = slices.Grow(dst, size)
	if _, err := s2.Decode(dst[start:start+size], src); err != nil {
		return dst[:start], err
	}
	return dst[:start+size], nil
}

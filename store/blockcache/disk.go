package blockcache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"
)

// disk is a file of slots, one for a block. Which slot has which block is known
// to memory alone. The Cache's lock guards the books; slots are read and written
// without it by whoever holds them.
type disk struct {
	file    *os.File
	blocks  lru[slot]
	free    []int
	readers map[int]int  // how many read a slot
	leaving map[int]bool // slots that are free once nobody reads them
}

// slot is where a block lies.
type slot struct {
	index  int
	length int
	sum    uint64 // xxh3 of the block
}

var errBlockDamaged = errors.New("the block on disk is not what was written")

// openDisk takes hold of the file, creating it and its folder if need be.
func openDisk(path string, size int64) (*disk, error) {
	slots := int(size / blockBytes)
	if slots < 1 {
		return nil, fmt.Errorf("%d bytes are less than a block, which has %d", size, blockBytes)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: another process uses it: %w", path, err)
	}
	if err := file.Truncate(0); err != nil {
		file.Close()
		return nil, err
	}
	d := &disk{
		file:    file,
		blocks:  newLRU[slot](int64(slots)),
		free:    make([]int, slots),
		readers: make(map[int]int),
		leaving: make(map[int]bool),
	}
	for i := range d.free {
		d.free[i] = slots - 1 - i // from the beginning of the file on
	}
	return d, nil
}

func (d *disk) close() error { return errors.Join(d.file.Truncate(0), d.file.Close()) }

// read returns the block of a slot that the caller holds.
func (d *disk) read(s slot) ([]byte, error) {
	data := make([]byte, s.length)
	if _, err := d.file.ReadAt(data, int64(s.index)*blockBytes); err != nil {
		return nil, err
	}
	if xxh3.Hash(data) != s.sum {
		return nil, errBlockDamaged
	}
	return data, nil
}

// write writes a block to a slot that the caller has reserved.
func (d *disk) write(index int, data []byte) (slot, error) {
	_, err := d.file.WriteAt(data, int64(index)*blockBytes)
	return slot{index: index, length: len(data), sum: xxh3.Hash(data)}, err
}

// What follows is called with the Cache's lock held.

// reserve returns a slot to write to. The blocks used longest ago make room; it
// fails if all of them are being read or written.
func (d *disk) reserve(evictions *int64) (int, bool) {
	for len(d.free) == 0 {
		oldest := d.blocks.removeOldest()
		if oldest == nil {
			return 0, false
		}
		*evictions++
		d.giveBack(oldest.value.index)
	}
	last := len(d.free) - 1
	index := d.free[last]
	d.free = d.free[:last]
	return index, true
}

// giveBack makes a slot free, at once or when nobody reads it.
func (d *disk) giveBack(index int) {
	if d.readers[index] > 0 {
		d.leaving[index] = true
		return
	}
	d.free = append(d.free, index)
}

func (d *disk) drop(id blockID) {
	if s, ok := d.blocks.find(id); ok {
		d.blocks.remove(id)
		d.giveBack(s.index)
	}
}

func (d *disk) hold(s slot) { d.readers[s.index]++ }

func (d *disk) release(s slot) {
	if d.readers[s.index]--; d.readers[s.index] > 0 {
		return
	}
	delete(d.readers, s.index)
	if d.leaving[s.index] {
		delete(d.leaving, s.index)
		d.free = append(d.free, s.index)
	}
}

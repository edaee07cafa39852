package blockcache

import "bytes"

// entryBytes is about what a block in memory takes beside its bytes.
const entryBytes = 256

// find returns a block, or who is reading it, or neither: then the caller has
// taken off for it, and must land.
func (c *Cache) find(id blockID) (data []byte, other *flight, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if data, ok := c.memory.find(id); ok {
		c.stats.MemoryHits++
		return data, nil, true
	}
	if f := c.flights[id]; f != nil {
		c.stats.Joined++
		return nil, f, false
	}
	c.flights[id] = &flight{landed: make(chan struct{})}
	if c.disk != nil {
		if s, ok := c.disk.blocks.find(id); ok {
			if data := c.readSlot(id, s); data != nil {
				return data, nil, true
			}
		}
	}
	c.stats.Misses++
	return nil, nil, false
}

// readSlot reads a block that the caller took off for from the disk, and lands
// if it can. The caller holds mu, which is given up meanwhile.
func (c *Cache) readSlot(id blockID, s slot) []byte {
	c.disk.hold(s)
	c.mu.Unlock()
	data, err := c.disk.read(s)
	if err == nil {
		c.land(id, []int64{id.number}, data)
	}
	c.mu.Lock()
	c.disk.release(s)
	if err != nil {
		c.stats.DiskErrors++
		c.disk.drop(id)
		return nil
	}
	c.stats.DiskHits++
	return data
}

// land gives the blocks that the caller took off for, which are a run, to those
// who wait, and keeps them. A run that is nil could not be read.
func (c *Cache) land(id blockID, numbers []int64, run []byte) {
	var out []*entry[[]byte]
	c.mu.Lock()
	for i, n := range numbers {
		id.number = n
		f := c.flights[id]
		delete(c.flights, id)
		if run != nil {
			// A copy where the run has more: a block that stays would keep its
			// neighbours in memory.
			if f.data = blockOf(run, i); len(numbers) > 1 {
				f.data = bytes.Clone(f.data)
			}
			out = append(out, c.memory.add(id, f.data, int64(len(f.data)+entryBytes))...)
		}
		close(f.landed)
	}
	c.stats.MemoryEvictions += int64(len(out))
	c.mu.Unlock()
	if c.disk != nil {
		for _, e := range out {
			c.writeSlot(e.id, e.value)
		}
	}
}

// writeSlot writes a block that left memory to the disk, unless it is there.
func (c *Cache) writeSlot(id blockID, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.disk.blocks.find(id); ok {
		return
	}
	index, ok := c.disk.reserve(&c.stats.DiskEvictions)
	if !ok {
		return // all slots are in use at this moment
	}
	c.mu.Unlock()
	s, err := c.disk.write(index, data)
	c.mu.Lock()
	_, twice := c.disk.blocks.find(id)
	if err != nil || twice {
		if err != nil {
			c.stats.DiskErrors++
		}
		c.disk.giveBack(index)
		return
	}
	c.disk.blocks.add(id, s, 1)
}

// forget drops a block from both levels. The caller holds mu.
func (c *Cache) forget(id blockID) {
	c.memory.remove(id)
	if c.disk != nil {
		c.disk.drop(id)
	}
}

package sketch

import "github.com/zeebo/xxh3"

// Hash returns the hash under which an item is counted: xxh3 with a seed.
// Sketches made with different seeds never merge, so a deployment has one.
func Hash(seed uint64, item []byte) uint64 { return xxh3.HashSeed(item, seed) }

// HashString is [Hash] of the bytes of a string.
func HashString(seed uint64, item string) uint64 { return xxh3.HashStringSeed(item, seed) }

// HashID names the function that turned items into hashes. It is part of every
// encoding that holds hashes: sketches of different functions never merge.
type HashID uint8

// The hash functions.
const (
	XXH3     HashID = 1 // [Hash], the one this program uses
	Metro64  HashID = 2 // MetroHash64 with seed 1337, of sketches shared with axiomhq/hyperloglog
	External HashID = 3 // the caller's own
)

func (id HashID) String() string {
	switch id {
	case XXH3:
		return "xxh3"
	case Metro64:
		return "metro64"
	case External:
		return "external"
	}
	return "unknown hash"
}

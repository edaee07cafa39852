package weir

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Definition is the part of a stream that shapes its cells. It is stored with
// every segment, so that a segment can be read without the configuration of
// its day; source, lateness and budgets are not part of it.
type Definition struct {
	Stream     string        `json:"stream"`
	Seed       uint64        `json:"seed,string"` // a string, since JSON readers lose bits past 2^53
	Window     time.Duration `json:"window"`      // nanoseconds
	TimeField  Path          `json:"time_field"`
	TimeFormat TimeFormat    `json:"time_format"`
	Dimensions []Dimension   `json:"dimensions"`
	Measures   []Measure     `json:"measures"`
}

// Definition returns what shapes the cells of the stream.
func (s *Stream) Definition() Definition {
	return Definition{
		Stream:     s.Name,
		Seed:       s.Seed,
		Window:     s.Window,
		TimeField:  s.Time.Field,
		TimeFormat: s.Time.Format,
		Dimensions: s.Dimensions,
		Measures:   s.Measures,
	}
}

// Hash identifies the definition: 16 hexadecimal digits of the SHA-256 of its
// JSON, whose fields are in a fixed order.
func (d Definition) Hash() string {
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("weir: definition %+v is not JSON: %v", d, err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

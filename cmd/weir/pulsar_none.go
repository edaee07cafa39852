//go:build nopulsar

package main

import (
	"errors"
	"fmt"

	"github.com/weir-stream/weir"
)

var errNoPulsar = errors.New("this build leaves Pulsar out (nopulsar)")

// leftOut says what of the configuration this build leaves out.
func leftOut(c *weir.Config) error {
	for _, s := range c.AllStreams() {
		if s.Source.Kind == weir.Pulsar {
			return fmt.Errorf("stream %s: %w", s.Name, errNoPulsar)
		}
	}
	return nil
}

func (r *rooms) pulsar(*weir.Stream) (measured, error) { return nil, errNoPulsar }

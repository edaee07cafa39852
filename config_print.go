package weir

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
)

// YAML returns the configuration with every default filled in, as a file that
// [Parse] reads back to the same.
func (c *Config) YAML() ([]byte, error) {
	text, err := yaml.MarshalWithOptions(c,
		yaml.IndentSequence(true),
		yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(FormatDuration(d)), nil }),
		yaml.CustomMarshaler(func(s Size) ([]byte, error) { return []byte(s.String()), nil }))
	if err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	return text, nil
}

// MarshalYAML writes the short form where it says the same.
func (d DimensionConfig) MarshalYAML() (any, error) {
	if d.Name == string(d.Field) {
		return d.Name, nil
	}
	return map[string]string{d.Name: string(d.Field)}, nil
}

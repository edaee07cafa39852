package weir

import (
	"bytes"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
)

// YAML returns the configuration with every default filled in, as a file that
// [Parse] reads back to the same.
func (c *Config) YAML() ([]byte, error) {
	text, err := yaml.MarshalWithOptions(c, notation(yaml.IndentSequence(true))...)
	if err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	return text, nil
}

// JSON returns the definition of the detector with the keys and units of the
// configuration.
func (d *DetectorConfig) JSON() ([]byte, error) {
	text, err := yaml.MarshalWithOptions(d, notation()...)
	if err == nil {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the definition of detector %s: %w", d.Name, err)
	}
	return bytes.TrimSpace(text), nil
}

// notation writes units out.
func notation(more ...yaml.EncodeOption) []yaml.EncodeOption {
	return append(more,
		yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(FormatDuration(d)), nil }),
		yaml.CustomMarshaler(func(s Size) ([]byte, error) { return []byte(s.String()), nil }))
}

// MarshalYAML writes the short form where it says the same.
func (d DimensionConfig) MarshalYAML() (any, error) {
	if d.Name == string(d.Field) {
		return d.Name, nil
	}
	return map[string]string{d.Name: string(d.Field)}, nil
}

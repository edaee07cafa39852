package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
)

func newCheck() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validates a configuration and prints what it means",
		Long: `Check reads a configuration and reports every mistake in it with line, column
and what was probably meant. Of a valid one it prints the effective
configuration, all defaults written out, and how many bytes its cells take. What
it prints can be used as a configuration itself.`,
		Example: `  weir check -c weir.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(config)
			if err != nil {
				return err
			}
			if err := leftOut(c); err != nil {
				return err
			}
			text, err := describeConfig(config, c)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	configFlag(cmd, &config)
	return cmd
}

// describeConfig writes the effective configuration, with the rest as comments.
func describeConfig(path string, c *weir.Config) ([]byte, error) {
	text, err := c.YAML()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# %s is valid. With every default written out, it says:\n", path)
	out.Write(text)
	fmt.Fprintf(&out, "\n# Bytes of a cell (one series in one window), before compression:\n")
	fmt.Fprintf(&out, "# %-24s %10s %10s %10s\n", "stream", "1 event", "10", "100")
	for _, s := range c.AllStreams() {
		fmt.Fprintf(&out, "# %-24s %10d %10d %10d\n", s.Name, cellBytes(s, 1), cellBytes(s, 10), cellBytes(s, 100))
	}
	for _, note := range c.Notes() {
		fmt.Fprintf(&out, "\n# note: %s", note)
	}
	return out.Bytes(), nil
}

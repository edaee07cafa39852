package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Scripts tell a command that was called wrongly from one that failed.
func TestExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("streams: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want int
	}{
		{nil, exitOK},
		{[]string{"version"}, exitOK},
		{[]string{"serve", "--help"}, exitOK},
		{[]string{"sevre"}, exitUsage},
		{[]string{"check", "--confg", "x"}, exitUsage},
		{[]string{"check", "one"}, exitUsage},
		{[]string{"load"}, exitUsage},
		{[]string{"query", "--stream", "web", "--from", "never"}, exitUsage},
		{[]string{"check", "-c", bad}, exitUsage},
		{[]string{"check", "-c", bad + ".missing"}, exitFailed},
		{[]string{"inspect", bad + ".missing"}, exitFailed},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(test.args, strings.NewReader(""), &stdout, &stderr); got != test.want {
			t.Errorf("weir %s exits with %d, want %d; it said %q", strings.Join(test.args, " "), got, test.want, stderr.String())
		}
		if quiet := stderr.Len() == 0; quiet != (test.want == exitOK) {
			t.Errorf("weir %s writes %q to standard error", strings.Join(test.args, " "), stderr.String())
		}
	}
}

// Every command says what it does, at length, and shows how.
func TestHelp(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if cmd.Name() == "version" {
			continue
		}
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("weir %s lacks a text: short %q, long %q, example %q", cmd.Name(), cmd.Short, cmd.Long, cmd.Example)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len(line) > 100 {
				t.Errorf("weir %s: a line of %d characters: %s", cmd.Name(), len(line), line)
			}
		}
	}
}

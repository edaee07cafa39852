// Package deploy has examples of running Weir, and what this machine can check
// of them: the program is built as the image is, and reads the configuration;
// systemd, where it is installed, reads the unit. Package check beside it reads
// the other files, by the libraries of those that they are for.
package deploy

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir"
)

// dockerfileBuild gives the instruction of the Dockerfile that builds the
// program, with another output.
func dockerfileBuild(t *testing.T, output string) string {
	t.Helper()
	text := strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", " ")
	found := regexp.MustCompile(`(?m)^RUN .*(CGO_ENABLED=\S* go build .*)$`).FindStringSubmatch(text)
	if found == nil || !strings.Contains(found[1], "-o /out/weir ") || !strings.Contains(text, "COPY --from=build /out/weir ") {
		t.Fatalf("the Dockerfile does not build /out/weir, or copies something else:\n%s", text)
	}
	return strings.Replace(found[1], "/out/weir", output, 1)
}

// build runs that instruction here.
func build(t *testing.T) (bin string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the program is built once more, as the image builds it")
	}
	if runtime.GOOS != "linux" {
		t.Skip("the image and the unit are of Linux")
	}
	bin = filepath.Join(t.TempDir(), "weir")
	cmd := exec.Command("sh", "-c", dockerfileBuild(t, bin))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// The Dockerfile builds one static file, and it takes the configuration.
func TestProgramOfTheImage(t *testing.T) {
	bin := build(t)
	file, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it is not static: it wants a loader, and the image has none")
		}
	}
	if out, err := exec.Command(bin, "check", "-c", "weir.yaml").CombinedOutput(); err != nil {
		t.Errorf("weir check: %v\n%s", err, out)
	}
	text := read(t, "Dockerfile")
	stages := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(text, -1)
	if last := stages[len(stages)-1][1]; !strings.HasSuffix(last, ":nonroot") {
		t.Errorf("the image is made from %s, which may run as root", last)
	}
	wanted := strings.Fields(read(t, filepath.Join("..", "go.mod")))
	wanted = wanted[slices.Index(wanted, "go")+1:]
	if built := strings.TrimPrefix(stages[0][1], "golang:"); !strings.HasPrefix(wanted[0], built) {
		t.Errorf("it is built by Go %s, and go.mod wants %s", built, wanted[0])
	}
}

// The subcommands and the flags of the unit are the program's.
func TestUnit(t *testing.T) {
	bin := build(t)
	unit := strings.ReplaceAll(read(t, "weir.service"), "/usr/local/bin/weir", bin)
	lines := regexp.MustCompile(`(?m)^ExecStart(?:Pre)?=\S+ (\S+) (\S+) /etc/weir/weir.yaml$`).FindAllStringSubmatch(unit, -1)
	if len(lines) != 2 {
		t.Fatalf("%d commands of the unit are understood, want 2", len(lines))
	}
	for _, line := range lines {
		if out, err := exec.Command(bin, line[1], line[2], "nothing.yaml").CombinedOutput(); err == nil || !strings.Contains(string(out), "nothing.yaml") {
			t.Errorf("weir %s %s nothing.yaml: %v\n%s", line[1], line[2], err, out)
		}
	}
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze, of systemd, is not installed: nobody here can say whether the unit is right")
	}
	file := filepath.Join(t.TempDir(), "weir.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	// What it does not know, it says, and ends well.
	out, err := exec.Command(path, "verify", "--man=no", file).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err = exec.Command(path, "security", "--offline=true", "--no-pager", "--threshold=15", file).CombinedOutput() // in tenths
	if err != nil && !bytes.Contains(out, []byte("unrecognized option")) {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The configuration is one for several nodes.
func TestConfiguration(t *testing.T) {
	c, err := weir.Load("weir.yaml")
	var mistakes weir.Mistakes
	if errors.As(err, &mistakes) || err != nil {
		t.Fatal(err)
	}
	if !c.Remote() || !strings.HasPrefix(c.Listen, "0.0.0.0:") || c.Advertise != "" {
		t.Errorf("store %s, listen %s, advertise %q: nodes could not share it", c.Store, c.Listen, c.Advertise)
	}
	for _, s := range c.AllStreams() {
		if s.Source.Kind != weir.Kafka {
			t.Errorf("stream %s is not shared", s.Name)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

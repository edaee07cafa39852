// Package brokertest runs real brokers for tests and measurements: processes of
// Java on loopback, whose jars come from Maven artifacts, once a version, into
// the user's cache directory. They need java and, the first time, mvn.
//
// What is particular to a broker is its own package's: the artifacts, the
// settings, and how it is asked whether it is ready.
package brokertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrMissing says that this machine lacks what a broker needs.
var ErrMissing = errors.New("a program is missing")

// Artifact is what Maven knows jars by: group, name and version.
type Artifact struct{ Group, Name, Version string }

// Jars gives the directory with the jars of a product, and of all that they
// need, and has Maven fetch them if they are not there.
func Jars(ctx context.Context, product, version string, artifacts []Artifact, progress func(format string, args ...any)) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: java", ErrMissing)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "weir", product, version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", fmt.Errorf("%w: mvn", ErrMissing)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	progress("fetching %s %s from Maven artifacts", product, version)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), []byte(project(artifacts)), 0o600); err != nil {
		return "", err
	}
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib")
	mvn.Dir = work
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn: %w\n%s", err, out)
	}
	return dir, os.Rename(filepath.Join(work, "lib"), dir) // whole, or not at all
}

// project is a Maven project that needs the artifacts and is nothing itself.
func project(artifacts []Artifact) string {
	var b strings.Builder
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>weir.test</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
`)
	for _, a := range artifacts {
		fmt.Fprintf(&b, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n", a.Group, a.Name, a.Version)
	}
	b.WriteString("</dependencies>\n</project>\n")
	return b.String()
}

// FreePorts finds ports of loopback that nobody listens on now.
func FreePorts(n int) ([]int, error) {
	var ports []int
	var held []io.Closer
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Withs3 runs a command beside a real S3 server, Versity's gateway over a
// directory, which it installs if need be:
//
//	go run ./store/storetest/withs3 go test ./store/objects
//
// The command finds the server's address in WEIR_S3_ENDPOINT. VERSITYGW names a
// binary to use instead of installing one.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const gateway = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "withs3:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command []string) error {
	if len(command) == 0 {
		return errors.New("it wants a command to run")
	}
	binary, err := install(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "withs3-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// A folder in data is a bucket; meta has what file systems do not.
	data, meta := filepath.Join(dir, "data"), filepath.Join(dir, "meta")
	for _, folder := range []string{filepath.Join(data, "weir"), meta} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	server := exec.CommandContext(serverCtx, binary, "--port", address, "posix", "--sidecar", meta, data)
	server.Env = append(os.Environ(), "ROOT_ACCESS_KEY=weir", "ROOT_SECRET_KEY=secretsecret")
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		stopServer()
		return fmt.Errorf("start the server: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = server.Wait() // it is killed in the end
		close(ended)
	}()
	defer func() {
		stopServer()
		<-ended
	}()
	if err := await(ctx, address, ended); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, said)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "WEIR_S3_ENDPOINT=http://"+address)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// install returns the path of the server's binary, which is built once and kept
// among the user's caches.
func install(ctx context.Context) (string, error) {
	if path := os.Getenv("VERSITYGW"); path != "" {
		return path, nil
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(caches, "weir", "versitygw-v1.8.0")
	binary := filepath.Join(folder, "versitygw")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	fmt.Fprintln(os.Stderr, "withs3: installing", gateway)
	cmd := exec.CommandContext(ctx, "go", "install", gateway)
	cmd.Dir = os.TempDir() // not in a module, whose requirements it would be built with
	cmd.Env = append(os.Environ(), "GOBIN="+folder, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s: %w\n%s", gateway, err, out)
	}
	return binary, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await waits until the server listens.
func await(ctx context.Context, address string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return errors.New("the server ended by itself")
		case <-ctx.Done():
			return fmt.Errorf("the server does not listen: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

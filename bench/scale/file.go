package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weir-stream/weir/query"
)

// besideFile loads a file, and reads the same events from a topic of one
// partition and from one of many.
func (b *bench) besideFile(ctx context.Context) error {
	path := filepath.Join(b.dir, "web.ndjson")
	if err := b.write(path); err != nil {
		return err
	}
	defer os.Remove(path)
	topics := []struct {
		name       string
		partitions int
	}{{"one", 1}, {"many", b.partitions}}
	for _, t := range topics {
		if err := b.fill(ctx, t.name, t.partitions); err != nil {
			return err
		}
	}
	nothing, err := b.topic(ctx, "nothing", b.partitions)
	if err != nil {
		return err
	}
	nothing.client.Close()
	idle, err := b.cost(ctx, "nothing", "read-nothing", 0)
	if err != nil {
		return err
	}
	var file ranged
	read := make([]ranged, len(topics))
	for i := range b.runs + 1 {
		rate, err := b.load(ctx, path)
		if err != nil {
			return err
		}
		if i > 0 {
			file = append(file, rate)
		}
		for k, t := range topics {
			rate, err := b.read(ctx, t.name, fmt.Sprintf("read-%s-%d", t.name, i))
			if err != nil {
				return err
			}
			if i > 0 {
				read[k] = append(read[k], rate)
			}
		}
	}
	fmt.Printf("\n%d events, million events/s of the process's CPU time, from start to exit, median of %d runs (range)\n", b.events, b.runs)
	fmt.Printf("  %-34s %v\n", "a file, weir load", file)
	defer fmt.Printf("  %-34s %.2f s of CPU time are in the rows of topics\n", "starting and stopping a node", idle.Seconds())
	for k, t := range topics {
		fmt.Printf("  %-34s %v   %.0f %% of the file\n", fmt.Sprintf("a topic, %s, %d partitions", b.codec, t.partitions), read[k], 100*read[k].median()/file.median())
	}
	return nil
}

func (b *bench) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := b.web().WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}

// load gives million events a second of CPU time.
func (b *bench) load(ctx context.Context, path string) (float64, error) {
	const store = "loaded"
	defer os.RemoveAll(filepath.Join(b.dir, store))
	yaml, err := b.configure(store, "{file: {path: web.ndjson}}")
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.bin, "load", "-c", yaml, "--stream", "web", path)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("weir load: %w\n%s", err, out)
	}
	return float64(b.events) / 1e6 / (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// read gives million events a second of CPU time. The count that is stored is
// checked.
func (b *bench) read(ctx context.Context, topic, store string) (float64, error) {
	defer os.RemoveAll(filepath.Join(b.dir, store))
	spent, err := b.cost(ctx, topic, store, b.events)
	if err != nil {
		return 0, err
	}
	count, err := b.stored(ctx, store)
	if err == nil && count != int64(b.events) {
		err = fmt.Errorf("topic %s: %d events are counted, %d were produced", topic, count, b.events)
	}
	return float64(b.events) / 1e6 / spent.Seconds(), err
}

// cost starts a node on a topic, ends it when so many events are read, and gives
// the CPU time that it took from start to exit.
func (b *bench) cost(ctx context.Context, topic, store string, events int) (time.Duration, error) {
	n, err := b.start(ctx, store, topic)
	if err != nil {
		return 0, err
	}
	defer n.kill()
	err = b.until(ctx, []*node{n}, func(s *sharing) bool { return s.known > 0 && s.position >= int64(events) })
	if err != nil {
		return 0, err
	}
	return n.end()
}

// stored counts the events of a store that no node runs on.
func (b *bench) stored(ctx context.Context, store string) (int64, error) {
	yaml, err := b.configure(store, "{push: {}}")
	if err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, b.bin, "query", "-c", yaml, "--stream", "web", "--select", "count", "-o", "json").Output()
	if err != nil {
		return 0, fmt.Errorf("weir query: %w", err)
	}
	var a query.Answer
	if err := json.Unmarshal(out, &a); err != nil {
		return 0, fmt.Errorf("weir query: %w: %s", err, out)
	}
	return countOf(&a), nil
}

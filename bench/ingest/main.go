// Command ingest measures the main job: weir load of a seeded file of two
// million web requests, from NDJSON to segments on disk, on one core.
//
//	go run ./bench/ingest [-runs 5] [-events 2000000] [-series 1000] [-window 10s] [-cores 1]
//
// Every run is the program as users have it, in a process of its own with
// GOMAXPROCS=1 and an empty store. Printed are events a second of CPU time,
// user and system, of the whole process from start to exit, since the wall's
// clock also measures the neighbours; the wall's clock stands beside it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/workload"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/ingest:", err)
		os.Exit(1)
	}
}

const config = `
flush: {memory: 512MiB}
streams:
  web:
    source: {file: {path: web.ndjson}}
    time: {field: time}
    window: %s
    dimensions: [service, region]
    max_series: 1000000
    measures:
      latency: {quantile: latency}
      user:    {distinct: user}
      path:    {top: path, slots: 64}
`

func run() error {
	runs := flag.Int("runs", 5, "counted runs, after one that is not")
	events := flag.Int("events", 2_000_000, "events in the file")
	series := flag.Int("series", 1000, "combinations of service and region")
	window := flag.Duration("window", 10*time.Second, "width of a window")
	cores := flag.Int("cores", 1, "GOMAXPROCS of the program")
	flag.Parse()

	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "weir")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/weir-stream/weir/cmd/weir").CombinedOutput(); err != nil {
		return fmt.Errorf("build weir: %w\n%s", err, out)
	}
	w := workload.Standard()
	w.Events, w.Services = *events, max(2, *series/len(workload.Regions()))
	f, err := os.Create(filepath.Join(dir, "web.ndjson"))
	if err != nil {
		return err
	}
	size, err := w.WriteTo(f)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	yaml := filepath.Join(dir, "weir.yaml")
	if err := os.WriteFile(yaml, fmt.Appendf(nil, config, *window), 0o644); err != nil {
		return err
	}

	var cpu, wall []float64
	var stored int64
	var peak int64
	for i := range *runs + 1 {
		if err := os.RemoveAll(filepath.Join(dir, "weir-data")); err != nil {
			return err
		}
		cmd := exec.Command(bin, "load", "-c", yaml, "--stream", "web", f.Name())
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", *cores))
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("weir load: %w\n%s", err, out)
		}
		if i == 0 {
			continue
		}
		wall = append(wall, float64(*events)/time.Since(began).Seconds())
		cpu = append(cpu, float64(*events)/(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds())
		peak = max(peak, maxRSS(cmd.ProcessState))
		if stored, err = treeSize(filepath.Join(dir, "weir-data")); err != nil {
			return err
		}
	}
	count, err := ask(bin, yaml)
	if err != nil {
		return err
	}
	if count != int64(*events) {
		return fmt.Errorf("the store counts %d events, the file has %d", count, *events)
	}
	fmt.Printf("%d events of %.0f bytes, %d series, windows of %v, %d core: count checked\n", *events, float64(size)/float64(*events), *series, *window, *cores)
	print := func(name string, v []float64) {
		slices.Sort(v)
		fmt.Printf("  %-28s median %5.2f million   (%.2f to %.2f, %d runs)\n", name, v[len(v)/2]/1e6, v[0]/1e6, v[len(v)-1]/1e6, len(v))
	}
	print("events / s of CPU time", cpu)
	print("events / s on the wall", wall)
	fmt.Printf("  %-28s %.1f bytes an event, %.0f %% of the file; peak memory %d MiB\n", "in segments",
		float64(stored)/float64(*events), 100*float64(stored)/float64(size), peak>>20)
	return nil
}

// ask counts what the store holds.
func ask(bin, yaml string) (int64, error) {
	out, err := exec.Command(bin, "query", "-c", yaml, "--stream", "web", "--select", "count", "-o", "json").Output()
	if err != nil {
		return 0, fmt.Errorf("weir query: %w", err)
	}
	var a struct {
		Series []struct {
			Values map[string]struct{ Value []int64 }
		}
	}
	if err := json.Unmarshal(out, &a); err != nil || len(a.Series) != 1 {
		return 0, fmt.Errorf("weir query: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return a.Series[0].Values["count"].Value[0], nil
}

func treeSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

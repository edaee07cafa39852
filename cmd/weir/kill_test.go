package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests here run the program as a process of its own and kill it with
// SIGKILL at random moments. WEIR_KILLS says how often, WEIR_SEED repeats a run.

func killSettings(t *testing.T) (kills int, rng *rand.Rand) {
	t.Helper()
	kills, seed := 50, uint64(time.Now().UnixNano())
	for name, v := range map[string]func(uint64){
		"WEIR_KILLS": func(n uint64) { kills = int(n) }, "WEIR_SEED": func(n uint64) { seed = n }} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			v(n)
		}
	}
	t.Logf("WEIR_SEED=%d WEIR_KILLS=%d", seed, kills)
	return kills, rand.New(rand.NewPCG(seed, 1))
}

// program is the program, for processes of its own: as the scripts have it, it is
// this test's binary under another name.
func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes of its own, which takes long; run without -short")
	}
	bin, err := exec.LookPath("weir")
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

const killConfig = `
listen: %s
flush: {interval: 20ms}
streams:
  numbers:
    source: {%s}
    time: {field: t, format: unix_ms}
    window: 100ms
    dimensions: [client]
    measures:
      n: {sum: n, distinct: n}
`

// server is a weir that is killed and started again, on one address.
type server struct {
	t      *testing.T
	bin    string
	dir    string
	url    string
	cmd    *exec.Cmd
	ended  chan error
	output bytes.Buffer
}

func (s *server) start() {
	s.t.Helper()
	s.output.Reset()
	s.cmd = exec.Command(s.bin, "serve", "-c", filepath.Join(s.dir, "weir.yaml"))
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(s.cmd, s.ended)
}

// awaitReady waits until the server answers, or has ended by itself.
func (s *server) awaitReady() {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		select {
		case err := <-s.ended:
			s.t.Fatalf("the server ended by itself: %v\n%s", err, s.output.String())
		default:
		}
		if resp, err := http.Get(s.url + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	s.cmd.Process.Kill()
	<-s.ended
	s.t.Fatalf("the server is not ready after 30 s\n%s", s.output.String())
}

func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatalf("kill: %v\n%s", err, s.output.String())
	}
	<-s.ended
}

// stop ends the server as an operator would.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		s.t.Fatalf("stop: %v\n%s", err, s.output.String())
	}
}

// client pushes batches of numbered events, one after the other.
type client struct {
	name        string
	keyed       bool // retry each batch under its key until it is acknowledged
	acked, sent int64
	sumOfAcked  int64
	duplicates  int64
}

func (c *client) run(ctx context.Context, base string, rng *rand.Rand) error {
	next := int64(1)
	for batch := 0; ; batch++ {
		if ctx.Err() != nil {
			return nil
		}
		var body bytes.Buffer
		n, sum := int64(1+rng.IntN(40)), int64(0)
		for range n {
			fmt.Fprintf(&body, "{\"t\":%d,\"client\":%q,\"n\":%d}\n", time.Now().UnixMilli(), c.name, next)
			sum += next
			next++
		}
		c.sent += n
		for {
			acked, duplicate, err := c.push(base, fmt.Sprintf("%s-%d", c.name, batch), body.Bytes(), n)
			if err != nil {
				return err
			}
			if acked {
				c.acked += n
				c.sumOfAcked += sum
				if duplicate {
					c.duplicates += n
				}
				if c.keyed && rng.IntN(10) == 0 { // a client that did not hear the answer
					if acked, duplicate, err = c.push(base, fmt.Sprintf("%s-%d", c.name, batch), body.Bytes(), n); err != nil {
						return err
					} else if acked && !duplicate {
						return fmt.Errorf("batch %d of %s was acknowledged twice as new", batch, c.name)
					}
				}
				break
			}
			time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
			if !c.keyed {
				break // nobody knows what became of it
			}
		}
	}
}

func (c *client) push(base, key string, body []byte, n int64) (acked, duplicate bool, err error) {
	req, err := http.NewRequest(http.MethodPost, base+"/v1/streams/numbers/events", bytes.NewReader(body))
	if err != nil {
		return false, false, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if c.keyed {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, false, nil // killed
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, false, nil
	}
	switch resp.StatusCode {
	case http.StatusOK:
		var ack struct {
			Accepted  int64
			Duplicate bool
		}
		if err := json.Unmarshal(text, &ack); err != nil || ack.Accepted != n {
			return false, false, fmt.Errorf("acknowledged %s, want %d events: %v", text, n, err)
		}
		return true, ack.Duplicate, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return false, false, nil
	}
	return false, false, fmt.Errorf("push: %s: %s", resp.Status, text)
}

// counts asks for count and sum of each client.
func counts(base string) (map[string][2]int64, error) {
	resp, err := http.Get(base + "/v1/query?" + url.Values{"stream": {"numbers"}, "select": {"count,n.sum,n.distinct"}, "by": {"client"}}.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("query: %s: %s: %v", resp.Status, text, err)
	}
	return readCounts(text)
}

func readCounts(text []byte) (map[string][2]int64, error) {
	var a struct {
		Series []struct {
			By     map[string]string
			Values map[string]struct{ Value []float64 }
		}
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	out := make(map[string][2]int64)
	for _, s := range a.Series {
		out[s.By["client"]] = [2]int64{int64(s.Values["count"].Value[0]), int64(s.Values["n.sum"].Value[0])}
	}
	return out, nil
}

func TestKilledServerLosesNothing(t *testing.T) {
	kills, rng := killSettings(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	s := &server{t: t, bin: program(t), dir: t.TempDir(), url: "http://" + address}
	config := fmt.Sprintf(killConfig, address, "push: {partitions: 2}")
	if err := os.WriteFile(filepath.Join(s.dir, "weir.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.awaitReady()

	ctx, stop := context.WithCancel(context.Background())
	var clients []*client
	var group sync.WaitGroup
	failed := make(chan error, 16)
	for i := range 4 {
		c := &client{name: fmt.Sprintf("client-%d", i), keyed: i < 3}
		clients = append(clients, c)
		own := rand.New(rand.NewPCG(rng.Uint64(), 2))
		group.Go(func() {
			if err := c.run(ctx, s.url, own); err != nil {
				failed <- err
			}
		})
	}
	for i := range kills {
		time.Sleep(time.Duration(rng.IntN(250)) * time.Millisecond)
		s.kill()
		s.start()
		if i%5 != 0 { // or else it is killed while it starts
			s.awaitReady()
		}
		if len(failed) > 0 {
			break
		}
	}
	s.awaitReady()
	time.Sleep(300 * time.Millisecond)
	stop()
	group.Wait()
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		got, err := counts(s.url)
		if err != nil {
			t.Fatalf("%s: %v\n%s", when, err, s.output.String())
		}
		for _, c := range clients {
			count, sum := got[c.name][0], got[c.name][1]
			if count < c.acked || count > c.sent {
				t.Errorf("%s: %s: %d events counted, %d acknowledged, %d sent", when, c.name, count, c.acked, c.sent)
			}
			if c.keyed && (count != c.acked || sum != c.sumOfAcked) {
				t.Errorf("%s: %s: %d events with sum %d counted, want exactly %d with sum %d", when, c.name, count, sum, c.acked, c.sumOfAcked)
			}
		}
	}
	// An acknowledged event is durable, and readable within moments.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got, err := counts(s.url)
		total, want := int64(0), int64(0)
		for _, c := range clients {
			total += got[c.name][0]
			want += c.acked
		}
		if err == nil && total >= want || time.Now().After(deadline) {
			break
		}
	}
	check("live")
	s.stop()
	s.start()
	s.awaitReady()
	check("after a clean restart")
	s.stop()
	var acked, sent, again int64
	for _, c := range clients {
		acked, sent, again = acked+c.acked, sent+c.sent, again+c.duplicates
	}
	t.Logf("%d kills: %d events sent, %d acknowledged, of which %d were told to be there already; all counted, none twice", kills, sent, acked, again)
}

func TestKilledLoadIsExact(t *testing.T) {
	kills, rng := killSettings(t)
	bin, dir := program(t), t.TempDir()
	file, config := filepath.Join(dir, "numbers.ndjson"), filepath.Join(dir, "weir.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, killConfig, "127.0.0.1:0", "file: {path: numbers.ndjson}"), 0o644); err != nil {
		t.Fatal(err)
	}
	var written, sum int64
	grow := func(n int) {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var b []byte
		for range n {
			written++
			sum += written
			b = fmt.Appendf(b, "{\"t\":%d,\"client\":\"file\",\"n\":%d}\n", 1_700_000_000_000+written, written)
		}
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	load := func(killAfter time.Duration) (killed bool) {
		cmd := exec.Command(bin, "load", "-c", config, file)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var timer <-chan time.Time
		if killAfter > 0 {
			timer = time.After(killAfter)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("load: %v\n%s", err, out.String())
			}
			return false
		case <-timer:
			cmd.Process.Kill()
			var exit *exec.ExitError
			if err := <-ended; errors.As(err, &exit) && exit.Exited() {
				t.Fatalf("load: %v\n%s", err, out.String())
			}
			return true
		}
	}
	grow(200_000)
	done := 0
	for done < kills {
		if load(time.Duration(10+rng.IntN(100)) * time.Millisecond) {
			done++
		} else {
			grow(1 + rng.IntN(50_000))
		}
	}
	load(0)
	load(0)
	out, err := exec.Command(bin, "query", "-c", config, "--stream", "numbers", "--select", "count,n.sum", "--by", "client", "-o", "json").Output()
	if err != nil {
		t.Fatalf("query: %v\n%s", err, out)
	}
	got, err := readCounts(out)
	if err != nil {
		t.Fatal(err)
	}
	if got["file"] != [2]int64{written, sum} {
		t.Errorf("count and sum are %v, want exactly %d and %d", got["file"], written, sum)
	}
	t.Logf("%d kills: %d events, count and sum exact", done, written)
}

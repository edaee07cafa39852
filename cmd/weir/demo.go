package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

func newDemo() *cobra.Command {
	var (
		seed     uint64
		duration time.Duration
		listen   string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Shows it at work: a server, a stream of web requests, live answers",
		Long: `Demo starts a server on a free port with a fresh directory and pushes it the
requests of a made-up shop over HTTP: first those of the last three days, as
fast as it takes them, then live ones. Meanwhile it asks and shows the answers.

Ctrl-C ends it and removes the directory. Where nobody watches (the output is
not a terminal) it ends by itself after ten seconds.`,
		Example: `  weir demo
  weir demo --duration 30s --listen 127.0.0.1:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{seed: seed, out: cmd.OutOrStdout()}
			d.watched = isTerminal(d.out)
			if duration == 0 && !d.watched {
				duration = 10 * time.Second
			}
			ctx := cmd.Context()
			if duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, duration)
				defer cancel()
			}
			return d.run(ctx, listen)
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "of the made-up requests")
	cmd.Flags().DurationVar(&duration, "duration", 0, "end after this long (default: at Ctrl-C)")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "`address` of the server")
	return cmd
}

const (
	demoStream  = "requests"
	demoHistory = 3 * 24 * time.Hour
	demoPerHour = 20_000
	demoSlice   = 10 * time.Minute // of the past, in one batch
	demoRefresh = time.Second      // between two looks
)

// demo pushes and asks. One goroutine pushes, another asks and draws.
type demo struct {
	seed    uint64
	out     io.Writer
	watched bool
	server  *remote
	begun   time.Time

	sent atomic.Int64 // events acknowledged
	upTo atomic.Int64 // event time reached, Unix nanoseconds
	live atomic.Bool  // the past is done
}

func (d *demo) run(ctx context.Context, listen string) (err error) {
	dir, err := os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := weir.Parse(filepath.Join(dir, "weir.yaml"), []byte(demoConfig(filepath.Join(dir, "data"), listen)))
	if err != nil {
		return err
	}
	// Errors would tear the picture, so they wait until it is gone.
	var errorLog bytes.Buffer
	log := slog.New(slog.NewTextHandler(&errorLog, &slog.HandlerOptions{Level: slog.LevelError}))

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	address := make(chan net.Addr, 1)
	served := make(chan error, 1)
	go func() { served <- serve(serving, c, log, func(a net.Addr) { address <- a }) }()
	var failed error
	select {
	case err := <-served:
		stopServing()
		return err
	case a := <-address:
		failed = d.show(ctx, a.String(), dir)
	}
	stopServing()
	err = errors.Join(failed, <-served)
	if err != nil {
		_, _ = errorLog.WriteTo(d.out)
	} else {
		fmt.Fprintf(d.out, "\nStopped, and removed %s.\n", dir)
	}
	return err
}

// show pushes and asks until ctx ends, which is how a demo ends well.
func (d *demo) show(ctx context.Context, address, dir string) error {
	c, err := newRemote(address)
	if err != nil {
		return err
	}
	d.server, d.begun = c, time.Now()
	fmt.Fprintf(d.out, "A server runs on %s with a fresh store in %s.\n", c.base, dir)
	fmt.Fprintf(d.out, "A made-up shop (seed %d) pushes it the requests of the last %d days, then live ones.\n",
		d.seed, demoHistory/(24*time.Hour))
	fmt.Fprintf(d.out, "%s\n", d.urls())

	group, showing := errgroup.WithContext(ctx)
	group.Go(func() error { return d.push(showing) })
	group.Go(func() error { return d.watch(showing) })
	err = group.Wait()
	if ctx.Err() != nil {
		return d.last() // what failed, failed because it was told to stop
	}
	return err
}

func (d *demo) urls() string {
	return fmt.Sprintf(`
  Streams   %[1]s/v1/streams
  A query   %[1]s/v1/query?stream=requests&select=count,latency.p99&by=service
  The API   %[1]s/openapi.yaml
  Metrics   %[1]s/metrics

From another terminal:
  weir query --url %[1]s --stream requests --select count,latency.p50,latency.p99,user.distinct --by service
`, d.server.base)
}

// push sends the past as fast as it is taken, then the present as it happens.
func (d *demo) push(ctx context.Context) error {
	t := newTraffic(d.seed, demoPerHour)
	at := d.begun.Add(-demoHistory).Truncate(demoSlice)
	for batch := 0; ; batch++ {
		to := at.Add(demoSlice)
		if now := time.Now(); to.After(now) {
			d.live.Store(true)
			select {
			case <-time.After(250 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
			to = time.Now()
		}
		body, events := t.appendRequests(nil, at, to)
		if events > 0 {
			if err := d.pushBatch(ctx, fmt.Sprintf("demo-%d-%d", d.seed, batch), body); err != nil {
				return err
			}
		}
		d.sent.Add(int64(events))
		d.upTo.Store(to.UnixNano())
		at = to
	}
}

// pushBatch pushes until the batch is taken. A server that is behind says when
// to come back.
func (d *demo) pushBatch(ctx context.Context, key string, body []byte) error {
	for {
		err := d.server.push(ctx, demoStream, key, body)
		var refused *serverError
		if !errors.As(err, &refused) || refused.status != http.StatusTooManyRequests {
			return err
		}
		seconds, err := strconv.Atoi(refused.retryAfter)
		if err != nil {
			seconds = 1
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch asks and draws again and again.
func (d *demo) watch(ctx context.Context) error {
	every := demoRefresh
	if !d.watched {
		every = 3 * demoRefresh
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if d.sent.Load() == 0 {
			continue
		}
		if !d.watched {
			fmt.Fprintln(d.out, d.status())
			continue
		}
		picture, err := d.picture(ctx)
		if err != nil {
			return err
		}
		const below = 3 // lines
		picture = firstLines(picture, terminalHeight(d.out)-below-1)
		// To the top left, and clear what is below.
		fmt.Fprintf(d.out, "\x1b[H\x1b[J%s\nOpen %[2]s/v1/streams or %[2]s/v1/query?stream=%[3]s&select=count,latency.p99&by=service\nCtrl-C ends it.\n",
			picture, d.server.base, demoStream)
	}
}

// firstLines cuts a picture that is taller than the terminal, which would
// scroll.
func firstLines(picture []byte, n int) []byte {
	at := 0
	for range max(n, 1) {
		next := bytes.IndexByte(picture[at:], '\n')
		if next < 0 {
			return picture
		}
		at += next + 1
	}
	return picture[:at]
}

// last draws once more after the end, so that a demo nobody watched has
// something to show too.
func (d *demo) last() error {
	if d.watched {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	picture, err := d.picture(ctx)
	if err != nil {
		return err
	}
	_, err = d.out.Write(picture)
	return err
}

func (d *demo) status() string {
	took := time.Since(d.begun)
	doing := "live now"
	if !d.live.Load() {
		doing = "catching up with now"
	}
	return fmt.Sprintf("%s events in %s, event time %s, %s", grouped(d.sent.Load()), took.Round(time.Second),
		time.Unix(0, d.upTo.Load()).UTC().Format("2006-01-02 15:04:05"), doing)
}

// picture asks the questions of the demo and draws the answers.
func (d *demo) picture(ctx context.Context) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", d.status())
	for _, q := range []struct {
		title string
		ask   query.Text
	}{
		{"How many, how slow, how many different people?", query.Text{Select: "count,latency.p50,latency.p99,user.distinct", By: "service"}},
		{"How does it go by the hour?", query.Text{Select: "count,latency.p99", By: "region", Step: "1h"}},
		{"Which pages most?", query.Text{Select: "path.top(5)"}},
	} {
		q.ask.Stream = demoStream
		begun := time.Now()
		answer, err := d.server.query(ctx, q.ask)
		if err != nil {
			return nil, err
		}
		answer.Notes = nil // that it is not complete yet is the point of a live answer
		took := time.Since(begun)
		fmt.Fprintf(&b, "\n%s  (asked in %s)\n\n", q.title, took.Round(100*time.Microsecond))
		if err := answer.WriteTable(&b, terminalWidth(d.out)); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

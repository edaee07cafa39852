package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
)

// keeper is who is asked about incidents and silences: a server, or the store of
// a configuration that none serves. The store is asked through the API as well,
// without a network, so that both answer the same.
type keeper struct {
	config, address, output string
	timeout                 time.Duration
}

// flags gives a command the flags that say whom to ask, and how to print what
// they answer.
func (k *keeper) flags(cmd *cobra.Command) {
	configFlag(cmd, &k.config)
	flags := cmd.Flags()
	flags.StringVar(&k.address, "url", "http://127.0.0.1:8080", "address of the `server`")
	flags.StringVarP(&k.output, "output", "o", "table", "`form` of the answer: table or json")
	flags.DurationVar(&k.timeout, "timeout", time.Minute, "how long to wait for the answer")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)))
}

// ask sends a request, with a body if there is one, and prints the answer: as it
// came, or by the table. A table may be nil where there is no answer to print.
func (k *keeper) ask(cmd *cobra.Command, method, path string, query url.Values, body any, table func(w io.Writer, answer []byte) error) error {
	if k.output != "table" && k.output != "json" {
		return usagef(cmd, "--output %q is not one of table, json", k.output)
	}
	if cmd.Flags().Changed("url") && cmd.Flags().Changed("config") {
		return usagef(cmd, "--url and --config both say whom to ask; give one of them")
	}
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return err
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), k.timeout, fmt.Errorf("no answer within %s (--timeout)", k.timeout))
	defer cancel()
	send := func(c *remote) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(encoded))
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", c.base, err)
		}
		request.Header.Set("Accept", "application/json")
		if encoded != nil {
			request.Header.Set("Content-Type", "application/json")
		}
		return c.do(request, maxAnswer)
	}
	answer, err := k.send(ctx, cmd, send)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && cmd.Context().Err() == nil {
			return cause
		}
		return err
	}
	if k.output == "table" && table != nil {
		return table(cmd.OutOrStdout(), answer)
	}
	_, err = cmd.OutOrStdout().Write(answer)
	return err
}

// send finds out who is to be asked.
func (k *keeper) send(ctx context.Context, cmd *cobra.Command, send func(*remote) ([]byte, error)) ([]byte, error) {
	c, err := weir.Load(k.config)
	if cmd.Flags().Changed("url") || errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
		server, err := newRemote(k.address)
		if err != nil {
			return nil, err
		}
		return send(server)
	}
	if err != nil {
		return nil, err
	}
	server, err := newRemote(reachable(c.Listen))
	if err != nil {
		return nil, err
	}
	server.store = storeID(c)
	answer, err := send(server)
	var refused *net.OpError
	switch {
	case errors.Is(err, errOtherStore):
		fmt.Fprintf(cmd.ErrOrStderr(), "weir: %v; using %s itself\n", err, c.Store)
		return askKept(ctx, c, send)
	case errors.As(err, &refused) && refused.Op == "dial":
		return askKept(ctx, c, send)
	}
	return answer, err
}

// askKept asks the store of a configuration.
func askKept(ctx context.Context, c *weir.Config, send func(*remote) ([]byte, error)) (_ []byte, err error) {
	if _, err := os.Stat(c.Store); !c.Remote() && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no server of this configuration listens on %s, and there is no store in %s; load or serve something first", c.Listen, c.Store)
	}
	if c.Cache != nil {
		c.Cache.Disk = nil // a server may hold it
	}
	r, err := openRooms(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	incidents, silences := r.incidents()
	server, err := api.New(api.Options{Streams: r.streams, Incidents: incidents, Silences: silences})
	if err != nil {
		return nil, err
	}
	return send(&remote{base: "http://store", http: &http.Client{Transport: within{server.Handler()}}})
}

// within answers requests by a handler of this process.
type within struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (t within) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &recorded{header: http.Header{}, status: http.StatusOK}
	t.handler.ServeHTTP(answer, r)
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", answer.status, http.StatusText(answer.status)),
		StatusCode: answer.status, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
		Header: answer.header, Body: io.NopCloser(&answer.body), ContentLength: int64(answer.body.Len()), Request: r,
	}, nil
}

// recorded is an http.ResponseWriter that keeps what is written.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *recorded) Header() http.Header            { return a.header }
func (a *recorded) WriteHeader(status int)         { a.status = status }
func (a *recorded) Write(data []byte) (int, error) { return a.body.Write(data) }

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/query"
)

// remote is a server, spoken to over its HTTP API.
type remote struct {
	base  string // such as http://127.0.0.1:8080
	store string // what it must answer from, a storeID; empty: whatever it does
	http  *http.Client
}

// errOtherStore says that a server is none, or not the one that was meant.
var errOtherStore = errors.New("what listens there does not serve the store of this configuration")

// storeID tells the stores of this machine's configurations apart, without
// telling others where they are.
func storeID(c *weir.Config) string {
	place := c.Store
	if !strings.Contains(place, "://") {
		if path, err := filepath.Abs(place); err == nil {
			place = path
		}
		if path, err := filepath.EvalSymlinks(place); err == nil {
			place = path
		}
	}
	sum := sha256.Sum256([]byte(place))
	return hex.EncodeToString(sum[:8])
}

// newRemote reads the address of a server, which may leave the scheme out.
func newRemote(address string) (*remote, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("address of the server: %q is not like http://127.0.0.1:8080", address)
	}
	return &remote{
		base: u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/"),
		http: &http.Client{},
	}, nil
}

// Bounds on what is read of an answer.
const (
	maxAnswer  = 1 << 30
	maxProblem = 1 << 20
)

// query asks the server a question.
func (c *remote) query(ctx context.Context, q query.Text) (*query.Answer, error) {
	values := url.Values{}
	for name, value := range map[string]string{
		"stream": q.Stream, "select": q.Select, "by": q.By, "where": q.Where, "from": q.From, "to": q.To,
		"step": q.Step, "window": q.Window, "confidence": q.Confidence,
	} {
		if value != "" {
			values.Set(name, value)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/query?"+values.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base, err)
	}
	request.Header.Set("Accept", "application/json")
	body, err := c.do(request, maxAnswer)
	if err != nil {
		return nil, err
	}
	answer := new(query.Answer)
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.base, err)
	}
	return answer, nil
}

// Deliveries lists what webhooks were told.
func (c *remote) Deliveries(ctx context.Context, f weir.DeliveryFilter) ([]weir.Delivery, string, error) {
	values := url.Values{}
	for name, value := range map[string]string{
		"webhook": f.Webhook, "incident": f.Incident, "state": string(f.State), "before": f.Before, "limit": strconv.Itoa(f.Limit),
	} {
		if value != "" && value != "0" {
			values.Set(name, value)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/deliveries?"+values.Encode(), nil)
	if err != nil {
		return nil, "", fmt.Errorf("ask %s: %w", c.base, err)
	}
	body, err := c.do(request, maxAnswer)
	if err != nil {
		return nil, "", err
	}
	var answer struct {
		Deliveries []weir.Delivery
		Next       string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, "", fmt.Errorf("answer of %s: %w", c.base, err)
	}
	return answer.Deliveries, answer.Next, nil
}

// Redeliver has a message sent again.
func (c *remote) Redeliver(ctx context.Context, id, webhook string) error {
	target := c.base + "/v1/deliveries/" + url.PathEscape(webhook) + "/" + url.PathEscape(id) + "/redeliver"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.base, err)
	}
	_, err = c.do(request, maxProblem)
	return err
}

// push sends events, one a line, and returns once they are on disk there. The
// key names the batch, so that sending it again counts it once.
func (c *remote) push(ctx context.Context, stream, key string, ndjson []byte) error {
	target := c.base + "/v1/streams/" + url.PathEscape(stream) + "/events"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(ndjson))
	if err != nil {
		return fmt.Errorf("push to %s: %w", c.base, err)
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Header.Set("Idempotency-Key", key)
	_, err = c.do(request, maxProblem)
	return err
}

// do returns the body of a success, or the error that the server answers with.
func (c *remote) do(request *http.Request, limit int64) ([]byte, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base, errors.Unwrap(err)) // without the long URL
	}
	defer response.Body.Close()
	if c.store != "" && response.Header.Get(api.StoreHeader) != c.store {
		return nil, fmt.Errorf("ask %s: %w", c.base, errOtherStore)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.base, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("answer of %s: more than %d bytes; ask for a wider step or fewer series", c.base, limit)
	}
	if response.StatusCode/100 != 2 {
		return nil, problemOf(response, body)
	}
	return body, nil
}

// serverError is what a server refused a request with.
type serverError struct {
	status     int
	detail     string
	retryAfter string
}

func (e *serverError) Error() string { return e.detail }

// problemOf reads an RFC 9457 problem.
func problemOf(response *http.Response, body []byte) error {
	var p struct {
		Title, Detail string
		Errors        []struct{ Parameter, Message, Suggestion string }
	}
	e := &serverError{status: response.StatusCode, retryAfter: response.Header.Get("Retry-After")}
	if err := json.Unmarshal(body, &p); err != nil || p.Title == "" {
		e.detail = fmt.Sprintf("the server answered %s, which is not how Weir answers; is the address right?", response.Status)
		return e
	}
	e.detail = p.Detail
	if e.detail == "" {
		e.detail = p.Title
	}
	return e
}

package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

const (
	connectTimeout = 5 * time.Second
	answerTime     = 2 * time.Second // to read how the body of an answer begins
	answerBytes    = 1 << 10         // of it that are kept
	maxRetryAfter  = time.Hour
	userAgent      = "Weir (https://github.com/weir-stream/weir)"
)

// sender makes requests to one endpoint. Each has a connection of its own: it is
// never one that the other side has given up, and its address is checked. It
// goes where the URL says: no proxy of the environment is used, which would
// connect to whatever address it is asked for, and no redirect is followed.
type sender struct {
	config  *weir.WebhookConfig
	address string
	signer  *signer // nil: nothing is signed, and no ID is told
	routing string  // PagerDuty's routing key
	client  *http.Client
	dialer  *net.Dialer
	hidden  *strings.Replacer // of what must not be printed
	now     func() time.Time
}

// newSender reads the secrets of a webhook.
func newSender(c *weir.WebhookConfig, resolver *net.Resolver, now func() time.Time) (*sender, error) {
	address, err := c.Address()
	if err != nil {
		return nil, err
	}
	secrets, err := c.Secrets()
	if err != nil {
		return nil, err
	}
	s := &sender{config: c, now: now}
	hidden := []string{}
	for _, secret := range secrets {
		if secret == "" {
			return nil, fmt.Errorf("webhook %s: its secret is empty", c.Name)
		}
		hidden = append(hidden, secret, "[secret]")
	}
	target, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return nil, fmt.Errorf("webhook %s: its URL cannot be read", c.Name) // the URL may be a secret
	}
	if c.URLEnv != "" {
		hidden = append(hidden, address, "[URL]", target.Host, "[host]", target.Hostname(), "[host]")
		if len(target.Path) > 1 {
			hidden = append(hidden, target.Path, "[path]")
		}
		if target.RawQuery != "" {
			hidden = append(hidden, target.RawQuery, "[query]")
		}
	}
	switch c.Format {
	case "pagerduty":
		if len(secrets) != 1 {
			return nil, fmt.Errorf("webhook %s: pagerduty wants one secret, its routing key, and not %d", c.Name, len(secrets))
		}
		s.routing = secrets[0]
	case "slack":
	case "alertmanager_api":
		target = target.JoinPath("api/v2/alerts")
		fallthrough
	default:
		if s.signer, err = newSigner(secrets); err != nil {
			return nil, fmt.Errorf("webhook %s: its secret: %w", c.Name, err)
		}
	}
	s.address, s.hidden = target.String(), strings.NewReplacer(hidden...)
	s.dialer = &net.Dialer{Timeout: min(connectTimeout, c.Timeout), KeepAlive: -1, Resolver: resolver}
	if !c.AllowPrivate {
		s.dialer.Control = guardDial
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            s.dialer.DialContext,
			DisableKeepAlives:      true,
			DisableCompression:     true, // a small answer must not become a large one
			TLSHandshakeTimeout:    min(connectTimeout, c.Timeout),
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ResponseHeaderTimeout:  c.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// send makes one request. It ends with ctx, or after the webhook's timeout.
func (s *sender) send(ctx context.Context, id string, body []byte) outcome {
	o := outcome{at: s.now()}
	limited, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, s.address, bytes.NewReader(body))
	if err != nil {
		o.err = errors.New("the URL cannot be requested")
		return o
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", userAgent)
	if s.signer != nil {
		s.signer.sign(request.Header, id, o.at, body)
	}
	response, err := s.client.Do(request)
	o.took = s.now().Sub(o.at)
	if err != nil {
		o.err = s.failure(err)
		o.aborted = ctx.Err() != nil
		return o
	}
	o.status = response.StatusCode
	if o.status == http.StatusSwitchingProtocols {
		response.Body.Close() // it is the connection, which ctx does not end
	} else {
		o.answer = s.begin(cancel, response.Body)
	}
	if o.status/100 != 2 {
		o.err = fmt.Errorf("it answered %s", s.hide(response.Status))
		o.retryAfter = retryAfter(response.Header.Get("Retry-After"), s.now())
	}
	if o.status/100 == 3 {
		o.err = fmt.Errorf("it answered %s, and redirects are not followed: give the URL that it leads to", s.hide(response.Status))
	}
	return o
}

// failure says why there was no answer, without the URL.
func (s *sender) failure(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	switch {
	case errors.Is(err, errPrivate):
		return &hiddenError{s.hide(err.Error()), errPrivate}
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", weir.FormatDuration(s.config.Timeout))
	}
	return &hiddenError{s.hide(err.Error()), err}
}

// hiddenError is an error of which secrets were taken.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string        { return e.text }
func (e *hiddenError) Is(target error) bool { return errors.Is(e.err, target) }

// begin reads how a body begins: what it says of a failure. It may be without
// end, or never come.
func (s *sender) begin(cancel context.CancelFunc, body io.ReadCloser) string {
	defer body.Close()
	defer time.AfterFunc(answerTime, cancel).Stop()
	const spare = 256 // so that a secret across the end is seen whole
	data, _ := io.ReadAll(io.LimitReader(body, answerBytes+spare))
	text := strings.ToValidUTF8(s.hide(string(data)), "\uFFFD")
	return strings.ToValidUTF8(text[:min(len(text), answerBytes)], "")
}

// hide takes the webhook's secrets out of a text.
func (s *sender) hide(text string) string { return s.hidden.Replace(text) }

// retryAfter reads the header Retry-After, in seconds or as a date.
func retryAfter(text string, now time.Time) time.Duration {
	if text = strings.TrimSpace(text); text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

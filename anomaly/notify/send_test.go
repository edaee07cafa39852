package notify_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
)

// server answers each connection by a function, which need not speak HTTP well.
func server(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				defer c.Close()
				answer(c)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
	})
	return "http://" + listener.Addr().String()
}

// readRequest reads what comes first, which is all of a small request.
func readRequest(c net.Conn) { c.Read(make([]byte, 64<<10)) }

// waitClosed waits until the other side has closed, or a test takes too long.
func waitClosed(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	io.Copy(io.Discard, c)
}

// drip writes a byte now and then for as long as somebody listens.
func drip(c net.Conn, every time.Duration) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(every) {
		if _, err := c.Write([]byte("x")); err != nil {
			return
		}
	}
}

// Whatever a receiver does, a request ends in time, with a status or a reason.
func TestBadReceivers(t *testing.T) {
	const timeout = time.Second
	for _, test := range []struct {
		name   string
		answer func(net.Conn)
		state  weir.DeliveryState
		status int
		error  string
		within time.Duration
	}{
		{"hangs", waitClosed, weir.DeliveryFailed, 0, "no answer within 1s", 3 * timeout},
		{"reads and hangs", func(c net.Conn) { readRequest(c); waitClosed(c) }, weir.DeliveryFailed, 0, "no answer within 1s", 3 * timeout},
		{"drips its headers", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
			drip(c, 50*time.Millisecond)
		},
			weir.DeliveryFailed, 0, "no answer within 1s", 3 * timeout},
		{"resets", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, weir.DeliveryFailed, 0, "reset", timeout},
		{"closes", readRequest, weir.DeliveryFailed, 0, "EOF", timeout},
		{"speaks no HTTP", func(c net.Conn) { readRequest(c); io.WriteString(c, "220 smtp ready\r\n") }, weir.DeliveryFailed, 0, "malformed", timeout},
		{"has headers without end", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for range 1000 {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
			waitClosed(c)
		}, weir.DeliveryFailed, 0, "header", 3 * timeout},
		{"has a body without end", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for chunk := bytes.Repeat([]byte("x"), 64<<10); ; {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}, weir.Delivered, 200, "", timeout},
		{"drips its body", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 202 Accepted\r\n\r\n")
			drip(c, 100*time.Millisecond)
		}, weir.Delivered, 202, "", 4 * time.Second},
		{"announces a body and sends none", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\nno")
		}, weir.DeliveryFailed, 500, "500", timeout},
		{"announces a bomb", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08")
		}, weir.Delivered, 200, "", timeout},
		{"upgrades", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
			waitClosed(c)
		}, weir.DeliveryFailed, 101, "101", timeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := hook("ops", server(t, test.answer))
			h.Timeout = timeout
			w := newWorld(t, nil, h)
			began := time.Now()
			d, err := w.Test(context.Background(), "ops")
			took := time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			a := d.Attempts[0]
			if d.State != test.state || a.Status != test.status || !strings.Contains(a.Error, test.error) || (test.error == "") != (a.Error == "") {
				t.Errorf("got %+v", d)
			}
			if took > test.within+time.Second {
				t.Errorf("it took %v", took)
			}
			if len(a.Answer) > 1024 {
				t.Errorf("%d bytes of the answer are kept", len(a.Answer))
			}
		})
	}
}

// Only 2xx is success, and no redirect is followed.
func TestStatuses(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	code := 0
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(code)
		w.Write([]byte("why\x00\xffnot"))
	})
	w := newWorld(t, nil, hook("ops", r.URL))
	for _, code = range []int{200, 201, 202, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 404, 410, 422, 429, 500, 502, 503, 504, 599} {
		d, err := w.Test(context.Background(), "ops")
		if err != nil {
			t.Fatal(err)
		}
		a := d.Attempts[0]
		if (d.State == weir.Delivered) != (code < 300) || (a.Error == "") != (code < 300) || a.Status != code {
			t.Errorf("%d: %+v", code, d)
		}
		if redirect := code/100 == 3; redirect != strings.Contains(a.Error, "redirects are not followed") {
			t.Errorf("%d: %s", code, a.Error)
		}
		if code == 500 && a.Answer != "why\x00\uFFFDnot" {
			t.Errorf("the answer is %q", a.Answer)
		}
	}
	if len(elsewhere.all()) > 0 {
		t.Error("a redirect was followed")
	}
}

// A proxy of the environment is not used: it would connect to whatever address
// it is asked for.
func TestNoProxy(t *testing.T) {
	proxy, r := newReceiver(t, nil), newReceiver(t, nil)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("ALL_PROXY", proxy.URL)
	h := hook("ops", strings.Replace(r.URL, "127.0.0.1", "localhost", 1))
	if d, err := newWorld(t, nil, h).Test(context.Background(), "ops"); err != nil || d.State != weir.Delivered {
		t.Fatalf("%+v, %v", d, err)
	}
	if len(proxy.all()) > 0 || len(r.all()) != 1 {
		t.Errorf("the proxy saw %d requests, the receiver %d", len(proxy.all()), len(r.all()))
	}
}

// A certificate that nobody vouches for is refused.
func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	d, err := newWorld(t, nil, hook("ops", s.URL)).Test(context.Background(), "ops")
	if err != nil || d.State != weir.DeliveryFailed || !strings.Contains(d.Attempts[0].Error, "certificate") {
		t.Errorf("%+v, %v", d, err)
	}
}

// Addresses that the outside cannot mean are refused, in each of their forms.
func TestOutside(t *testing.T) {
	for _, text := range strings.Fields(`
		0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.1.2.3 169.254.169.254
		172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9 224.0.0.1 239.1.1.1
		240.0.0.1 255.255.255.255
		:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::10.1.2.3
		64:ff9b::169.254.169.254 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 fc00::1 fd12:3456::1
		fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1`) {
		if err := notify.Outside(netip.MustParseAddr(text)); err == nil || !strings.Contains(err.Error(), "allow_private") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range strings.Fields(`
		1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 169.253.0.1 192.167.0.1
		223.255.255.255 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2606:4700::1111 2a00:1450::1 2001:4860:4860::8888`) {
		if err := notify.Outside(netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := notify.GuardDial("tcp", "nonsense", nil); err == nil {
		t.Error("what is no address is let through")
	}
}

// resolver answers with one address after the other, as a name does that
// rebinds. It speaks DNS over a pipe.
func resolver(addresses ...string) *net.Resolver {
	var mu sync.Mutex
	next := 0
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			for {
				// Over a stream a message is preceded by its length.
				length := make([]byte, 2)
				if _, err := io.ReadFull(theirs, length); err != nil {
					return
				}
				question := make([]byte, binary.BigEndian.Uint16(length))
				if _, err := io.ReadFull(theirs, question); err != nil {
					return
				}
				end := 12 + bytes.IndexByte(question[12:], 0) + 5 // the name, its type and class
				reply := append([]byte{question[0], question[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
				if kind := binary.BigEndian.Uint16(question[end-4:]); kind == 1 { // A
					mu.Lock()
					ip := netip.MustParseAddr(addresses[min(next, len(addresses)-1)]).As4()
					next++
					mu.Unlock()
					reply[7] = 1
					reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
					reply = append(reply, ip[:]...)
				}
				theirs.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
		}()
		return stream{ours}, nil
	}}
}

// stream is a connection that is none of datagrams.
type stream struct{ net.Conn }

// A name that says a public address first, when it would be looked at, and then
// 127.0.0.1, does not lead there: what counts is the address that is connected to.
func TestRebinding(t *testing.T) {
	r := newReceiver(t, nil)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	h := hook("ops", "http://rebinds.example.:"+port)
	h.AllowPrivate, h.Timeout = false, time.Second
	log := &buffer{}
	n, err := notify.New(notify.Options{
		Webhooks: []*weir.WebhookConfig{h}, Resolver: resolver("8.8.8.8", "127.0.0.1"),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	passed := n.StopConnections() // nothing here may connect to 8.8.8.8
	first, err := n.Test(context.Background(), "ops")
	if err != nil || first.State != weir.DeliveryFailed || strings.Contains(first.Attempts[0].Error, "refused unless") {
		t.Fatalf("to the public address: %+v, %v", first, err)
	}
	second, err := n.Test(context.Background(), "ops")
	if err != nil || second.State != weir.DeliveryFailed || !strings.Contains(second.Attempts[0].Error, "127.0.0.1: requests to loopback") {
		t.Errorf("to 127.0.0.1: %+v, %v", second, err)
	}
	if got := passed(); len(got) != 1 || got[0] != "8.8.8.8:"+port {
		t.Errorf("the guard let through %v", got)
	}
	if len(r.all()) > 0 {
		t.Error("the receiver on 127.0.0.1 was reached")
	}

	// The same name is fine where private addresses are.
	h.AllowPrivate = true
	n, err = notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{h}, Resolver: resolver("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := n.Test(context.Background(), "ops"); err != nil || d.State != weir.Delivered {
		t.Errorf("where it is allowed: %+v, %v", d, err)
	}
	// An address in the URL is looked at too.
	h.AllowPrivate, h.URL = false, r.URL
	if n, err = notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{h}}); err != nil {
		t.Fatal(err)
	}
	if d, err := n.Test(context.Background(), "ops"); err != nil || !strings.Contains(d.Attempts[0].Error, "allow_private: true") {
		t.Errorf("an address: %+v, %v", d, err)
	}
}

// No secret, and no URL that is one, is logged, stored, or told by an error,
// also where the receiver or the resolver repeats it.
func TestNothingIsTold(t *testing.T) {
	var echo *receiver
	echo = newReceiver(t, func(w http.ResponseWriter, q *http.Request, n int) {
		body := echo.all()[n-1].body
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte("you sent this to " + q.URL.Path + "?" + q.URL.RawQuery + " " + string(body)))
	})
	signing, previous := secret('s', 32), secret('p', 32)
	t.Setenv("SIGNING", signing)
	t.Setenv("PREVIOUS", previous)
	t.Setenv("ROUTING", "R0UT1NG K3Y")
	t.Setenv("CHAT", echo.URL+"/services/T0K3N?also=S3CRET")
	t.Setenv("DEAD", "http://t0k3n.s3cret.invalid/H1DDEN")
	chat, dead, pager, signed := hook("chat", ""), hook("dead", ""), hook("pager", echo.URL), hook("signed", echo.URL)
	chat.URLEnv, chat.Format = "CHAT", "slack"
	dead.URLEnv, dead.Format = "DEAD", "slack"
	pager.Format, pager.SecretEnv = "pagerduty", "ROUTING"
	signed.SecretEnv, signed.PreviousSecretEnv = "SIGNING", "PREVIOUS"
	w := newWorld(t, nil, chat, dead, pager, signed).run()
	hooks := []string{"chat", "dead", "pager", "signed"}
	w.notify(incident(1, 1, weir.Firing), hooks...)
	until(t, "an attempt of each", func() bool {
		for _, name := range hooks {
			if list := w.deliveries(weir.DeliveryFilter{Webhook: name}); len(list) != 1 || len(list[0].Attempts) == 0 {
				return false
			}
		}
		return true
	})
	w.stop()
	text := w.log.String()
	for _, d := range w.deliveries(weir.DeliveryFilter{}) {
		for _, a := range d.Attempts {
			text += a.Error + a.Answer
		}
	}
	for _, name := range hooks {
		d, err := w.Test(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		text += d.Attempts[0].Error + d.Attempts[0].Answer
	}
	everything(t, w, &text)
	for _, hidden := range []string{"R0UT1NG", "T0K3N", "S3CRET", "H1DDEN", "t0k3n", "s3cret", strings.TrimPrefix(signing, "whsec_"), strings.TrimPrefix(previous, "whsec_")} {
		if at := strings.Index(text, hidden); at >= 0 {
			t.Errorf("%s is told: …%s…", hidden, text[max(0, at-80):min(len(text), at+40)])
		}
	}
	for _, shown := range []string{"[secret]", "[path]", "[host]"} {
		if !strings.Contains(text, shown) {
			t.Errorf("nothing was hidden as %s, so this test shows nothing", shown)
		}
	}
}

// everything adds all that is stored.
func everything(t *testing.T, w *world, text *string) {
	t.Helper()
	var walk func(folder string) error
	walk = func(folder string) error {
		for name, err := range w.bucket.List(context.Background(), folder, "") {
			if err != nil {
				return err
			}
			*text += name
			if strings.HasSuffix(name, "/") {
				err = walk(name)
			} else {
				var data []byte
				data, err = w.bucket.Read(context.Background(), name)
				*text += string(data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(""); err != nil {
		t.Fatal(err)
	}
}

package notify_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
)

func secret(fill byte, length int) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), length)))
}

// verifies holds a request against the reference library of Standard Webhooks.
func verifies(t *testing.T, secret string, q request) error {
	t.Helper()
	reference, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return reference.Verify(q.body, q.header)
}

// The reference library finds our signatures to be right, by the new key and by
// the one before while they are exchanged, and by no other.
func TestSignatures(t *testing.T) {
	for _, format := range []string{"weir", "alertmanager"} {
		r := newReceiver(t, nil)
		t.Setenv("NEW", secret('n', 24))
		t.Setenv("OLD", secret('o', 64))
		h := hook("ops", r.URL)
		h.Format, h.SecretEnv = format, "NEW"

		w := newWorld(t, nil, h).run()
		w.notify(incident(1, 1, weir.Firing), "ops")
		q := r.await(t, 1)[0]
		w.stop()
		if err := verifies(t, secret('n', 24), q); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if err := verifies(t, secret('o', 64), q); !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
			t.Errorf("%s: by another key: %v", format, err)
		}

		h.PreviousSecretEnv = "OLD"
		w = newWorld(t, nil, h).run()
		w.notify(incident(1, 1, weir.Firing), "ops")
		q = r.await(t, 2)[1]
		w.stop()
		for _, key := range []string{secret('n', 24), secret('o', 64)} {
			if err := verifies(t, key, q); err != nil {
				t.Errorf("%s while keys are exchanged: %v", format, err)
			}
		}
		if list := strings.Fields(q.header.Get("webhook-signature")); len(list) != 2 {
			t.Errorf("%s: signatures %v, want two", format, list)
		}
		q.body[0] ^= 1
		if err := verifies(t, secret('n', 24), q); err == nil {
			t.Errorf("%s: a body that was changed verifies", format)
		}
	}
}

// A secret that is none is refused at the start, by name and without its text.
func TestSecrets(t *testing.T) {
	for _, test := range []struct{ format, secret, want string }{
		{"weir", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_"},
		{"weir", "whsec_not*base64*at*all", "base64"},
		{"weir", secret('s', 23), "23 bytes"},
		{"alertmanager", secret('s', 65), "65 bytes"},
		{"weir", "", "empty"},
		{"pagerduty", "", "empty"},
		{"weir", secret('s', 24), ""},
		{"pagerduty", "R0UT1NG", ""},
	} {
		t.Setenv("HOOK_SECRET", test.secret)
		h := hook("ops", "http://127.0.0.1:1")
		h.Format, h.SecretEnv = test.format, "HOOK_SECRET"
		_, err := notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{h}})
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s with %q: %v", test.format, test.secret, err)
		case test.want == "":
		case err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "webhook ops"):
			t.Errorf("%s with %q: %v, want it to tell of %s", test.format, test.secret, err, test.want)
		case test.secret != "" && strings.Contains(err.Error(), strings.TrimPrefix(test.secret, "whsec_")):
			t.Errorf("%s: the error tells the secret: %v", test.format, err)
		}
	}
	h := hook("ops", "")
	h.URLEnv, h.SecretEnv = "NO_SUCH_URL", "NO_SUCH_SECRET"
	if _, err := notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{h}}); err == nil || !strings.Contains(err.Error(), "NO_SUCH_URL") {
		t.Errorf("without a URL: %v", err)
	}
	h.URLEnv, h.URL = "", "http://127.0.0.1:1"
	if _, err := notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{h}}); err == nil || !strings.Contains(err.Error(), "NO_SUCH_SECRET") {
		t.Errorf("without a secret: %v", err)
	}
}

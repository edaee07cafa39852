package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signer signs as Standard Webhooks 1.0.0 does: HMAC-SHA256 of the message's ID,
// the time of sending and the body, by each key, the newest first. While a key
// is exchanged the receiver may hold either.
type signer struct{ keys [][]byte }

const (
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
)

// errSecret says what a secret has to be, and nothing of what it is.
var errSecret = errors.New("a secret is whsec_ and the base64 of 24 to 64 random bytes, as of: echo whsec_$(head -c 32 /dev/urandom | base64)")

func newSigner(secrets []string) (*signer, error) {
	s := &signer{}
	for _, secret := range secrets {
		encoded, found := strings.CutPrefix(secret, secretPrefix)
		if !found {
			return nil, fmt.Errorf("it does not begin with whsec_: %w", errSecret)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("what follows whsec_ is not base64: %w", errSecret)
		}
		if len(key) < minSecretBytes || len(key) > maxSecretBytes {
			return nil, fmt.Errorf("it holds %d bytes: %w", len(key), errSecret)
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// sign sets the headers that say which message this is, and who sent it when.
func (s *signer) sign(header http.Header, id string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", stamp)
	if len(s.keys) == 0 {
		return
	}
	signatures := make([]string, len(s.keys))
	for i, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	header.Set("webhook-signature", strings.Join(signatures, " "))
}

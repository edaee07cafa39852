package weir

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// WebhookConfig is somebody who is told of incidents over HTTP.
type WebhookConfig struct {
	// Its name, unique among all webhooks. Default the host of the URL.
	Name string `yaml:"name"`

	// Where to. A URL that is itself a secret, as Slack's are, comes from the
	// environment instead.
	URL    string `yaml:"url,omitempty"`
	URLEnv string `yaml:"url_env,omitempty"`

	// What is sent: weir (our own JSON, the default), alertmanager (the body of
	// Alertmanager's webhooks, version 4), alertmanager_api (alerts posted to an
	// Alertmanager, whose address the URL is), slack, or pagerduty (whose routing
	// key is the secret, and whose URL is known).
	Format string `yaml:"format"`

	// The secret that signs what is sent, as Standard Webhooks writes it:
	// whsec_ and base64. It comes from the environment or from a file. Default:
	// not signed.
	SecretEnv  string `yaml:"secret_env,omitempty"`
	SecretFile string `yaml:"secret_file,omitempty"`

	// The secret before this one, which signs too while keys are exchanged.
	PreviousSecretEnv  string `yaml:"previous_secret_env,omitempty"`
	PreviousSecretFile string `yaml:"previous_secret_file,omitempty"`

	// Allows loopback, link-local and private addresses. Default: they are
	// refused, for whoever may write a URL must not reach into this network.
	AllowPrivate bool `yaml:"allow_private,omitempty"`

	// How long a request may take. Default 15s.
	Timeout time.Duration `yaml:"timeout"`

	// How many messages may wait for it; the oldest of more are given up, and
	// counted. Default 10000.
	MaxQueue int `yaml:"max_queue"`
}

var webhookFormats = []string{"weir", "alertmanager", "alertmanager_api", "slack", "pagerduty"}

// Secrets gives the secrets that sign, the newest first, out of the environment
// or files.
func (c *WebhookConfig) Secrets() ([]string, error) {
	var secrets []string
	for _, from := range [][2]string{{c.SecretEnv, c.SecretFile}, {c.PreviousSecretEnv, c.PreviousSecretFile}} {
		switch env, file := from[0], from[1]; {
		case env != "":
			s, ok := os.LookupEnv(env)
			if !ok {
				return nil, fmt.Errorf("webhook %s: the environment variable %s, which should hold its secret, is not set", c.Name, env)
			}
			secrets = append(secrets, s)
		case file != "":
			s, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("webhook %s: read its secret: %w", c.Name, err)
			}
			secrets = append(secrets, strings.TrimSpace(string(s)))
		}
	}
	return secrets, nil
}

// Address gives the URL, out of the environment if it is there.
func (c *WebhookConfig) Address() (string, error) {
	if c.URLEnv == "" {
		return c.URL, nil
	}
	address, ok := os.LookupEnv(c.URLEnv)
	if !ok {
		return "", fmt.Errorf("webhook %s: the environment variable %s, which should hold its URL, is not set", c.Name, c.URLEnv)
	}
	if _, err := webhookURL(address); err != nil {
		return "", fmt.Errorf("webhook %s: what %s holds is not a URL such as https://ops.example/hook", c.Name, c.URLEnv)
	}
	return address, nil
}

const pagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

func (k *checker) completeWebhook(path string, c *WebhookConfig, dir string) {
	fill(k, path+".format", &c.Format, "weir")
	if c.Format == "pagerduty" && c.URLEnv == "" {
		fill(k, path+".url", &c.URL, pagerDutyURL)
	}
	if u, err := url.Parse(c.URL); err == nil && c.URL != "" {
		fill(k, path+".name", &c.Name, u.Hostname())
	}
	fill(k, path+".timeout", &c.Timeout, 15*time.Second)
	fill(k, path+".max_queue", &c.MaxQueue, 10_000)
	for _, file := range []*string{&c.SecretFile, &c.PreviousSecretFile} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
}

// webhookNames are those that detectors can refer to.
func (c *Config) webhookNames() []string {
	names := []string{}
	for _, w := range c.Webhooks {
		if w != nil {
			names = append(names, w.Name)
		}
	}
	return names
}

func (k *checker) checkWebhooks(c *Config) {
	names := c.webhookNames()
	for i, w := range c.Webhooks {
		path := fmt.Sprintf("webhooks.%d", i)
		if w == nil || k.unsound[path] {
			continue
		}
		switch at := slices.Index(names, w.Name); {
		case w.Name == "":
			k.fail(path, "webhook: name is missing")
		case len(w.Name) > maxNameBytes || strings.Trim(w.Name, topicCharacters) != "":
			k.fail(path+".name", "webhook: a name is letters, digits, dots, dashes and underscores, which %q is not", w.Name)
		case at < i:
			k.fail(path+".name", "webhook %s: the name is taken by another webhook; give this one a name of its own", w.Name)
		}
		switch {
		case w.URL == "" && w.URLEnv == "":
			k.fail(path, "webhook %s: url is missing, such as https://ops.example/hook", w.Name)
		case w.URL != "" && w.URLEnv != "":
			k.fail(path+".url_env", "webhook %s: both url and url_env; it goes to one place", w.Name)
		case w.URL != "":
			if _, err := webhookURL(w.URL); err != nil {
				k.fail(path+".url", "url: %v", err)
			}
		}
		if !slices.Contains(webhookFormats, w.Format) {
			k.fail(path+".format", "unknown format %q%s", w.Format, suggest(w.Format, webhookFormats))
		}
		k.checkSecrets(path, w)
		between(k, path+".timeout", w.Timeout, time.Second, time.Minute)
		between(k, path+".max_queue", w.MaxQueue, 1, 1_000_000)
	}
}

func (k *checker) checkSecrets(path string, w *WebhookConfig) {
	given := w.SecretEnv != "" || w.SecretFile != ""
	if w.SecretEnv != "" && w.SecretFile != "" || w.PreviousSecretEnv != "" && w.PreviousSecretFile != "" {
		k.fail(path, "webhook %s: a secret comes from the environment or from a file, not from both", w.Name)
	}
	if !given && (w.PreviousSecretEnv != "" || w.PreviousSecretFile != "") {
		k.fail(path, "webhook %s: a previous secret and no secret", w.Name)
	}
	switch {
	case w.Format == "pagerduty" && !given:
		k.fail(path, "webhook %s: pagerduty wants its routing key as secret_env or secret_file", w.Name)
	case w.Format == "slack" && given:
		k.fail(path, "webhook %s: Slack checks no signature; leave the secret out", w.Name)
	}
}

func webhookURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a URL", text)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%q is not a URL such as https://ops.example/hook", text)
	case u.User != nil:
		return nil, fmt.Errorf("credentials have no place in a URL; sign with a secret")
	}
	return u, nil
}

package weir

import (
	"net/url"
	"slices"
	"strings"
)

// objectStores are the schemes of object stores.
var objectStores = []string{"s3", "gs", "azblob"}

func isURL(store string) bool { return strings.Contains(store, "://") }

// checkStore validates where things are kept.
func (k *checker) checkStore(c *Config) {
	switch {
	case c.Store == "":
		k.fail("store", "store: it wants a directory, or an object store such as s3://bucket/prefix?region=eu-west-1")
	case c.Remote():
		k.checkLocation(c.Store)
	case c.Cache != nil:
		k.fail("cache", "cache: the store is a directory, which the system itself keeps in memory; leave cache out")
	}
	if c.Cache != nil && c.Remote() {
		atLeast(k, "cache.memory", c.Cache.Memory, 1<<20, Size.String)
		if disk := c.Cache.Disk; disk != nil {
			if disk.Path == "" {
				k.fail("cache.disk", "disk: it wants a path, such as {path: /var/cache/weir/blocks, size: 50GiB}")
			}
			atLeast(k, "cache.disk.size", disk.Size, 1<<20, Size.String)
		}
	}
	switch {
	case isURL(c.Journal.Path):
		k.fail("journal.path", "path: %q is not on a local disk, as a journal has to be", c.Journal.Path)
	case c.Journal.Path != "":
	case !c.Remote() || k.has("journal.path"):
		k.fail("journal.path", "path: it wants a directory")
	default:
		if s := c.pushed(); s != "" {
			at := "store"
			if k.has("journal") {
				at = "journal"
			}
			k.fail(at, "journal: stream %s is pushed to, and what is pushed waits on a local disk until it is in the object store: "+
				"name a directory for it, such as journal: {path: /var/lib/weir/journal}", s)
		}
	}
}

// pushed returns the name of a stream whose events come by way of the journal,
// or "".
func (c *Config) pushed() string {
	for _, s := range c.AllStreams() {
		if s.Source.Kind.Journaled() {
			return s.Name
		}
	}
	return ""
}

// checkLocation validates the URL of an object store, but for its parameters,
// which are the service's.
func (k *checker) checkLocation(location string) {
	u, err := url.Parse(location)
	if err == nil {
		_, err = url.ParseQuery(u.RawQuery)
	}
	switch {
	case err != nil:
		k.fail("store", "store: %v", err)
	case !slices.Contains(objectStores, u.Scheme):
		k.fail("store", "store: %s:// is not known; object stores are s3://, gs:// and azblob://", u.Scheme)
	case u.User != nil:
		k.fail("store", "store: credentials have no place in a configuration; give them by the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.Host == "":
		k.fail("store", "store: %s names no bucket; it wants %s://bucket/prefix", location, u.Scheme)
	case u.Query().Has("prefix"):
		k.fail("store", "store: write the prefix as a path: %s://%s/%s", u.Scheme, u.Host, strings.Trim(u.Query().Get("prefix"), "/"))
	case u.Fragment != "":
		k.fail("store", "store: %s has a # in it, which a URL must write as %%23", location)
	}
}

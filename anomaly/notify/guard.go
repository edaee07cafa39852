package notify

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// errPrivate says that an address is one that the outside cannot mean.
var errPrivate = errors.New("requests to loopback, link-local, private and reserved addresses are refused unless the webhook says allow_private: true")

// inside are the networks that a webhook must not reach: this host, this
// network, and ranges of which nobody outside answers. Ranges that carry an
// IPv4 address inside are looked into instead, where they can be; see outside.
var inside = networks(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // carriers' NAT
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local, where clouds keep their metadata
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, broadcast

	"::/96",          // unspecified, loopback, IPv4-compatible
	"64:ff9b:1::/48", // NAT64 within a network
	"100::/64",       // discard
	"2001::/23",      // protocol assignments, Teredo
	"2001:db8::/32",  // documentation
	"2002::/16",      // 6to4
	"3fff::/20",      // documentation
	"5f00::/16",      // segment routing
	"fc00::/7",       // private
	"fe80::/10",      // link-local
	"fec0::/10",      // site-local
	"ff00::/8",       // multicast
)

// nat64 is the well-known prefix behind which a gateway reaches IPv4.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func networks(list ...string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(list))
	for i, text := range list {
		prefixes[i] = netip.MustParsePrefix(text)
	}
	return prefixes
}

// outside returns nil for an address of the public Internet.
func outside(address netip.Addr) error {
	a := address.WithZone("").Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, network := range inside {
		if network.Contains(a) {
			return fmt.Errorf("%v: %w", address, errPrivate)
		}
	}
	return nil
}

// guardDial refuses a connection before it is made, by the address that was
// resolved for it: what a name says at another time does not matter. It has the
// shape of [net.Dialer.Control].
func guardDial(_, address string, _ syscall.RawConn) error {
	resolved, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q: %w", address, errPrivate)
	}
	return outside(resolved.Addr())
}

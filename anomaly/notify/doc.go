// Package notify tells webhooks of incidents: durably, at least once, and each
// without waiting for another.
//
//	Notify ── put if absent ──→ message ──→ queue of the endpoint ──→ POST ──→ 2xx: delivered
//	                               ↑             ↑                     │
//	                               │             └──── retry, later ───┤
//	                               └─ scan ── attempt ←── recorded ────┴──→ 410, or the last one: failed
//
// A message is one version of an incident for one webhook. It is stored under a
// name that follows from the incident, and so is every attempt to send it: what
// the store holds is at the same time the queue, which a start takes up, and the
// log of deliveries, which people read. A message whose last attempt is not the
// end of it is pending. See names.go.
//
// # What is promised
//
// A message that was taken is sent until a receiver answers 2xx, the schedule of
// a day and a half is through, or it is given up for a reason that is logged,
// counted and recorded: the endpoint was disabled, or its queue was full. It is
// sent at least once, always under the same webhook-id, INCIDENT-VERSION, by
// which receivers pass over what they have seen: a process that ends between an
// answer and its record, or a second node, sends again. The messages of one
// incident go to an endpoint in the order of its versions: none is sent while an
// older one waits.
//
// The log keeps a month and 10,000 messages of each webhook that are done. An
// incident older than that is not told of.
//
// # An endpoint that fails
//
// Only 2xx is success. Anything else is tried again as Standard Webhooks
// proposes: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 14 h, jittered, and not
// before the answer's Retry-After. Where all messages would fail (no connection,
// no answer in time, 429, 502, 504, Retry-After) the endpoint rests for a time
// that doubles from 5 s to 5 min; when it answers again, what failed with it is
// due at once. 410 disables it; see switch.go.
//
// # Where requests may go
//
// Whoever writes a URL must not reach into our own network: addresses of
// loopback, link-local, private and reserved networks are refused at the moment
// of connecting, by the address that is connected to, unless the webhook allows
// them. Redirects are not followed and proxies of the environment are not used.
// An answer is read for two seconds and a kilobyte; its status is what counts.
//
// Secrets come from the environment or from files. They, and URLs from the
// environment, are neither logged, nor printed, nor stored: they are taken out
// of errors and answers too.
//
// # Several nodes
//
// Each node delivers what it was told of. It looks into the store once a minute:
// what another has done is dropped, and what another has left undone for two
// minutes is taken up.
//
// # Goroutines
//
// [New] starts none. [Notifier.Run] starts one an endpoint, which makes its
// requests one after the other, and returns after all have ended. An endpoint's
// queue is shared with [Notifier.Notify] under its mutex, which is not held
// while the store or a receiver is waited for.
package notify

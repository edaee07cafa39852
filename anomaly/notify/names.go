package notify

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// Names of what is stored. No stream has a name that begins with '~', and a
// webhook's may begin with a dot, which no component may:
//
//	~notify/to-<webhook>/message/<key>                 what it is to be told
//	~notify/to-<webhook>/attempt/<key>~<n>-<what>      how the n-th attempt ended
//	~notify/to-<webhook>/switch/<n>-<off|on>-<url>     it was disabled, or enabled again
//
// A key is <time>-<incident>-<version>~<type>: the time at which the incident
// was recorded, so that keys are in order of time, and the message's ID. All of
// it follows from the incident, so that whoever tells of it again finds the name
// taken. What an attempt came to stands in its name, with the time of the next
// one if it has to be tried again: a listing tells all that is pending and when
// it is due, and nothing is read that is not sent.
const (
	rootFolder   = "~notify/"
	messagePart  = "message/"
	attemptPart  = "attempt/"
	switchPart   = "switch/"
	keyTime      = "20060102T150405.000000000Z"
	idCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
)

func webhookFolder(webhook string) string { return rootFolder + "to-" + webhook + "/" }

// The types of messages, as bodies and names write them.
const (
	typeFiring   = "firing"   // opened
	typeUpdated  = "updated"  // still there
	typeResolved = "resolved" // over
)

// key names a message, and orders messages: by time, then incident and version.
type key struct {
	recorded time.Time
	incident string
	version  int64
	kind     string // one of the types
}

// keyOf makes the key of the message that tells of the incident.
func keyOf(i *weir.Incident) (key, error) {
	k := key{
		recorded: i.Recorded.Round(0).UTC(), // what == compares has no monotonic reading
		incident: i.ID, version: i.Version, kind: typeUpdated,
	}
	_, opened, err := weir.ParseIncidentID(i.ID)
	switch {
	case err != nil:
		return key{}, err
	case strings.Trim(i.ID, idCharacters) != "" || len(i.ID) > 128 || i.Version < 0:
		return key{}, fmt.Errorf("incident %q of version %d cannot be named", i.ID, i.Version)
	case i.State == weir.Resolved:
		k.kind = typeResolved
	case i.Version == opened:
		k.kind = typeFiring
	}
	return k, nil
}

// id is the message's, the same wherever and however often it is sent.
func (k key) id() string { return fmt.Sprintf("%s-%d", k.incident, k.version) }

func (k key) String() string {
	return k.recorded.Format(keyTime) + "-" + k.id() + "~" + k.kind
}

func (k key) compare(other key) int {
	return cmp.Or(k.recorded.Compare(other.recorded), cmp.Compare(k.incident, other.incident), cmp.Compare(k.version, other.version))
}

var errNotOurs = errors.New("not a name that is written here")

func parseKey(text string) (key, error) {
	var k key
	rest, kind, found := strings.Cut(text, "~")
	stamp, id, dashed := strings.Cut(rest, "-")
	at := strings.LastIndexByte(id, '-')
	if !found || !dashed || at < 0 {
		return key{}, errNotOurs
	}
	var err error
	if k.recorded, err = time.Parse(keyTime, stamp); err != nil {
		return key{}, errNotOurs
	}
	if k.version, err = strconv.ParseInt(id[at+1:], 10, 64); err != nil {
		return key{}, errNotOurs
	}
	k.incident, k.kind = id[:at], kind
	if k.String() != text || kind != typeFiring && kind != typeUpdated && kind != typeResolved {
		return key{}, errNotOurs
	}
	return k, nil
}

// what an attempt came to.
type what string

const (
	whatDelivered what = "delivered"
	whatFailed    what = "failed" // for good
	whatRetry     what = "retry"  // at the time that follows
	whatAgain     what = "again"  // somebody asked for it: the schedule begins anew
)

// attemptName is the last component of the name of an attempt.
type attemptName struct {
	key key
	n   int
	what
	next time.Time // of whatRetry
}

func (a attemptName) String() string {
	s := fmt.Sprintf("%s~%04d-%s", a.key, a.n, a.what)
	if a.what == whatRetry {
		s += "-" + a.next.UTC().Format(keyTime)
	}
	return s
}

func parseAttempt(text string) (attemptName, error) {
	at := strings.LastIndexByte(text, '~')
	if at < 0 {
		return attemptName{}, errNotOurs
	}
	k, err := parseKey(text[:at])
	if err != nil {
		return attemptName{}, err
	}
	a := attemptName{key: k}
	number, rest, _ := strings.Cut(text[at+1:], "-")
	if a.n, err = strconv.Atoi(number); err != nil {
		return attemptName{}, errNotOurs
	}
	outcome, next, _ := strings.Cut(rest, "-")
	if a.what = what(outcome); a.what == whatRetry {
		if a.next, err = time.Parse(keyTime, next); err != nil {
			return attemptName{}, errNotOurs
		}
	}
	switch a.what {
	case whatDelivered, whatFailed, whatRetry, whatAgain:
	default:
		return attemptName{}, errNotOurs
	}
	if a.String() != text {
		return attemptName{}, errNotOurs
	}
	return a, nil
}

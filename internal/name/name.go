// Package name has the ids and names of everything, scope sets, and the Caller.
package name

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/deputy-id/deputy/internal/fault"
)

// DefaultPool is the workload pool that always exists.
const DefaultPool = "default"

// A name that people choose (of a pool, a workload, a provider, a client, a
// user) is one to 63 letters, digits, '-', '_' and '.', beginning with a letter
// or digit. That is the intersection of what SPIFFE path segments, URL paths
// and agentkit.yaml allow.
var nameShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Check returns a fault of kind Invalid unless s is a well-formed name. what
// says whose name it is ("workload pool"), for the message.
func Check(what, s string) error {
	if nameShape.MatchString(s) {
		return nil
	}
	return fault.New(fault.Invalid, "name_invalid", "%s name %q is not valid", what, Clip(s, 80)).
		WithFix("use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit")
}

// Clip shortens s to at most n bytes for messages that quote foreign text.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Printable makes a line of foreign text safe for a terminal: what cannot be
// printed becomes U+FFFD.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, strings.ToValidUTF8(s, "\ufffd"))
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a fresh id: the prefix, '_', and 128 random bits in 26
// characters. Ids are never reused and say nothing about time or order.
func NewID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return prefix + "_" + idEncoding.EncodeToString(b[:])
}

// NewToken returns a fresh bearer value of 256 random bits with a prefix that
// lets people and secret scanners recognize what it is.
func NewToken(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return prefix + "_" + idEncoding.EncodeToString(b[:])
}

// User is a person as an OpenID provider names him: the pair of issuer and
// subject, never one of them alone (OpenID Connect Core 1.0, section 5.7).
type User struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// IsZero reports whether u names nobody.
func (u User) IsZero() bool { return u == User{} }

// String returns "subject@issuer", for messages.
func (u User) String() string {
	if u.IsZero() {
		return ""
	}
	return u.Subject + "@" + u.Issuer
}

// Workload is an agent's identity inside a trust domain.
type Workload struct {
	Pool string `json:"pool"`
	Name string `json:"name"`
}

// IsZero reports whether w names nothing.
func (w Workload) IsZero() bool { return w == Workload{} }

// String returns "pool/name".
func (w Workload) String() string {
	if w.IsZero() {
		return ""
	}
	return w.Pool + "/" + w.Name
}

// SPIFFEID returns spiffe://<trust domain>/<pool>/<name> (SPIFFE-ID, section 2).
func (w Workload) SPIFFEID(trustDomain string) string {
	return "spiffe://" + trustDomain + "/" + w.Pool + "/" + w.Name
}

// ParseSPIFFEID is the inverse of [Workload.SPIFFEID]. It returns a fault of
// kind Invalid for anything else, also for a SPIFFE ID of another trust domain.
func ParseSPIFFEID(trustDomain, id string) (Workload, error) {
	rest, ok := strings.CutPrefix(id, "spiffe://"+trustDomain+"/")
	pool, name, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || !nameShape.MatchString(pool) || !nameShape.MatchString(name) {
		return Workload{}, fault.New(fault.Invalid, "spiffe_id_invalid", "%q is not a workload of trust domain %q", Clip(id, 200), trustDomain)
	}
	return Workload{pool, name}, nil
}

// Near returns up to three of the candidates that s may have been meant to be:
// the messages for names not found list them.
func Near(s string, candidates []string) []string {
	var near []string
	for _, c := range candidates {
		if len(near) == 3 {
			break
		}
		a, b := strings.ToLower(s), strings.ToLower(c)
		if distance(a, b) <= 1+len(a)/4 || (len(a) >= 3 && (strings.Contains(b, a) || strings.Contains(a, b))) {
			near = append(near, c)
		}
	}
	return near
}

// DidYouMean returns a sentence that names near matches, or the given sentence
// when nothing is near.
func DidYouMean(s string, candidates []string, otherwise string) string {
	if near := Near(s, candidates); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return otherwise
}

// distance is the Levenshtein distance between a and b, in bytes. Long inputs
// are far from everything: names are at most 63 bytes.
func distance(a, b string) int {
	if len(a) > 63 || len(b) > 63 {
		return 1 << 20
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// Caller is who asks: established by an edge from proof, passed as a parameter
// to every verb, and written into every audit entry.
type Caller struct {
	Kind     CallerKind `json:"kind"`
	Operator string     `json:"operator,omitempty"` // name of the operator, for Operator
	Token    string     `json:"token,omitempty"`    // id of the token that proves the Operator
	Workload Workload   `json:"workload,omitzero"`  // the agent that asks, for Agent
	Chain    []Workload `json:"chain,omitempty"`    // the agents that delegated to Workload, nearest first (RFC 8693, section 4.1)
	Client   string     `json:"client,omitempty"`   // id of the client of a user pool, or of the agent key, that asks, for Client; name of the token, for Provisioner
	Pool     string     `json:"pool,omitempty"`     // user pool that a Provisioner keeps
	User     User       `json:"user,omitzero"`      // the person: who asks, for Person; who is acted for, for Agent and Client (zero: they themselves)
}

// CallerKind says by which sort of proof a Caller was established.
type CallerKind string

// The kinds of Caller. The zero kind is nobody and is allowed nothing.
const (
	Nobody      CallerKind = ""
	Operator    CallerKind = "operator"    // an operator's API token
	Agent       CallerKind = "agent"       // a workload access token
	Person      CallerKind = "person"      // a browser session of a user pool
	Client      CallerKind = "client"      // the credentials of a user pool's client, or the key of an agent
	Provisioner CallerKind = "provisioner" // a provisioning token of a user pool
	System      CallerKind = "system"      // Deputy itself: start-up, sweepers, the runtime
)

// String names the caller for people: "operator root", "default/doc-agent for u@issuer",
// "default/doc-agent for u@issuer, called by default/front by default/outer".
func (c Caller) String() string {
	switch c.Kind {
	case Operator:
		return "operator " + c.Operator
	case Agent:
		if c.User.IsZero() {
			return c.Workload.String()
		}
		who := fmt.Sprintf("%s for %s", c.Workload, c.User)
		for i, link := range c.Chain {
			if i == 0 {
				who += ", called"
			}
			who += " by " + link.String()
		}
		return who
	case Person:
		return c.User.String()
	case Client:
		if c.User.IsZero() {
			return "client " + c.Client
		}
		return fmt.Sprintf("client %s for %s", c.Client, c.User)
	case Provisioner:
		return "provisioner " + c.Pool + "/" + c.Client
	case System:
		return "deputy"
	default:
		return "nobody"
	}
}

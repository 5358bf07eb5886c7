// Package kms keeps root keys where they never leave: in the transit engine of Vault or OpenBao, in AWS KMS, and in Google Cloud KMS.
//
// A data key goes there to be wrapped and unwrapped: at start, when a pool gets a
// new one, and when the root key is changed. No request waits for it otherwise.
package kms

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/secret"
)

// requestTime bounds one question to a service, all its tries included.
const requestTime = 10 * time.Second

func withRequestTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestTime)
}

// Access is what a root key's location does not say: its secrets.
type Access struct {
	VaultToken secret.Text // for locations without token-file
}

// Open returns the root key at a location:
//
//	vault://HOST[:PORT]/MOUNT/keys/NAME[?token-file=FILE&ca-file=FILE&namespace=NAME]
//	awskms:///KEY-ARN[?endpoint=URL]
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[?endpoint=URL]
//
// vault+http:// is the same without TLS, for a loopback address. AWS and Google
// are asked as their own tools would ask, with the credentials of the environment.
//
// It asks nobody yet. A location that is none is a fault of kind Invalid
// (root_kms_invalid).
func Open(ctx context.Context, location string, access Access) (keys.Root, error) {
	l, err := parse(location)
	if err != nil {
		return nil, err
	}
	switch l.scheme {
	case schemeAWS:
		return openAWS(ctx, l)
	case schemeGoogle:
		return openGoogle(ctx, l)
	default:
		return openTransit(l, access.VaultToken)
	}
}

// Probe has the root key wrap something of no value and unwrap it again.
func Probe(ctx context.Context, root keys.Root) error {
	var value [16]byte
	_, _ = rand.Read(value[:]) // never fails (crypto/rand, since Go 1.24)
	purpose := []byte("deputy/probe/1")
	wrapped, _, err := root.Wrap(ctx, purpose, value[:])
	if err != nil {
		return err
	}
	again, err := root.Unwrap(ctx, purpose, wrapped)
	if err == nil && subtle.ConstantTimeCompare(again, value[:]) == 0 {
		err = unusable(nil, root.ID(), "unwraps something else than it has wrapped")
	}
	return err
}

// The schemes of locations.
const (
	schemeVault     = "vault"
	schemeVaultHTTP = "vault+http"
	schemeAWS       = "awskms"
	schemeGoogle    = "gcpkms"
)

// location is where a root key is.
type location struct {
	scheme string
	host   string // Vault's, with the port
	key    string // within the service: "transit/keys/deputy", an ARN, "projects/…/cryptoKeys/…"
	query  url.Values
}

// The forms of keys.
var (
	transitKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*/keys/[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	awsKey     = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+$`)
	googleKey  = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]+/cryptoKeys/[A-Za-z0-9_-]+$`)
)

// maxLocation bounds a location, in bytes.
const maxLocation = 2 << 10

func parse(text string) (location, error) {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxLocation || u.Opaque != "" || u.User != nil || u.Fragment != "" || u.RawFragment != "" || u.RawPath != "" {
		return location{}, invalid("the location of the root key is malformed") // it is not quoted: a token may have been put into it
	}
	l := location{scheme: u.Scheme, host: strings.ToLower(u.Host), key: strings.TrimPrefix(u.Path, "/")}
	var form *regexp.Regexp
	var options []string
	switch u.Scheme {
	case schemeVault, schemeVaultHTTP:
		form, options = transitKey, []string{"token-file", "ca-file", "namespace"}
		if u.Hostname() == "" {
			return location{}, invalid("the location of the root key names no host")
		}
		if u.Port() == "" {
			l.host = net.JoinHostPort(strings.ToLower(u.Hostname()), "8200")
		}
		if u.Scheme == schemeVaultHTTP && !loopback(u.Hostname()) {
			return location{}, invalid("without TLS, Vault is asked on a loopback address only: the token would be in clear on the way").WithFix("write vault://")
		}
	case schemeAWS:
		form, options = awsKey, []string{"endpoint"}
		if u.Host != "" {
			return location{}, invalid("the location of a key in AWS KMS has three slashes before its ARN")
		}
	case schemeGoogle:
		form, options = googleKey, []string{"endpoint"}
		l.host, l.key = "", path.Join(u.Host, l.key)
	default:
		return location{}, invalid("the location of the root key begins with none of vault://, awskms:// and gcpkms://")
	}
	if !form.MatchString(l.key) {
		return location{}, invalid("the location of the root key names no key")
	}
	l.query, err = parseOptions(u.RawQuery, options)
	return l, err
}

// parseOptions reads the options of a location; each may be given once.
func parseOptions(text string, known []string) (url.Values, error) {
	query, err := url.ParseQuery(text)
	if err != nil {
		return nil, invalid("the options of the root key's location are malformed")
	}
	for option, values := range query {
		if !slices.Contains(known, option) || len(values) != 1 || values[0] == "" {
			return nil, invalid("the options of the root key's location are wrong").WithFix("it may have these, each once: %s", strings.Join(known, ", "))
		}
	}
	if endpoint := query.Get("endpoint"); endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
			return nil, invalid("the endpoint in the root key's location is no https address")
		}
	}
	return query, nil
}

// loopback reports whether host is this machine, whatever a name server says.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func invalid(what string) *fault.Error {
	return fault.New(fault.Invalid, "root_kms_invalid", "%s", what).
		WithFix("write vault://HOST:8200/transit/keys/NAME, awskms:///KEY-ARN or gcpkms://projects/…/cryptoKeys/NAME; see Keys in the operating guide")
}

// What goes wrong with a service is of kind Unavailable, also what it refuses:
// whether the root key opens the store is then not known.

func unreachable(err error, where, fix string) error {
	return fault.Wrap(err, fault.Unavailable, "root_key_unreachable", "the root key cannot be asked: no answer from %s", where).WithFix("%s", fix)
}

func denied(err error, where, fix string) error {
	return fault.Wrap(err, fault.Unavailable, "root_key_denied", "%s does not let Deputy use the root key", where).WithFix("%s", fix)
}

func missing(err error, where, fix string) error {
	return fault.Wrap(err, fault.Unavailable, "root_key_missing", "there is no such root key in %s", where).WithFix("%s", fix)
}

// disabled is about a key that is there and must not be used in this state.
func disabled(err error, where, fix string) error {
	return fault.Wrap(err, fault.Unavailable, "root_key_disabled", "the root key in %s may not be used in the state that it is in", where).WithFix("%s", fix)
}

// unusable is about an answer that nobody expected.
func unusable(err error, where, what string) error {
	return fault.Wrap(err, fault.Unavailable, "root_key_unavailable", "%s %s", where, what).WithFix("see the log, and that of the key's service")
}

// mismatch is the error for what the key did not wrap, or not under this context.
func mismatch(err error, where string) error {
	return fault.Wrap(err, fault.Invalid, "root_key_mismatch", "%s did not wrap this data key", where)
}

package jwt

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
	"golang.org/x/sync/singleflight"
)

// The bounds of a remote issuer's cache.
const (
	keysFresh   = 10 * time.Minute // then keys are fetched again in the background
	keysStale   = 24 * time.Hour   // how long keys are used while the issuer does not answer
	keysRefetch = 30 * time.Second // least time between fetches that strangers can cause
	outagePause = time.Second      // least time between fetches while there are no keys at all
	fetchTime   = 10 * time.Second // for discovery document and keys together
	maxDocument = 512 << 10        // bytes of a discovery document or key set
)

// IssuerConfig says which remote issuer to trust.
type IssuerConfig struct {
	// DiscoveryURL is the address of the OpenID Connect discovery document or
	// of the RFC 8414 metadata.
	DiscoveryURL string
	// KeysURL is the address of the key set, for an issuer that has no
	// discovery document; DiscoveryURL is empty then, and every [Expect] says
	// which issuer.
	KeysURL string
	// Bundle: the key set is a SPIFFE trust bundle; see [ParseBundle].
	Bundle bool
	// Fetch gets a document with status 200. It must bound size and time and
	// must not follow redirects.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	Now   func() time.Time // nil = time.Now
}

// Issuer verifies tokens of an OpenID provider that it discovers by itself. It
// keeps the provider's keys, fetches them again in the background every ten
// minutes, and goes on with them for a day while the provider is down. All
// methods may be called concurrently.
type Issuer struct {
	config IssuerConfig
	flight singleflight.Group

	mu      sync.Mutex
	doc     metadata // what the last successful fetch brought
	set     Set
	fetched time.Time // time of the last successful fetch; zero = none yet
	tried   time.Time // start of the last fetch
	failure error     // of the last fetch; nil = it succeeded
}

// metadata is what we need of a discovery document (OpenID Connect Discovery
// 1.0, section 3; RFC 8414, section 2).
type metadata struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// address is what is fetched first.
func (c IssuerConfig) address() string {
	if c.KeysURL != "" {
		return c.KeysURL
	}
	return c.DiscoveryURL
}

// NewIssuer returns a verifier that has not fetched anything yet. It returns a
// fault of kind Invalid (discovery_url_invalid) for an address that cannot be
// one of a discovery document.
func NewIssuer(c IssuerConfig) (*Issuer, error) {
	if (c.DiscoveryURL == "") == (c.KeysURL == "") {
		return nil, fault.New(fault.Invalid, "discovery_url_invalid", "an issuer has either a discovery URL or the address of its keys")
	}
	u, err := url.Parse(c.address())
	switch {
	case err != nil, u.Host == "", u.User != nil, u.RawQuery != "" && c.KeysURL == "", u.Fragment != "", u.Scheme != "https" && u.Scheme != "http":
		return nil, fault.New(fault.Invalid, "discovery_url_invalid", "the discovery URL is not a plain http or https address").
			WithFix("it is the issuer followed by /.well-known/openid-configuration")
	case c.Fetch == nil:
		return nil, fault.New(fault.Internal, "discovery_fetch", "an issuer needs a way to fetch its keys")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Issuer{config: c}, nil
}

// Verify is [Set.Verify] with the keys that the issuer publishes now. An empty
// e.Issuer stands for whatever issuer the discovery document names. While the
// issuer's keys are not known it returns a fault of kind Unavailable
// (issuer_unreachable) or Upstream (issuer_invalid).
//
// A token with an unknown key id makes the keys be fetched again, at most once
// in 30 seconds however many such tokens come.
func (i *Issuer) Verify(ctx context.Context, token string, e Expect) (Claims, error) {
	check := e.checkRest
	if i.config.KeysURL != "" {
		check = e.Check // there is no document that names the issuer
	}
	if err := check(); err != nil {
		return Claims{}, fault.Wrap(err, fault.Internal, "token_expectation", "tokens cannot be verified as configured")
	}
	p, err := parse(token, e)
	if err != nil {
		return Claims{}, err
	}
	issuer, set, err := i.keys(ctx)
	if err != nil {
		return Claims{}, err
	}
	if _, known := set.find(p.kid, p.alg); !known {
		// If this fails, the keys at hand decide, and they know no such key.
		_ = i.refresh(ctx, keysRefetch)
		if issuer, set, err = i.keys(ctx); err != nil {
			return Claims{}, err
		}
	}
	if e.Issuer == "" && !e.AnyIssuer {
		e.Issuer = issuer
	}
	return set.verify(p, e)
}

// Issuer returns the issuer that the discovery document names, fetching it if
// need be. Errors are those of [Issuer.Verify].
func (i *Issuer) Issuer(ctx context.Context) (string, error) {
	issuer, _, err := i.keys(ctx)
	return issuer, err
}

// keys returns the cached keys, fetching them first if there are none that may
// still be used.
func (i *Issuer) keys(ctx context.Context) (issuer string, s Set, err error) {
	if issuer, s, age, ok := i.cached(); ok {
		if age >= keysFresh {
			_ = i.start(ctx, keysRefetch) // nobody waits: the old keys are still good
		}
		return issuer, s, nil
	}
	if err := i.refresh(ctx, outagePause); err != nil {
		return "", Set{}, err
	}
	issuer, s, _, _ = i.cached()
	return issuer, s, nil
}

// cached returns the keys at hand and their age, and whether they may be used.
func (i *Issuer) cached() (issuer string, s Set, age time.Duration, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	age = i.config.Now().Sub(i.fetched)
	return i.doc.Issuer, i.set, age, !i.fetched.IsZero() && age < keysStale
}

// refresh fetches the keys, or waits for the fetch that is under way. If the
// last one began less than least ago, its outcome is returned instead.
func (i *Issuer) refresh(ctx context.Context, least time.Duration) error {
	select {
	case r := <-i.start(ctx, least):
		return r.Err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "issuer_unreachable", "the token issuer's keys did not arrive in time")
	}
}

// start is refresh without waiting. The fetch serves everybody who waits, so it
// does not end with the caller but by its own deadline.
func (i *Issuer) start(ctx context.Context, least time.Duration) <-chan singleflight.Result {
	return i.flight.DoChan("", func() (any, error) {
		if outcome, recent := i.recent(least); recent {
			return nil, outcome
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
		defer cancel()
		doc, set, err := i.fetch(ctx)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.failure = err
		if err == nil {
			i.doc, i.set, i.fetched = doc, set, i.config.Now()
		}
		return nil, err
	})
}

// recent returns the outcome of the last fetch if it began less than least ago,
// and else notes that one begins now.
func (i *Issuer) recent(least time.Duration) (outcome error, recent bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.config.Now()
	if !i.tried.IsZero() && now.Sub(i.tried) < least {
		return i.failure, true
	}
	i.tried = now
	return nil, false
}

func (i *Issuer) fetch(ctx context.Context) (metadata, Set, error) {
	doc := metadata{JWKSURI: i.config.KeysURL}
	if i.config.KeysURL == "" {
		var err error
		if doc, err = i.discover(ctx); err != nil {
			return doc, Set{}, err
		}
	}
	b, err := i.get(ctx, doc.JWKSURI)
	if err != nil {
		return doc, Set{}, err
	}
	parse := ParseSet
	if i.config.Bundle {
		parse = ParseBundle
	}
	set, err := parse(b)
	if err != nil {
		return doc, Set{}, err
	}
	if set.Len() == 0 { // better the old keys than none
		return doc, Set{}, fault.New(fault.Upstream, "issuer_invalid", "the token issuer at %s publishes no usable key", i.config.address())
	}
	return doc, set, nil
}

// discover fetches the discovery document.
func (i *Issuer) discover(ctx context.Context) (metadata, error) {
	var doc metadata
	b, err := i.get(ctx, i.config.DiscoveryURL)
	if err != nil {
		return doc, err
	}
	if err := wire.DecodeForeign(b, &doc); err != nil {
		return doc, fault.Wrap(err, fault.Upstream, "issuer_invalid", "the answer at %s is not a discovery document", i.config.DiscoveryURL)
	}
	if !IsDiscoveryURLOf(i.config.DiscoveryURL, doc.Issuer) {
		return doc, fault.New(fault.Upstream, "issuer_invalid", "the discovery document at %s is that of another issuer", i.config.DiscoveryURL).
			WithFix("use the discovery URL under the issuer itself; behind a proxy, check which public address the provider is told")
	}
	jwks, err := url.Parse(doc.JWKSURI)
	if err != nil || jwks.Host == "" || jwks.Scheme != "https" && !(jwks.Scheme == "http" && strings.HasPrefix(i.config.DiscoveryURL, "http://")) {
		return doc, fault.New(fault.Upstream, "issuer_invalid", "the discovery document at %s has no usable jwks_uri", i.config.DiscoveryURL)
	}
	return doc, nil
}

func (i *Issuer) get(ctx context.Context, url string) ([]byte, error) {
	b, err := i.config.Fetch(ctx, url)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "issuer_unreachable", "the token issuer at %s does not answer", i.config.address())
	}
	if len(b) > maxDocument {
		return nil, fault.New(fault.Upstream, "issuer_invalid", "the token issuer at %s answers more than %d bytes", i.config.address(), maxDocument)
	}
	return b, nil
}

// IsDiscoveryURLOf reports whether the metadata of issuer is at discovery
// (OpenID Connect Discovery 1.0, section 4.3; RFC 8414, sections 3.1 and 3.3).
// Without this check, whoever can put a document on any host could speak for
// any issuer.
func IsDiscoveryURLOf(discovery, issuer string) bool {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	base := strings.TrimSuffix(issuer, "/")
	if discovery == base+"/.well-known/openid-configuration" {
		return true
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	root := strings.TrimSuffix(base, path)
	return discovery == root+"/.well-known/oauth-authorization-server"+path ||
		discovery == root+"/.well-known/openid-configuration"+path
}

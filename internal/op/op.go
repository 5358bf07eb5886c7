// Package op has the OpenID provider's endpoints of the user pools, under /userpool/{pool}/.
//
// The flow is authorization code (OpenID Connect Core 1.0, section 3.1) with
// PKCE. An authorization request stays in the browser: it travels as the return
// address of the login page and as a hidden input of the consent page, is bound
// to the browser there by the form's token, and is checked from the start each
// time it comes back. So nothing is stored before a person has logged in.
package op

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Keys has the signing keys of pools.
type Keys interface {
	// Signing returns the owner's keys, oldest first; the last one signs, all verify. An owner without keys
	// gets one of the given algorithm. The owner of a pool's keys is "userpool/" and the pool's name.
	Signing(ctx context.Context, owner, algorithm string) ([]jwt.Key, error)
}

// Provider is the OpenID provider of all pools. All fields are required but
// the last two.
type Provider struct {
	PublicURL string // of the identity service: https://host, no slash at the end
	Site      *browser.Site
	Pages     *browser.Pages
	Pools     userpool.Pools
	Users     userpool.Users
	Clients   userpool.Clients
	Codes     userpool.Codes
	Consents  userpool.Consents
	Logins    *Logins
	SignIn    *signin.SignIn
	Keys      Keys
	Guard     *guard.Guard
	Log       *slog.Logger
	Now       func() time.Time               // nil means time.Now
	Address   func(*http.Request) netip.Addr // of the browser; nil means the connection's other end
}

// Mount adds the endpoints to mux.
func (p *Provider) Mount(mux *http.ServeMux) {
	now := p.Now
	if now == nil {
		now = time.Now
	}
	address := p.Address
	if address == nil {
		address = remoteAddress
	}
	b := base{publicURL: p.PublicURL, pools: p.Pools, pages: p.Pages, log: p.Log, now: now}
	keys := &poolKeys{keys: p.Keys, now: now, byPool: map[string]cachedKeys{}}
	requests := requestParser{clients: p.Clients}
	answers := answerer{base: b, codes: p.Codes, guard: p.Guard}
	mint := minter{base: b, keys: keys}

	for _, endpoint := range []struct {
		pattern string
		handler http.Handler
	}{
		{"GET /.well-known/openid-configuration", b.api(discovery{b}.serve)},
		{"GET /keys", b.api(published{keys}.serve)},
		{"GET /authorize", b.page(authorize{b, requests, answers, p.Logins, p.Consents, p.Site}.serve)},
		{"POST /authorize", b.page(authorizePost{b}.serve)},
		{"GET /login", b.page(login{b, p.Site, p.Logins, p.SignIn, address}.show)},
		{"POST /login", b.form(login{b, p.Site, p.Logins, p.SignIn, address}.submit)},
		{"POST /consent", b.form(consent{b, requests, answers, p.Logins, p.Consents, p.Site, p.Guard}.submit)},
		{"POST /oauth/token", b.api(token{clientAuth{p.Clients, p.Guard}, p.Codes, p.Users, mint, p.Guard, b}.serve)},
		{"GET /userinfo", b.api(userInfo{b, keys, p.Users}.serve)},
		{"POST /userinfo", b.api(userInfo{b, keys, p.Users}.serve)},
		{"GET /logout", b.page(logout{b, p.Site, p.Logins, p.Clients, keys}.show)},
		{"POST /logout", b.page(logoutPost{b}.serve)},
		{"POST /logout/confirm", b.form(logout{b, p.Site, p.Logins, p.Clients, keys}.submit)},
	} {
		mux.Handle(inPool(endpoint.pattern), endpoint.handler)
	}
}

// remoteAddress returns the address of the connection's other end, or the zero
// Addr if that is none.
func remoteAddress(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr()
}

// Package op has the OpenID provider's endpoints of the user pools, under /userpool/{pool}/.
//
// The flow is authorization code (OpenID Connect Core 1.0, section 3.1) with
// PKCE. An authorization request stays in the browser: it travels as the return
// address of the login page and as a hidden input of the consent page, is bound
// to the browser there by the form's token, and is checked from the start each
// time it comes back. So nothing is stored before a person has logged in, except
// what a client pushed (RFC 9126): then the browser carries the reference, in the
// same way.
package op

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Keys has the signing keys of pools.
type Keys interface {
	// Signing returns the owner's keys, oldest first; the last one signs, all verify. An owner without keys
	// gets one of the given algorithm. See [userpool.KeyOwner].
	Signing(ctx context.Context, owner, algorithm string) ([]jwt.Key, error)
}

// Provider is the OpenID provider of all pools. All fields are required.
type Provider struct {
	poolpage.Base
	Users    userpool.Users
	Clients  userpool.Clients
	Codes    userpool.Codes
	Devices  userpool.Devices
	Families userpool.Families
	Consents userpool.Consents
	Logins   *login.Logins
	Keys     Keys
	Upstream Upstream
	Throttle *signin.Throttle // of guesses at the codes of devices
	Guard    *guard.Guard

	Pushed         userpool.PushedRequests
	Assertions     userpool.Assertions
	Registrations  userpool.Registrations
	Outbound       *outbound.Client // to the keys and metadata documents of clients
	ClientThrottle *signin.Throttle // of clients: another one than that of people, who may share their addresses
}

// Mount adds the endpoints to mux.
func (p *Provider) Mount(mux *http.ServeMux) {
	b := base{p.Base}
	keys := &poolKeys{keys: p.Keys, now: p.Now, byPool: map[string]cachedKeys{}}
	found := clients{p.Clients, p.Pools, registration.NewDocuments(p.Outbound, p.Now), p.Guard}
	pushed := pushedRequests{b, p.Pushed, p.Guard}
	hinted := hints{b, keys}
	requests := requestParser{found, pushed, hinted}
	answers := answerer{b, p.Codes, p.Guard, found, pushed}
	jwts := assertions{b, p.Assertions, p.Guard, &clientKeys{fetch: p.Outbound.Fetch, now: p.Now, byURI: map[string]*jwt.Issuer{}}}
	auth := clientAuth{b, found, p.Guard, p.ClientThrottle, jwts}
	registering := register{b, p.Clients, p.Registrations, p.Guard, p.ClientThrottle}
	access := accessTokens{b, keys, p.Users, p.Clients, p.Families}
	devices := devicePage{b, p.Logins, p.Clients, p.Devices, p.Consents, p.Throttle, p.Guard}
	ending := logout{b, p.Logins, p.Clients, hinted, p.Upstream}
	grants := p.grants(minter{base: b, keys: keys}, access)

	for _, endpoint := range []struct {
		pattern string
		handler http.Handler
	}{
		{"GET /keys", b.api(published{keys}.serve)},
		{"GET /authorize", b.Page(authorize{b, requests, answers, p.Logins, p.Consents}.serve)},
		{"POST /authorize", b.Page(authorizePost{b}.serve)},
		{"POST /consent", b.Form(consent{b, requests, answers, p.Logins, p.Consents, p.Guard}.submit)},
		{"POST /oauth/device_authorization", b.api(deviceAuthorization{auth, b, p.Devices, p.Guard}.serve)},
		{"GET " + devicePath, b.Page(devices.show)},
		{"POST " + devicePath, b.Form(devices.submit)},
		{"POST " + devicePath + "/decision", b.Form(devices.decide)},
		{"POST /oauth/token", b.api(token{auth, grants}.serve)},
		{"POST /oauth/introspect", b.api(introspect{auth, access, p.Families, b}.serve)},
		{"POST /oauth/revoke", b.api(revoke{auth, access, p.Families, p.Guard, b}.serve)},
		{"POST /par", b.api(push{auth, requests, p.Pushed}.serve)},
		{"POST /register", b.api(registering.create)},
		{"GET /register/{client}", b.api(registering.read)},
		{"PUT /register/{client}", b.api(registering.update)},
		{"DELETE /register/{client}", b.api(registering.remove)},
		{"GET /userinfo", b.api(userInfo{b, access}.serve)},
		{"POST /userinfo", b.api(userInfo{b, access}.serve)},
		{"GET /logout", b.Page(ending.show)},
		{"GET " + logoutDonePath, b.Page(ending.returned)},
		{"POST /logout", b.Page(logoutPost{b}.serve)},
		{"POST /logout/confirm", b.Form(ending.submit)},
	} {
		mux.Handle(poolpage.Pattern(endpoint.pattern), endpoint.handler)
	}
	for _, pattern := range wellKnown() {
		mux.Handle(pattern, b.api(discovery{b, slices.Sorted(maps.Keys(grants))}.serve))
	}
}

// grants is the table of what the token endpoint answers.
func (p *Provider) grants(mint minter, access accessTokens) map[string]grant {
	return map[string]grant{
		oauth.GrantAuthorizationCode: redemption{mint, p.Codes, p.Families, p.Users, p.Guard},
		oauth.GrantRefreshToken:      refresh{mint, p.Families, p.Users, p.Guard},
		oauth.GrantClientCredentials: credentials{mint, p.Guard},
		oauth.GrantDeviceCode:        deviceGrant{mint, p.Devices, p.Users, p.Guard, newPace()},
		oauth.GrantTokenExchange:     exchange{mint, access, p.Guard},
	}
}

package vendor

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
)

// App is the client that the operator registered at a vendor.
type App struct {
	ClientID     string
	ClientSecret secret.Text
	Key          jwt.Key // signs assertions where the vendor wants private_key_jwt; else zero
	RedirectURI  string  // Deputy's callback
}

// With returns e with the endpoints that p gives in place of its own, ready to
// be asked. It returns a fault of kind Invalid: vendor_endpoint_invalid for an
// address that cannot be one, vendor_endpoint_missing if the token endpoint is
// given neither here nor in the catalogue, or if its addresses begin with one of
// the operator's and that is not given. Who needs the authorization endpoint asks
// for it.
func (e Entry) With(p Endpoints) (Entry, error) {
	if err := p.check("endpoints"); err != nil {
		return Entry{}, err
	}
	e.Endpoints = p.Over(e.Endpoints)
	filled, ok := e.Endpoints.filled()
	if !ok {
		return Entry{}, fault.New(fault.Invalid, "vendor_endpoint_missing", "vendor %q is at an address that only you know", e.ID).
			WithFix("give it as base with the credential provider's endpoints, such as https://example.%s.example", e.ID).WithSource("endpoints.base")
	}
	e.Endpoints = filled
	if p.Token != "" && p.API == "" {
		e.Proof = Proof{} // the app is another server's, and so is its secret
	}
	if e.Endpoints.Token == "" {
		return Entry{}, e.missing("token")
	}
	return e, nil
}

// Over returns below with what p has in its place.
func (p Endpoints) Over(below Endpoints) Endpoints {
	given := p.places()
	for i, f := range below.places() {
		if *given[i].address != "" {
			*f.address = *given[i].address
		}
	}
	return below
}

func (e Entry) missing(which string) error {
	return fault.New(fault.Invalid, "vendor_endpoint_missing", "vendor %q has no %s endpoint of its own", e.ID, which).
		WithFix("give it with the credential provider").WithSource("endpoints")
}

// CheckScopes returns a fault of kind Invalid (scope_refused) if one of the
// scopes can never work at this vendor; it says why and names the scopes that
// are refused. Scopes that the catalogue does not know pass: vendors add some
// without notice.
func (e Entry) CheckScopes(scopes name.Scopes) error {
	var refused []string
	var why string
	for _, r := range e.RefusedScopes {
		if scopes.Has(r.Scope) {
			refused = append(refused, r.Scope)
			why = e.fill(r.Why, "").EN
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "scope_refused", "%s: %s", strings.Join(refused, ", "), why).
		WithFix("remove %s from the scopes", strings.Join(refused, ", ")).WithSource("scopes")
}

// UnknownScopes returns those of scopes that the catalogue does not list for
// this vendor, and what may have been meant. An entry that lists none knows all.
func (e Entry) UnknownScopes(scopes name.Scopes) (unknown name.Scopes, fix string) {
	if len(e.Scopes) == 0 {
		return name.Scopes{}, ""
	}
	known := make([]string, len(e.Scopes))
	for i, s := range e.Scopes {
		known[i] = s.Scope
	}
	var list []string
	for _, s := range scopes.List() {
		if slices.Contains(known, s) || s == e.RefreshScope || len(e.Includes[s]) > 0 {
			continue
		}
		if list = append(list, s); fix == "" {
			fix = name.DidYouMean(s, known, "")
		}
	}
	unknown, err := name.NewScopes(list...)
	if err != nil { // they were scopes before
		return name.Scopes{}, ""
	}
	return unknown, fix
}

// ConsoleHelp says where callback is registered at the vendor.
func (e Entry) ConsoleHelp(callback string) Words { return e.fill(e.Console, callback) }

// Ask is what an authorization request says, next to the app.
type Ask struct {
	Scopes        name.Scopes
	State         string
	CodeChallenge string            // S256; must not be empty, unless the vendor cannot do PKCE, in which case it is not sent
	Force         bool              // have the user asked even if the vendor remembers his consent
	Params        map[string]string // further parameters; they replace none
}

// AuthorizeURL returns the address to which the browser is sent for consent
// (RFC 6749, section 4.1.1; RFC 7636, section 4.3). It returns a fault of kind
// Invalid (parameter_reserved) for a further parameter that the request has
// already, or that would be the request itself (RFC 9101, RFC 9126).
func (e Entry) AuthorizeURL(app App, a Ask) (string, error) {
	if e.Endpoints.Authorization == "" {
		return "", e.missing("authorization")
	}
	u, err := url.Parse(e.Endpoints.Authorization)
	if err != nil {
		return "", endpoint("endpoints.authorization", "is malformed")
	}
	if a.State == "" || app.ClientID == "" || app.RedirectURI == "" || (e.pkce() && a.CodeChallenge == "") {
		return "", fault.New(fault.Internal, "vendor_authorize", "an authorization request lacks state, client id, redirect URI or code challenge")
	}
	q := u.Query()
	for k, v := range e.Authorize.Params {
		q.Set(k, v)
	}
	if a.Force {
		for k, v := range e.Authorize.ForceParams {
			q.Set(k, v)
		}
	}
	q.Set("response_type", oauth.ResponseTypeCode)
	q.Set("client_id", app.ClientID)
	q.Set("redirect_uri", app.RedirectURI)
	q.Set("state", a.State)
	if a.Scopes.Len() > 0 {
		q.Set(e.Authorize.ScopeParam, strings.Join(a.Scopes.List(), e.Authorize.ScopeSeparator))
	}
	if e.pkce() {
		q.Set("code_challenge", a.CodeChallenge)
		q.Set("code_challenge_method", oauth.ChallengeS256)
	}
	for k, v := range a.Params {
		if q.Has(k) || slices.Contains(reserved, k) || k == e.Authorize.ScopeParam {
			return "", fault.New(fault.Invalid, "parameter_reserved", "the custom parameter %q is not for agents to set", name.Clip(k, 64)).
				WithSource("parameters").WithFix("leave it out")
		}
		q.Set(k, v)
	}
	// Some vendors decode "+" as a plus sign; a real one is written %2B here.
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String(), nil
}

// reserved are parameters that decide where the answer goes, in which form, or
// what the other parameters are.
var reserved = []string{"response_mode", "request", "request_uri", "registration", "scope", "code_challenge", "code_challenge_method", "resource", "nonce"}

// Proves reports whether [Client.Probe] without an error means that the client
// secret is right. Vendors that look at the code first say nothing about it.
func (e Entry) Proves() bool { return !e.Token.CodeFirst || e.provable() }

func (e Entry) provable() bool { return e.Proof.URL != "" && e.Endpoints.API != "" }

func (e Entry) pkce() bool { return e.Authorize.PKCE != pkceNone }

// grantParams returns what every token request says.
func (e Entry) grantParams(grantType string) map[string]string {
	p := map[string]string{}
	maps.Copy(p, e.Token.Params)
	p["grant_type"] = grantType
	return p
}

// fill puts the vendor's name and the callback into a text.
func (e Entry) fill(w Words, callback string) Words {
	if callback == "" {
		callback = "the callback URL"
	}
	return Words{
		EN: strings.NewReplacer("{vendor}", e.Name.EN, "{callback}", callback).Replace(w.EN),
		ZH: strings.NewReplacer("{vendor}", e.Name.ZH, "{callback}", callback).Replace(w.ZH),
	}
}

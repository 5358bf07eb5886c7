package vendor

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
)

// check returns a fault that names what is missing or wrong in an entry.
func (e Entry) check() error {
	if err := name.Check("vendor", e.ID); err != nil {
		return err
	}
	at := "vendors." + e.ID
	for place, w := range map[string]Words{"name": e.Name, "console": e.Console} {
		if w.EN == "" || w.ZH == "" {
			return invalid(at+"."+place, "needs en and zh")
		}
	}
	sample := e.Endpoints
	if sample.Base == "" {
		sample.Base = "https://base.example"
	}
	sample, _ = sample.filled()
	sample.Revocation = strings.ReplaceAll(sample.Revocation, "{client_id}", "client")
	if err := sample.check(at + ".endpoints"); err != nil {
		return err
	}
	if err := e.Token.check(at + ".token"); err != nil {
		return err
	}
	if err := e.checkCalls(at); err != nil {
		return err
	}
	if !slices.Contains([]string{"", oauth.ChallengeS256, pkceNone}, e.Authorize.PKCE) {
		return invalid(at+".authorize.pkce", "is S256 or none")
	}
	if p := e.Authorize.CodeParam; p == "state" || strings.HasPrefix(p, "error") {
		return invalid(at+".authorize.codeParam", "is a parameter that means something else")
	}
	if !slices.Contains([]Rotation{RotationNone, RotationRotate, RotationKillAccess}, e.Rotation) {
		return invalid(at+".rotation", "is none, rotate or rotate-and-kill-access")
	}
	if !slices.Contains([]Grants{"", GrantsOne, GrantsMany}, e.Grants) {
		return invalid(at+".grants", "is one or many")
	}
	paths := slices.Concat([]string{e.Identity.ID, e.Identity.Name, e.Errors.OK, e.Test.OK, e.Proof.OK, e.Introspection.Scope}, e.Errors.Code, e.Errors.Error, e.Errors.Description)
	if err := checkPaths(at, paths); err != nil {
		return err
	}
	for _, s := range e.Scopes {
		if _, err := name.NewScopes(s.Scope); err != nil || s.What.EN == "" || s.What.ZH == "" {
			return invalid(at+".scopes", "needs a valid scope and its meaning in en and zh")
		}
	}
	for _, s := range e.RefusedScopes {
		if s.Scope == "" || s.Why.EN == "" || s.Why.ZH == "" {
			return invalid(at+".refusedScopes", "needs a scope and the reason in en and zh")
		}
	}
	for _, scope := range slices.Sorted(maps.Keys(e.Includes)) {
		if _, err := name.NewScopes(append(e.Includes[scope], scope)...); err != nil || len(e.Includes[scope]) == 0 {
			return invalid(at+".includes", "needs valid scopes")
		}
	}
	if e.Cumulative && e.Token.Scope == "" {
		return invalid(at+".cumulative", "needs token.scope: nobody else knows what a token has")
	}
	return checkCodes(at+".codes", e.Codes)
}

func (t Token) check(at string) error {
	switch {
	case !slices.Contains([]Auth{AuthPost, AuthBasic, AuthBearer, AuthNone, AuthPrivateKeyJWT}, t.Auth):
		return invalid(at+".auth", "is post, basic, bearer, none or private_key_jwt")
	case t.Body != BodyForm && t.Body != BodyJSON:
		return invalid(at+".body", "is form or json")
	case t.AccessToken == "":
		return invalid(at+".accessToken", "is missing")
	case t.Lifetime < 0:
		return invalid(at+".lifetime", "is negative")
	default:
		return checkPaths(at, []string{t.Set, t.AccessToken, t.RefreshToken, t.TokenType, t.Scope, t.ExpiresIn, t.ExpiresAt, t.RefreshExpiresIn})
	}
}

// checkCalls checks what says how endpoints other than the token endpoint are
// asked.
func (e Entry) checkCalls(at string) error {
	for place, method := range map[string]string{"identity": e.Identity.Method, "test": e.Test.Method, "revocation": e.Revocation.Method} {
		// A revocation by GET would put the token into an address.
		if !slices.Contains([]string{"", http.MethodGet, http.MethodPost, http.MethodDelete}, method) || (place == "revocation" && method == http.MethodGet) {
			return invalid(at+"."+place+".method", "is GET, POST or DELETE, and never GET for a revocation")
		}
	}
	for place, auth := range map[string]Auth{"revocation": e.Revocation.Auth, "introspection": e.Introspection.Auth} {
		if !slices.Contains([]Auth{"", AuthPost, AuthBasic, AuthBearer, AuthNone, AuthAnonymous, AuthPrivateKeyJWT}, auth) {
			return invalid(at+"."+place+".auth", "is post, basic, bearer, none, anonymous or private_key_jwt")
		}
	}
	for place, body := range map[string]Body{"revocation": e.Revocation.Body, "introspection": e.Introspection.Body} {
		if !slices.Contains([]Body{"", BodyForm, BodyJSON}, body) {
			return invalid(at+"."+place+".body", "is form or json")
		}
	}
	if !slices.Contains([]Which{"", WhichRefresh, WhichAccess, WhichBoth}, e.Revocation.Which) {
		return invalid(at+".revocation.which", "is refresh, access or both")
	}
	for place, u := range map[string]string{"test": e.Test.URL, "proof": e.Proof.URL} {
		if u != "" && !strings.HasPrefix(u, apiBase) {
			return invalid(at+"."+place+".url", "begins with {api}")
		}
	}
	for k, v := range e.Header {
		if !sendable(k, v) {
			return invalid(at+".header", fmt.Sprintf("has %q, which cannot be a header", name.Clip(k, 40)))
		}
	}
	return nil
}

// sendable reports whether a header can be sent (RFC 9110, section 5.1).
func sendable(k, v string) bool {
	token := func(c rune) bool {
		return c == '-' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	}
	return k != "" && strings.TrimFunc(k, token) == "" && !strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' })
}

func checkPaths(at string, paths []string) error {
	for _, p := range paths {
		if p != "" && slices.Contains(strings.Split(p, "."), "") {
			return invalid(at, fmt.Sprintf("has the path %q, which has an empty step", name.Clip(p, 80)))
		}
	}
	return nil
}

func checkCodes(at string, codes []Code) error {
	type key struct {
		code string
		step Step
	}
	steps := []Step{StepAuthorize, StepExchange, StepRefresh, StepAPI, StepRevoke, StepMachine, StepBehalf, StepDevice, StepProof}
	seen := map[key]bool{}
	for i, c := range codes {
		at := fmt.Sprintf("%s[%d]", at, i)
		if len(c.Codes) == 0 || !slices.Contains(classes(), c.Class) {
			return invalid(at, "needs codes and a class")
		}
		if c.What.EN == "" || c.What.ZH == "" || c.Fix.EN == "" || c.Fix.ZH == "" {
			return invalid(at, "needs what and fix in en and zh")
		}
		meant := c.At
		if len(meant) == 0 {
			meant = steps
		}
		for _, step := range meant {
			if !slices.Contains(steps, step) {
				return invalid(at+".at", "names steps out of authorize, exchange, refresh, api, revoke, machine, behalf, device and proof")
			}
			for _, code := range c.Codes {
				if code == "" || seen[key{code, step}] {
					return invalid(at, fmt.Sprintf("has the code %q, which is empty or has a meaning already", name.Clip(code, 40)))
				}
				seen[key{code, step}] = true
			}
		}
	}
	return nil
}

// place is one of a vendor's addresses with its name.
type place struct {
	name    string
	address *string
}

// places are all addresses, the base first.
func (p *Endpoints) places() []place {
	return []place{
		{"base", &p.Base}, {"authorization", &p.Authorization}, {"token", &p.Token}, {"refresh", &p.Refresh}, {"deviceAuthorization", &p.DeviceAuthorization},
		{"userInfo", &p.UserInfo}, {"revocation", &p.Revocation}, {"introspection", &p.Introspection}, {"api", &p.API},
	}
}

// filled returns p with its base in the addresses that begin with it. It reports
// false if an address needs a base and there is none.
func (p Endpoints) filled() (Endpoints, bool) {
	for _, f := range p.places() {
		if rest, ok := strings.CutPrefix(*f.address, "{base}"); ok {
			if p.Base == "" {
				return p, false
			}
			*f.address = strings.TrimSuffix(p.Base, "/") + rest
		}
	}
	return p, true
}

// check returns a fault unless every given endpoint is an absolute address
// without user information and fragment. The browser goes to the authorization
// endpoint without the outbound guard, so that one is https or on this machine.
func (p Endpoints) check(at string) error {
	for _, f := range p.places() {
		s := *f.address
		if s == "" {
			continue
		}
		u, err := url.Parse(s)
		switch {
		case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, strings.Contains(s, "#"), len(s) > 2000,
			f.name == "base" && u.RawQuery != "":
			return endpoint(at+"."+f.name, "is not an absolute https address")
		case (f.name == "authorization" || f.name == "base") && u.Scheme == "http" && !oauth.Loopback(u.Hostname()):
			return endpoint(at+"."+f.name, "sends people over plain http to another machine")
		}
	}
	return nil
}

func endpoint(at, what string) error {
	return fault.New(fault.Invalid, "vendor_endpoint_invalid", "the endpoint %s", what).WithFix("write an address such as https://example.com/oauth/token").WithSource(at)
}

func invalid(at, what string) error {
	return fault.New(fault.Invalid, "vendor_catalogue_invalid", "%s %s", name.Clip(at, 120), what)
}

package vendor

import (
	"fmt"
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
	if err := e.Endpoints.check(at + ".endpoints"); err != nil {
		return err
	}
	if err := e.Token.check(at + ".token"); err != nil {
		return err
	}
	if !slices.Contains([]string{"", oauth.ChallengeS256, pkceNone}, e.Authorize.PKCE) {
		return invalid(at+".authorize.pkce", "is S256 or none")
	}
	if !slices.Contains([]Rotation{RotationNone, RotationRotate, RotationKillAccess}, e.Rotation) {
		return invalid(at+".rotation", "is none, rotate or rotate-and-kill-access")
	}
	paths := slices.Concat([]string{e.Identity.ID, e.Identity.Name, e.Errors.OK}, e.Errors.Code, e.Errors.Error, e.Errors.Description)
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
	return checkCodes(at+".codes", e.Codes)
}

func (t Token) check(at string) error {
	switch {
	case !slices.Contains([]Auth{AuthPost, AuthBasic, AuthNone, AuthPrivateKeyJWT}, t.Auth):
		return invalid(at+".auth", "is post, basic, none or private_key_jwt")
	case t.Body != BodyForm && t.Body != BodyJSON:
		return invalid(at+".body", "is form or json")
	case t.AccessToken == "":
		return invalid(at+".accessToken", "is missing")
	case t.Lifetime < 0:
		return invalid(at+".lifetime", "is negative")
	default:
		return checkPaths(at, []string{t.AccessToken, t.RefreshToken, t.TokenType, t.Scope, t.ExpiresIn, t.RefreshExpiresIn})
	}
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
	steps := []Step{StepAuthorize, StepExchange, StepRefresh, StepAPI, StepMachine, StepBehalf, StepDevice}
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
				return invalid(at+".at", "names steps out of authorize, exchange, refresh, api, machine, behalf and device")
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

// check returns a fault unless every given endpoint is an absolute address
// without user information and fragment. The browser goes to the authorization
// endpoint without the outbound guard, so that one is https or on this machine.
func (p Endpoints) check(at string) error {
	for place, s := range map[string]string{"authorization": p.Authorization, "token": p.Token, "deviceAuthorization": p.DeviceAuthorization, "userInfo": p.UserInfo, "api": p.API} {
		if s == "" {
			continue
		}
		u, err := url.Parse(s)
		switch {
		case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, strings.Contains(s, "#"), len(s) > 2000:
			return endpoint(at+"."+place, "is not an absolute https address")
		case place == "authorization" && u.Scheme == "http" && !oauth.Loopback(u.Hostname()):
			return endpoint(at+"."+place, "sends people over plain http to another machine")
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

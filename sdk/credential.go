package deputy

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// Credential declares what a tool needs: which provider's credential, with
// which scopes, for which third party. It is a value; it holds no secret.
type Credential struct {
	Provider string   // name of the credential provider in Deputy
	Scopes   []string // empty: the provider's own defaults
	Origins  []string // "https://open.feishu.cn": where the credential may be sent
}

// OAuth2 declares a credential from the OAuth 2.0 provider of that name. Without
// scopes, those of the provider's configuration are asked for.
func OAuth2(provider string, scopes ...string) Credential {
	return Credential{Provider: provider, Scopes: scopes}
}

// APIKey declares the key of the provider of that name, of type api_key. The
// operator who gave the key to Deputy decides which header carries it.
func APIKey(provider string) Credential { return Credential{Provider: provider} }

// Basic declares the user name and password of the provider of that name, of
// type basic (RFC 7617).
func Basic(provider string) Credential { return Credential{Provider: provider} }

// At returns a copy of c that is sent to these origins, and to no others. An
// origin is a scheme and a host, and a port if it is not the usual one; the scheme
// is https, or http on loopback.
func (c Credential) At(origins ...string) Credential {
	c.Origins = append(slices.Clone(c.Origins), origins...)
	return c
}

// key names what is asked for: two declarations with the same key share a token.
func (c Credential) key() string {
	scopes := slices.Clone(c.Scopes)
	slices.Sort(scopes)
	return c.Provider + "\x00" + strings.Join(slices.Compact(scopes), " ")
}

// byOrigin returns the credentials by where they are sent. Those that the tool
// is handed itself need not be sent anywhere.
func byOrigin(creds []Credential, handed ...Credential) (map[string]Credential, error) {
	found := map[string]Credential{}
	for i, c := range slices.Concat(handed, creds) {
		if err := c.check(i < len(handed)); err != nil {
			return nil, err
		}
		for _, o := range c.Origins {
			u, err := url.Parse(o)
			if err != nil {
				return nil, refuse("credential_invalid", "%v", err)
			}
			if other, ok := found[origin(u)]; ok && other.key() != c.key() {
				return nil, refuse("credential_invalid", "two credentials are for %s", o)
			}
			found[origin(u)] = c
		}
	}
	return found, nil
}

func (c Credential) check(handed bool) error {
	if c.Provider == "" {
		return &Error{Code: "credential_invalid", Message: "a credential has no provider name",
			Fix: "name the credential provider in deputy.OAuth2"}
	}
	if len(c.Origins) == 0 && !handed {
		return &Error{Code: "credential_invalid", Message: "the credential of " + c.Provider + " may be sent nowhere",
			Fix: `say where with At("https://…")`}
	}
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return &Error{Code: "credential_invalid", Message: "the credential of " + c.Provider + " has an origin that is none",
				Fix: `an origin looks like "https://open.feishu.cn"`}
		}
		if !protected(u) {
			return &Error{Code: "credential_invalid", Message: "the credential of " + c.Provider + " would travel in clear text to " + u.Host,
				Fix: "use https (http is for loopback only)"}
		}
	}
	return nil
}

// protected reports whether a credential that is sent to u is seen by nobody on
// the way.
func protected(u *url.URL) bool {
	return u.Scheme == "https" || (u.Scheme == "http" && loopback(u.Hostname()))
}

// origin is u's origin in its one spelling (RFC 6454, section 4).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

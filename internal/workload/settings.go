package workload

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
)

// Settings is what an operator says about a workload. The zero Settings are
// those of one that gets tokens for itself and for users who are let in to it.
type Settings struct {
	Description string
	ReturnURLs  []string // where its users' browsers may be sent after an authorization, letter by letter
	Disabled    bool     // it gets no tokens, and those that it has do not hold
	Trust
}

// Trust says for whom a workload may act, and on whose call.
type Trust struct {
	// AssertsFor are the issuers of the users for whom it gets tokens by their id alone, whether they are there or
	// not. For a pool of this Deputy that is the pool's issuer. None: nobody may be acted for without proof.
	AssertsFor []string `json:"assertsFor,omitempty"`
	// Callers are the workloads of its pool that may call it for a user. None: none may.
	Callers    []string   `json:"callers,omitempty"`
	UserTokens UserTokens `json:"userTokens,omitzero"`
}

// UserTokens says whose tokens prove a user to a workload that is not an agent of
// the runtime, whose agentkit.yaml says that. The zero UserTokens take none.
type UserTokens struct {
	DiscoveryURL     string   `json:"discoveryUrl"`
	AllowedClients   []string `json:"allowedClients,omitempty"` // empty: any client of the issuer
	AllowedAudiences []string `json:"allowedAudiences"`         // one of them must be the token's
}

// maxListed bounds each list of the settings.
const maxListed = 20

// check refuses settings that cannot be meant.
func (s Settings) check(w name.Workload) error {
	for _, list := range []struct {
		code, source, what string
		items              []string
		bad                func(string) bool
		fix                string
	}{
		{"return_url_invalid", "returnUrls", "return URL", s.ReturnURLs, badReturnURL,
			"give the whole address of a page of the application, https except on loopback, without user and fragment"},
		{"asserts_for_invalid", "assertsFor", "issuer", s.AssertsFor, badIssuer, "give the issuer as it stands in its tokens, https except on loopback"},
		{"callers_invalid", "callers", "caller", s.Callers, func(c string) bool { return c == w.Name || name.Check("workload", c) != nil },
			"give the names of other workloads of the same pool"},
		{"user_tokens_invalid", "userTokens.allowedClients", "client", s.UserTokens.AllowedClients, badText, "give client ids"},
		{"user_tokens_invalid", "userTokens.allowedAudiences", "audience", s.UserTokens.AllowedAudiences, badText, "give the audiences that the tokens have"},
	} {
		if len(list.items) > maxListed {
			return fault.New(fault.Invalid, list.code, "there are %d %ss, and at most %d are kept", len(list.items), list.what, maxListed).WithSource(list.source)
		}
		for _, item := range list.items {
			if list.bad(item) {
				return fault.New(fault.Invalid, list.code, "%q cannot be a %s", name.Clip(item, 200), list.what).WithSource(list.source).WithFix("%s", list.fix)
			}
		}
	}
	t := s.UserTokens
	switch {
	case t.DiscoveryURL == "" && len(t.AllowedClients)+len(t.AllowedAudiences) > 0, t.DiscoveryURL != "" && badIssuer(t.DiscoveryURL):
		return fault.New(fault.Invalid, "user_tokens_invalid", "%q is not the discovery URL of an issuer", name.Clip(t.DiscoveryURL, 200)).
			WithSource("userTokens.discoveryUrl").WithFix("use https://…/.well-known/openid-configuration (http on the loopback interface only)")
	case t.DiscoveryURL != "" && len(t.AllowedAudiences) == 0:
		// A token for another service of the same issuer must not be one for this workload.
		return fault.New(fault.Invalid, "user_tokens_invalid", "no audience is named, so that no token would be meant for the workload").WithSource("userTokens.allowedAudiences")
	}
	return nil
}

// badReturnURL reports whether a browser must not be sent to s with the outcome
// of an authorization: plain http but to this machine, and what is no address.
func badReturnURL(s string) bool {
	u, err := url.Parse(s)
	return err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(s, "#") || len(s) > 2048 ||
		(u.Scheme != "https" && (u.Scheme != "http" || !oauth.Loopback(u.Hostname())))
}

// badIssuer: an issuer, or its discovery document, has no query either (OpenID
// Connect Discovery 1.0, section 4).
func badIssuer(s string) bool { return badReturnURL(s) || strings.Contains(s, "?") || len(s) > 500 }

func badText(s string) bool { return s == "" || len(s) > 255 || strings.TrimSpace(s) != s }

// detail says in the audit log what the settings allow.
func (s Settings) detail() map[string]string {
	detail := map[string]string{}
	for key, list := range map[string][]string{"assertsFor": s.AssertsFor, "callers": s.Callers} {
		if len(list) > 0 {
			detail[key] = name.Clip(strings.Join(list, " "), 500)
		}
	}
	if s.UserTokens.DiscoveryURL != "" {
		detail["userTokens"] = name.Clip(s.UserTokens.DiscoveryURL, 500)
	}
	if s.Disabled {
		detail["disabled"] = strconv.FormatBool(true)
	}
	return detail
}

// MayAssert returns nil if the workload gets tokens for u by his id alone, else
// a fault of kind Forbidden.
func (w Workload) MayAssert(u name.User) error {
	if slices.Contains(w.AssertsFor, u.Issuer) {
		return nil
	}
	return fault.New(fault.Forbidden, "user_not_assertable", "%s may not act for a user of %s without his proof", w.Identity, name.Clip(u.Issuer, 200)).
		WithSource("user").WithFix("send the user's token, or let an operator add the issuer to what the workload asserts for")
}

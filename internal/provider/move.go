package provider

import (
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// moves reports whether v, with which was is to be replaced, speaks to a third
// party that was is not of: whether there is an origin (RFC 6454) to which secrets
// and tokens would go that got none before. An authorization server that is known
// by its issuer may have its endpoints where it says.
func (r *Registry) moves(was, v Provider) (bool, error) {
	if v.Type != TypeOAuth2 {
		return false, nil
	}
	before, err := r.entry(was)
	if err != nil {
		return true, nil // it spoke to nobody
	}
	after := v.Endpoints
	if d := v.Options.Discovery; d == nil || was.Options.Discovery == nil || d.Issuer != was.Options.Discovery.Issuer {
		entry, err := r.entry(v)
		if err != nil {
			return false, err
		}
		after = entry.Endpoints
	}
	known := recipients(before.Endpoints)
	return slices.ContainsFunc(recipients(after), func(o string) bool { return !slices.Contains(known, o) }), nil
}

// recipients returns the origins of the endpoints that are sent a client secret or a
// token. Where a browser is sent to is none of them, and neither is where agents go.
func recipients(e vendor.Endpoints) []string {
	var origins []string
	for _, address := range []string{e.Base, e.Token, e.Refresh, e.DeviceAuthorization, e.UserInfo, e.Revocation, e.Introspection} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			origins = append(origins, strings.ToLower(u.Scheme+"://"+u.Host))
		}
	}
	return origins
}

// secretNeeded is the fault for a third party that would get a secret that was
// given for another.
func secretNeeded(v Provider) error {
	return fault.New(fault.Invalid, "provider_secret_needed", "credential provider %q would speak to another server than before, and the secret that is kept is not sent there", v.Name).
		WithSource("clientSecret").WithFix("give the client's secret together with the new endpoints, or correct them")
}

// HasGrants is the fault for a provider that cannot speak to another third party,
// because it has tokens of this one.
func HasGrants(v Provider) error {
	return fault.New(fault.Conflict, "provider_has_grants", "credential provider %q would speak to another server than before, and has people's grants of the one before: their tokens would go there", v.Name).
		WithSource("endpoints").WithFix("create another credential provider for the other server, or delete the grants of this one first")
}

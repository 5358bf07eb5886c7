package provider_test

import (
	"net/url"
	"testing"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/vendor"
)

// TestTheScopeForARefreshTokenIsAskedForByDeputy: agents do not know of it, and
// without it every expiry would ask the user again.
func TestTheScopeForARefreshTokenIsAskedForByDeputy(t *testing.T) {
	catalogue, err := vendor.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	entry, err := catalogue.Lookup("feishu")
	if err != nil {
		t.Fatal(err)
	}
	scopes := func(param string) name.Scopes {
		s, err := name.ParseScopes(param)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct{ provider, asked, want string }{
		{"docx:document:readonly offline_access", "docx:document:readonly", "docx:document:readonly offline_access"},
		{"docx:document:readonly offline_access", "offline_access", "offline_access"},
		{"docx:document:readonly", "docx:document:readonly", "docx:document:readonly"}, // the operator does not want refresh tokens
		{"docx:document:readonly drive:drive offline_access", "drive:drive", "drive:drive offline_access"},
	} {
		d := provider.Dialect{Provider: provider.Provider{Scopes: scopes(c.provider)}, Entry: entry, App: vendor.App{ClientID: "cli_1", RedirectURI: "https://id.example/cb"}}
		address, err := d.AuthorizeURL(provider.Ask{Scopes: scopes(c.asked), State: "state", CodeChallenge: "challenge-challenge-challenge-challenge-123"})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := scopes(u.Query().Get("scope")).String(); got != c.want {
			t.Errorf("provider %q, asked for %q: %q is requested, want %q", c.provider, c.asked, got, c.want)
		}
	}
}

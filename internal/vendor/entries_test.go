package vendor_test

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// everyEntry runs a test with each entry of the catalogue.
func everyEntry(t *testing.T, test func(t *testing.T, p *party, c *vendor.Client)) {
	t.Helper()
	c, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	client := setUp(t, "custom").client
	for _, id := range c.IDs() {
		t.Run(id, func(t *testing.T) { test(t, newParty(t, id), client) })
	}
}

func TestEveryVendorsAuthorizationAddress(t *testing.T) {
	everyEntry(t, func(t *testing.T, p *party, _ *vendor.Client) {
		asked := scopes(t, "read write")
		address, err := p.entry.AuthorizeURL(app(), vendor.Ask{Scopes: asked, State: "state", CodeChallenge: "challenge", Force: true})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		a := p.entry.Authorize
		want := url.Values{"response_type": {"code"}, "client_id": {"cli_1"}, "redirect_uri": {app().RedirectURI}, "state": {"state"}, a.ScopeParam: {"read" + a.ScopeSeparator + "write"}}
		for k, v := range a.Params {
			want.Set(k, v)
		}
		for k, v := range a.ForceParams {
			want.Set(k, v)
		}
		if a.PKCE != "none" {
			want.Set("code_challenge", "challenge")
			want.Set("code_challenge_method", "S256")
		}
		if got := u.Query().Encode(); got != want.Encode() {
			t.Errorf("got %s, want %s", got, want.Encode())
		}
	})
}

func TestEveryVendorsTokens(t *testing.T) {
	everyEntry(t, func(t *testing.T, p *party, c *vendor.Client) {
		exchanged, err := c.Exchange(t.Context(), p.entry, app(), secret.FromString(code), secret.FromString(verifier))
		if err != nil {
			t.Fatal(err)
		}
		refreshed, err := c.Refresh(t.Context(), p.entry, app(), secret.FromString(refreshToken), name.Scopes{})
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []vendor.Tokens{exchanged, refreshed} {
			if got.Access.RevealString() != accessToken || got.Refresh.RevealString() != newRefresh {
				t.Errorf("got %+v", got)
			}
			if told := p.entry.Token.Scope != ""; got.ScopesKnown != told || (told && !slices.Equal(got.Scopes.List(), []string{"read", "write"})) {
				t.Errorf("scopes %v, known %v", got.Scopes, got.ScopesKnown)
			}
			want := time.Time{}
			if p.entry.Token.ExpiresIn != "" || p.entry.Token.ExpiresAt != "" {
				want = epoch.Add(time.Hour)
			}
			if !got.ExpiresAt.Equal(want) {
				t.Errorf("expires at %v", got.ExpiresAt)
			}
		}
	})
}

func TestEveryVendorsAccountAndTest(t *testing.T) {
	everyEntry(t, func(t *testing.T, p *party, c *vendor.Client) {
		access := secret.FromString(accessToken)
		got, err := c.Identity(t.Context(), p.entry, access)
		if err != nil || got != (vendor.Account{ID: "u-1", Name: "张三"}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if err := c.Test(t.Context(), p.entry, app(), access); err != nil {
			t.Error(err)
		}
		if p.entry.Endpoints.Introspection == "" {
			return
		}
		p.entry.Endpoints.UserInfo, p.entry.Test = "", vendor.Test{}
		if err := c.Test(t.Context(), p.entry, app(), access); err != nil {
			t.Errorf("by introspection: %v", err)
		}
		if err := c.Test(t.Context(), p.entry, app(), secret.FromString("another")); !fault.HasCode(err, "vendor_retry") {
			t.Errorf("a token that is not active: %v", err)
		}
	})
}

func TestEveryVendorsRevocation(t *testing.T) {
	everyEntry(t, func(t *testing.T, p *party, c *vendor.Client) {
		access, refresh := secret.FromString(accessToken), secret.FromString(refreshToken)
		revoke := func(access, refresh secret.Text) error { return c.Revoke(t.Context(), p.entry, app(), access, refresh) }
		if p.entry.Endpoints.Revocation == "" {
			if err := revoke(access, refresh); !fault.HasCode(err, "vendor_endpoint_missing") {
				t.Errorf("got %v", err)
			}
			return
		}
		want := map[vendor.Which][]string{vendor.WhichRefresh: {refreshToken}, vendor.WhichAccess: {accessToken}, vendor.WhichBoth: {refreshToken, accessToken}}[p.entry.Revocation.Which]
		if err := revoke(access, refresh); err != nil || !slices.Equal(p.revoked, want) {
			t.Errorf("revoked %q, %v; want %q", p.revoked, err, want)
		}
		p.revoked = nil
		if err := revoke(access, secret.Text{}); err != nil || !slices.Equal(p.revoked, []string{accessToken}) {
			t.Errorf("the access token alone: %q, %v", p.revoked, err)
		}
		for _, gone := range p.entry.Revocation.Gone {
			p.fail, p.status = gone, 0
			if status, err := strconv.Atoi(gone); err == nil {
				p.fail, p.status = "any_word", status
			}
			if err := revoke(access, refresh); err != nil {
				t.Errorf("%s says that the token is gone already: %v", gone, err)
			}
		}
		p.fail, p.status = "server_error", 503
		var f *vendor.Failure
		if err := revoke(access, refresh); !errors.As(err, &f) || f.Class != vendor.ClassRetry || f.Step != vendor.StepRevoke {
			t.Errorf("got %v", err)
		}
	})
}

// TestEveryVendorsErrors has every code of every table answered at every step at
// which it has a meaning.
func TestEveryVendorsErrors(t *testing.T) {
	everyEntry(t, func(t *testing.T, p *party, c *vendor.Client) {
		calls := map[vendor.Step]func() error{
			vendor.StepExchange: func() error {
				_, err := c.Exchange(t.Context(), p.entry, app(), secret.FromString(code), secret.FromString(verifier))
				return err
			},
			vendor.StepRefresh: func() error {
				_, err := c.Refresh(t.Context(), p.entry, app(), secret.FromString(refreshToken), name.Scopes{})
				return err
			},
			vendor.StepAPI: func() error {
				_, err := c.Identity(t.Context(), p.entry, secret.FromString(accessToken))
				return err
			},
			vendor.StepAuthorize: func() error {
				f := p.entry.ExplainAuthorize(app().RedirectURI, p.fail, "")
				return &f
			},
		}
		for _, known := range p.entry.Codes {
			for step, call := range calls {
				if len(known.At) > 0 && !slices.Contains(known.At, step) {
					continue
				}
				for _, p.fail = range known.Codes {
					var f *vendor.Failure
					if err := call(); !errors.As(err, &f) {
						t.Fatalf("%s at %s: %v", p.fail, step, err)
					}
					shown := p.fail
					if strings.Contains(shown, " ") { // a description, without the word that stands beside it
						shown = "unreadable"
					}
					if f.Class != known.Class || f.VendorCode != shown || f.Step != step {
						t.Errorf("%s at %s is %+v", p.fail, step, f)
					}
					if said := f.Explanation + f.ExplanationZH + f.Fix + f.FixZH; strings.ContainsAny(said, "{}") || f.FixZH == "" {
						t.Errorf("%s at %s: %q", p.fail, step, said)
					}
				}
			}
		}
	})
}

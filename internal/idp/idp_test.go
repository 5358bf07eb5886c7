package idp_test

import (
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vendor"
)

// TestEveryTypeIsCompleted: of each type an operator gives what his console
// shows, and the rest is known.
func TestEveryTypeIsCompleted(t *testing.T) {
	custom := vendor.Endpoints{Authorization: "https://a.example/authorize", Token: "https://a.example/token", UserInfo: "https://a.example/me"}
	for kind, c := range map[idp.Type]struct {
		given                   idp.Provider
		issuer, scopes, subject string
	}{
		idp.Feishu: {scopes: "contact:contact.base:readonly contact:user.base:readonly", subject: "data.open_id"},
		idp.Lark:   {scopes: "contact:contact.base:readonly contact:user.base:readonly", subject: "data.open_id"},
		idp.Google: {issuer: "https://accounts.google.com", scopes: "email openid profile", subject: "sub"},
		idp.OIDC: {given: idp.Provider{Issuer: "https://a.example/t1/.well-known/openid-configuration"}, issuer: "https://a.example/t1",
			scopes: "email openid profile", subject: "sub"},
		idp.GitHub: {scopes: "read:user user:email", subject: "id"},
		idp.OAuth2: {given: idp.Provider{Endpoints: custom, Mapping: idp.Mapping{Subject: "data.id"}}, subject: "data.id"},
	} {
		p := c.given
		p.Pool, p.Name, p.Type, p.ClientID = "staff", "corp", kind, "cli"
		got, err := p.Complete()
		if err != nil || got.Issuer != c.issuer || got.Scopes.String() != c.scopes || got.Paths().Subject != c.subject {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
	if len(idp.Types()) != 6 {
		t.Errorf("not all types are tried: %v", idp.Types())
	}
}

func TestWhatIsNoProvider(t *testing.T) {
	scopes, err := name.ParseScopes("profile")
	if err != nil {
		t.Fatal(err)
	}
	for field, p := range map[string]idp.Provider{
		"type":           {Type: "saml"},
		"clientId":       {Type: idp.Feishu},
		"issuer":         {Type: idp.OIDC, Issuer: "login.example.com"},
		"scopes":         {Type: idp.Google, Scopes: scopes},
		"title":          {Type: idp.Google, Title: "two\nlines"},
		"endpoints":      {Type: idp.OAuth2},
		"mapping":        {Type: idp.Google, Mapping: idp.Mapping{Name: strings.Repeat("x", 201)}},
		"upstreamLogout": {Type: idp.GitHub, UpstreamLogout: true},
	} {
		p.Pool, p.Name = "staff", "corp"
		if field != "clientId" {
			p.ClientID = "cli"
		}
		if _, err := p.Complete(); !fault.Is(err, fault.Invalid) || fault.As(err).Source != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

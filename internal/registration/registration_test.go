package registration_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/userpool"
)

var moment = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func pool() userpool.Pool {
	p := userpool.Pool{Name: "staff", Settings: userpool.DefaultSettings()}
	p.Settings.Open = userpool.OpenClients{Scopes: []string{"notes:read", "notes:write"}, Audiences: []string{"https://mcp.example/mcp"}}
	return p
}

// register is what the registration endpoint does with metadata, without a store.
func register(body string) (userpool.Client, error) {
	m, err := registration.Parse([]byte(body))
	if err != nil {
		return userpool.Client{}, err
	}
	c, err := m.Client(pool(), moment)
	if err != nil {
		return c, err
	}
	c.ID, c.Name = "cli_1", "app-1"
	if c.AuthMethod == oauth.ClientSecretBasic || c.AuthMethod == oauth.ClientSecretPost {
		c.SecretHash = "hash"
	}
	return c, registration.Check(c)
}

func TestRegistration(t *testing.T) {
	c, err := register(`{"redirect_uris":["http://localhost/cb"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],
		"response_types":["code"],"client_name":"MCP 客户端","scope":"openid notes:read payments","logo_uri":"javascript:alert(1)","unknown":{"a":[1]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Type != userpool.Public || c.Title() != "MCP 客户端" || c.Scopes.String() != "notes:read openid" || !c.HasGrant(oauth.GrantRefreshToken) ||
		!cmp.Equal(c.Audiences, []string{"https://mcp.example/mcp"}) {
		t.Errorf("got %+v", c)
	}
	// What is registered, sent again, registers the same.
	b, err := json.Marshal(registration.Of(c))
	if err != nil {
		t.Fatal(err)
	}
	again, err := register(string(b))
	if err != nil || !cmp.Equal(registration.Of(again), registration.Of(c)) {
		t.Errorf("%s became %+v, %v", b, again, err)
	}

	c, err = register(`{"redirect_uris":["https://a.example/cb"]}`)
	if err != nil || c.AuthMethod != oauth.ClientSecretBasic || !cmp.Equal(c.Grants, []string{oauth.GrantAuthorizationCode}) || !c.Scopes.Has("notes:write") {
		t.Errorf("the defaults are %+v, %v", c, err)
	}
}

func TestHostileMetadata(t *testing.T) {
	const uri = `"redirect_uris":["https://a.example/cb"]`
	for body, code := range map[string]string{
		``:                                      oauth.CodeInvalidClientMetadata,
		`null`:                                  oauth.CodeInvalidRedirectURI,
		`[]`:                                    oauth.CodeInvalidClientMetadata,
		`{`:                                     oauth.CodeInvalidClientMetadata,
		`{}`:                                    oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":"https://a.example"}`: oauth.CodeInvalidClientMetadata,
		`{"redirect_uris":[1]}`:                 oauth.CodeInvalidClientMetadata,
		`{"redirect_uris":[]}`:                  oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["javascript:alert(1)"]}`:                                                                                               oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["data:text/html,x"]}`:                                                                                                  oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["http://a.example/cb"]}`:                                                                                               oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["https://*.a.example/cb"]}`:                                                                                            oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["https://a.example/cb#x"]}`:                                                                                            oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["https://u:p@a.example/cb"]}`:                                                                                          oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["https://a.example/cb","//evil.example"]}`:                                                                             oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["` + strings.Repeat("https://a.example/\",\"", 30) + `https://b.example/"]}`:                                           oauth.CodeInvalidRedirectURI,
		`{"redirect_uris":["https://a.example/cb"],"redirect_uris":["https://evil.example/"]}`:                                                    oauth.CodeInvalidClientMetadata,
		`{"redirect_uris":["https://a.example/` + strings.Repeat("a", 40<<10) + `"]}`:                                                             oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"client_secret_jwt"}`:                                                                          oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"tls_client_auth"}`:                                                                            oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"None"}`:                                                                                       oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"client_secret"}`:                                                                              oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"private_key_jwt"}`:                                                                            oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"eA"}]}}`:                                   oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"private_key_jwt","jwks":"x"}`:                                                                 oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"file:///etc/passwd"}`:                                            oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"jwks_uri":"https://a.example/k","token_endpoint_auth_signing_alg":"none"}`:                                                 oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example/k","token_endpoint_auth_signing_alg":"HS256"}`: oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"grant_types":["implicit"]}`:                                                                                                oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"grant_types":["password"]}`:                                                                                                oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"grant_types":["refresh_token"]}`:                                                                                           oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"grant_types":["urn:ietf:params:oauth:grant-type:token-exchange"]}`:                                                         oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"grant_types":["client_credentials"],"token_endpoint_auth_method":"none"}`:                                                  oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"grant_types":["client_credentials"],"response_types":["code"]}`:                                                            oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"response_types":["token"]}`:                                                                                                oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"response_types":["code id_token"]}`:                                                                                        oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"scope":"payments"}`:                                                                                                        oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"scope":"a\"b"}`:                                                                                                            oauth.CodeInvalidClientMetadata,
		"{" + uri + ",\"client_name\":\"Goo\u202egle\"}":                                                                                          oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"client_name":"` + strings.Repeat("x", 300) + `"}`:                                                                          oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"client_name":7}`:                                                                                                           oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"post_logout_redirect_uris":["javascript:alert(1)"]}`:                                                                       oauth.CodeInvalidRedirectURI,
		`{` + uri + `,"backchannel_logout_uri":"http://169.254.169.254/latest"}`:                                                                  oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"id_token_signed_response_alg":"none"}`:                                                                                     oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"id_token_signed_response_alg":"HS256"}`:                                                                                    oauth.CodeInvalidClientMetadata,
		`{` + uri + `,"software_statement":"e30.e30."}`:                                                                                           oauth.CodeUnapprovedSoftware,
	} {
		_, err := register(body)
		var wire *oauth.Error
		if !errors.As(err, &wire) || wire.Code != code || wire.Description == "" {
			t.Errorf("%.120s: got %v, want %s", body, err, code)
		}
	}
}

// FuzzParse: whatever is accepted gives a client that may be stored, has no more
// scopes than the pool allows, and says the same of itself when asked.
func FuzzParse(f *testing.F) {
	f.Add(`{"redirect_uris":["http://localhost/cb"],"token_endpoint_auth_method":"none","scope":"openid"}`)
	f.Add(`{"redirect_uris":["https://a.example/cb"],"grant_types":["authorization_code","refresh_token"],"jwks":{"keys":[]}}`)
	f.Fuzz(func(t *testing.T, body string) {
		c, err := register(body)
		var wire *oauth.Error
		if err != nil {
			if !errors.As(err, &wire) {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		for _, s := range c.Scopes.List() {
			if !strings.HasPrefix(s, "notes:") && !strings.Contains(strings.Join(userpool.KnownScopes(), " "), s) {
				t.Errorf("%q may ask for %s", body, s)
			}
		}
		b, err := json.Marshal(registration.Of(c))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := register(string(b)); err != nil || again.Scopes.String() != c.Scopes.String() {
			t.Errorf("%q became %s: %v", body, b, err)
		}
	})
}

// FuzzParseDocument: a document that is accepted is its own, without a secret,
// and leads nowhere else.
func FuzzParseDocument(f *testing.F) {
	const id = "https://app.example/client.json"
	f.Add(`{"client_id":"https://app.example/client.json","redirect_uris":["https://app.example/cb","http://127.0.0.1/cb"]}`)
	f.Add(`{"client_id":"https://evil.example/client.json","redirect_uris":["https://evil.example/cb"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		m, err := registration.ParseDocument(id, []byte(body))
		if err != nil {
			if !fault.HasCode(err, "client_document_invalid") {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		c, err := m.Client(pool(), moment)
		if err != nil {
			return
		}
		if c.AuthMethod != oauth.ClientAuthNone && c.AuthMethod != oauth.PrivateKeyJWT {
			t.Errorf("%q authenticates by %s", body, c.AuthMethod)
		}
		for _, uri := range c.RedirectURIs {
			if !strings.HasPrefix(strings.ToLower(uri), "https://app.example/") && !strings.EqualFold(uri, "https://app.example") &&
				!strings.HasPrefix(strings.ToLower(uri), "https://app.example?") && !strings.HasPrefix(strings.ToLower(uri), "http://") {
				t.Errorf("%q leads to %s", body, uri)
			}
		}
	})
}

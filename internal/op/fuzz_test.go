package op

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// anyClients is [userpool.Clients] under a name that is not its method's.
type anyClients = userpool.Clients

// oneClient is a pool with one client.
type oneClient struct {
	anyClients
	client userpool.Client
}

func (o oneClient) Client(_ context.Context, _, id string) (userpool.Client, error) {
	if id != o.client.ID {
		return userpool.Client{}, userpool.NotFound("client", id)
	}
	return o.client, nil
}

// FuzzRequest holds that no request leads anywhere but to a registered address,
// and that what is granted is no more than the client may have.
func FuzzRequest(f *testing.F) {
	scopes, err := name.NewScopes("openid", "profile")
	if err != nil {
		f.Fatal(err)
	}
	c := userpool.Client{ID: "cli_1", Pool: "staff", Type: userpool.Public, Scopes: scopes, RedirectURIs: []string{"https://app.example/cb", "http://127.0.0.1/cb"}}
	const good = "client_id=cli_1&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=openid+email" +
		"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
	f.Add(good + "&state=s&nonce=n&max_age=0&prompt=login+consent&resource=https://api.example")
	f.Add(good + "&prompt=none+login")
	f.Add(good + "&prompt=select_account+select_account&max_age=2147483648")
	f.Add("client_id=cli_1&redirect_uri=http://127.0.0.1:9/cb&response_type=token&request=x")
	f.Add("client_id=cli_1&redirect_uri=https://evil.example/cb&redirect_uri=https://app.example/cb")
	f.Fuzz(func(t *testing.T, raw string) {
		parser := requestParser{clients: oneClient{client: c}}
		a, err := parser.parameters(t.Context(), userpool.Pool{Name: "staff"}, raw)
		var back *redirectError
		var page *poolpage.Error
		switch {
		case errors.As(err, &back):
			a = back.request
		case errors.As(err, &page), fault.Is(err, fault.Invalid), fault.Is(err, fault.TooLarge):
			return
		case err != nil:
			t.Fatalf("%q: %v", raw, err)
		}
		if !oauth.Registered(c.RedirectURIs, a.redirectURI) {
			t.Fatalf("%q leads to %s", raw, a.redirectURI)
		}
		if err != nil {
			return
		}
		if a.scopes.Len() == 0 || a.scopes.Intersect(scopes).String() != a.scopes.String() || a.challenge == "" {
			t.Errorf("%q grants %q, challenge %q", raw, a.scopes, a.challenge)
		}
		again, err := parser.parameters(t.Context(), userpool.Pool{Name: "staff"}, a.afterLogin())
		if err != nil || again.redirectURI != a.redirectURI || again.state != a.state || again.scopes.String() != a.scopes.String() || again.nonce != a.nonce ||
			again.challenge != a.challenge || !slices.Equal(again.resources, a.resources) || again.prompt(oauth.PromptLogin) || again.prompt(oauth.PromptConsent) != a.prompt(oauth.PromptConsent) {
			t.Errorf("%q after the login: %+v, %v", raw, again, err)
		}
	})
}

// FuzzBasic holds that a header is one credential or none, and that a credential
// written as RFC 6749, section 2.3.1, says is read as it was.
func FuzzBasic(f *testing.F) {
	f.Add("Basic Y2xpXzE6c2VjcmV0", "cli_1", "secret")
	f.Add("Basic "+base64.StdEncoding.EncodeToString([]byte("a%3Ab:%zz")), "a:b", "p%w+ ä")
	f.Add("bearer x", "", "")
	f.Fuzz(func(t *testing.T, header, id, password string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Authorization"] = []string{header}
		if c, err := credentialOf(r, url.Values{}); err == nil && (c.client == "" || c.method != oauth.ClientSecretBasic) {
			t.Errorf("%q is read as client %q by %s", header, c.client, c.method)
		}
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(password))
		c, err := credentialOf(r, url.Values{})
		if (id != "") != (err == nil) || err == nil && (c.client != id || c.secret.RevealString() != password) {
			t.Errorf("%q with %q is read as %q, %v", id, password, c.client, err)
		}
		r.Header["Authorization"] = append(r.Header["Authorization"], header)
		if _, err := credentialOf(r, url.Values{}); err == nil {
			t.Errorf("two headers are taken: %q", header)
		}
	})
}

package federation

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Create checks p and makes it a provider of its pool.
func (f *Federation) Create(ctx context.Context, c name.Caller, p idp.Provider, clientSecret secret.Text) (idp.Provider, error) {
	permit, err := f.Guard.Allow(ctx, c, idp.ActionCreate, p.Resource())
	if err != nil {
		return idp.Provider{}, err
	}
	if p, err = f.checked(p); err != nil {
		return idp.Provider{}, err
	}
	if clientSecret.Empty() {
		return idp.Provider{}, fault.New(fault.Invalid, "client_secret_missing", "the identity provider has no client secret").
			WithSource("clientSecret").WithFix("copy it from the provider's console")
	}
	p.ID, p.Version, p.CreatedAt = name.NewID("idp"), 1, f.Now().UTC()
	p.UpdatedAt = p.CreatedAt
	if p.SealedSecret, err = f.Sealer.Seal(ctx, p.SecretPlace(), clientSecret); err != nil {
		return idp.Provider{}, err
	}
	return p, f.Store.CreateProvider(ctx, permit.Detail(map[string]string{"type": string(p.Type)}), p)
}

// Update replaces the settings of the provider as it was read, whose version
// p has. An empty secret keeps the one that it has.
func (f *Federation) Update(ctx context.Context, c name.Caller, p idp.Provider, clientSecret secret.Text) (idp.Provider, error) {
	permit, err := f.Guard.Allow(ctx, c, idp.ActionUpdate, p.Resource())
	if err != nil {
		return idp.Provider{}, err
	}
	if p, err = f.checked(p); err != nil {
		return idp.Provider{}, err
	}
	if clientSecret.Empty() { // it is sealed for the version that it was written with
		if clientSecret, err = f.Sealer.Open(ctx, p.SecretPlace(), p.SealedSecret); err != nil {
			return idp.Provider{}, err
		}
		defer clientSecret.Clear()
	}
	p.Version++
	p.UpdatedAt = f.Now().UTC()
	if p.SealedSecret, err = f.Sealer.Seal(ctx, p.SecretPlace(), clientSecret); err != nil {
		return idp.Provider{}, err
	}
	return p, f.Store.UpdateProvider(ctx, permit, p)
}

// Delete removes a provider. Its users stay; who has no password cannot log in
// any more.
func (f *Federation) Delete(ctx context.Context, c name.Caller, pool, providerName string) error {
	permit, err := f.Guard.Allow(ctx, c, idp.ActionDelete, idp.Resource(pool, providerName))
	if err != nil {
		return err
	}
	return f.Store.DeleteProvider(ctx, permit, pool, providerName)
}

// checked returns p as it is stored, or what is wrong with it.
func (f *Federation) checked(p idp.Provider) (idp.Provider, error) {
	p, err := p.Complete()
	if err != nil || p.Type.Discovers() {
		return p, err
	}
	id := "custom"
	if p.Type == idp.Feishu || p.Type == idp.Lark {
		id = string(p.Type)
	}
	entry, err := f.Catalogue.Lookup(id)
	if err != nil {
		return p, err
	}
	if p.Type == idp.GitHub {
		if entry, err = entry.With(githubEndpoints()); err != nil {
			return p, err
		}
	}
	if entry, err = entry.With(p.Endpoints); err != nil {
		return p, err
	}
	return p, entry.CheckScopes(p.Scopes)
}

// Check is one thing that a test looked at.
type Check struct {
	Name    string `json:"name" enum:"discovery,authorization,client"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Test asks the provider whether it can be used as it is set up: whether it is
// found, answers to a browser, and knows the client (see [vendor.Client.Probe]).
func (f *Federation) Test(ctx context.Context, p idp.Provider) ([]Check, error) {
	clientSecret, err := f.Sealer.Open(ctx, p.SecretPlace(), p.SealedSecret)
	if err != nil {
		return nil, err
	}
	defer clientSecret.Clear()
	var checks []Check
	if p.Type.Discovers() {
		up, err := f.read(ctx, p.Issuer)
		if err == nil {
			_, err = up.issuer.Issuer(ctx)
		}
		checks = append(checks, checkOf("discovery", "the discovery document and the keys are there", err))
		if err != nil {
			return checks, nil
		}
	}
	d, err := f.dialect(ctx, p)
	if err != nil {
		return append(checks, checkOf("discovery", "", err)), nil
	}
	return append(checks, d.testAuthorization(ctx), d.testClient(ctx, clientSecret)), nil
}

func checkOf(what, fine string, err error) Check {
	if err == nil {
		return Check{Name: what, OK: true, Message: fine}
	}
	f := fault.As(err)
	return Check{Name: what, Message: f.Message, Fix: f.Fix}
}

// testAuthorization asks for the page that a browser would see.
func (d *dialect) testAuthorization(ctx context.Context) Check {
	verifier := oauth.NewVerifier()
	to, err := d.authorizeURL(name.NewToken("fs"), verifier, name.NewToken("n"))
	var resp outbound.Response
	if err == nil {
		resp, err = d.f.Outbound.Do(ctx, outbound.Request{URL: to, Header: http.Header{"Accept": {"text/html"}}, Purpose: "authorization page"})
	}
	switch {
	case err != nil:
		return checkOf("authorization", "", err)
	case resp.Status == http.StatusNotFound:
		return Check{Name: "authorization", Message: "the authorization page answers 404: there is no app with this client id", Fix: "check the client id, and that the app was not deleted"}
	case resp.Status >= http.StatusBadRequest:
		return Check{Name: "authorization", Message: "the authorization page answers with an error: " + http.StatusText(resp.Status),
			Fix: "check the client id, and register " + d.f.CallbackURL(d.p) + " as callback at the provider"}
	}
	return Check{Name: "authorization", OK: true, Message: "the authorization page answers"}
}

func (d *dialect) testClient(ctx context.Context, clientSecret secret.Text) Check {
	err := d.client().Probe(ctx, d.entry, d.app(clientSecret))
	switch v := verdictOf(err); {
	case err == nil && !d.entry.Proves():
		return Check{Name: "client", OK: true, Message: "the provider answers; whether the client secret is right shows at the first login only"}
	case err == nil, v == rightClient:
		return Check{Name: "client", OK: true, Message: "the provider does not object to the client id and the client secret"}
	case v == wrongClient:
		return Check{Name: "client", Message: "the provider does not accept the client id or the client secret", Fix: "copy both again from the provider's console"}
	}
	return checkOf("client", "", err)
}

// verdict is what a token endpoint's refusal says about the client.
type verdict int

const (
	unclearClient verdict = iota
	rightClient
	wrongClient
)

// verdictOf reads a refusal: the words of RFC 6749, section 5.2, GitHub's, and
// Feishu's numbers.
func verdictOf(err error) verdict {
	var why *vendor.Failure
	if !errors.As(err, &why) {
		return unclearClient
	}
	switch {
	case slices.Contains([]string{oauth.CodeInvalidClient, oauth.CodeUnauthorizedClient, "incorrect_client_credentials", "20002", "20048"}, why.VendorCode):
		return wrongClient
	case slices.Contains([]string{oauth.CodeInvalidGrant, "bad_verification_code", "20003", "20004", "20065"}, why.VendorCode):
		return rightClient
	default:
		return unclearClient
	}
}

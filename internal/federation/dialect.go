package federation

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/wire"
)

// dialect is how one provider is spoken to.
type dialect struct {
	f     *Federation
	p     idp.Provider
	entry vendor.Entry
	up    *upstream // nil for providers that have no issuer
}

// GitHub's addresses, where the operator gives no others.
func githubEndpoints() vendor.Endpoints {
	return vendor.Endpoints{
		Authorization: "https://github.com/login/oauth/authorize", Token: "https://github.com/login/oauth/access_token", UserInfo: "https://api.github.com/user",
	}
}

func (f *Federation) dialect(ctx context.Context, p idp.Provider) (*dialect, error) {
	d := &dialect{f: f, p: p}
	id, endpoints := "custom", p.Endpoints
	switch p.Type {
	case idp.Feishu, idp.Lark:
		id = string(p.Type)
	case idp.GitHub:
		id = "custom-post"
	case idp.OIDC, idp.Google:
		up, err := f.discover(ctx, p.Issuer)
		if err != nil {
			return nil, err
		}
		d.up, id = up, up.catalogueID()
		endpoints = vendor.Endpoints{Authorization: up.doc.Authorization, Token: up.doc.Token, UserInfo: up.doc.UserInfo}
	}
	entry, err := f.Catalogue.Lookup(id)
	if err != nil {
		return nil, err
	}
	if p.Type == idp.GitHub {
		if entry, err = entry.With(githubEndpoints()); err != nil {
			return nil, err
		}
	}
	d.entry, err = entry.With(endpoints)
	return d, err
}

func (d *dialect) app(s secret.Text) vendor.App {
	return vendor.App{ClientID: d.p.ClientID, ClientSecret: s, RedirectURI: d.f.CallbackURL(d.p)}
}

func (d *dialect) client() *vendor.Client {
	return &vendor.Client{Outbound: d.f.Outbound, Now: d.f.Now}
}

// authorizeURL returns where the browser is sent (RFC 6749, section 4.1.1; RFC
// 7636, section 4.3; OpenID Connect Core 1.0, section 3.1.2.1).
func (d *dialect) authorizeURL(state string, verifier secret.Text, nonce string) (string, error) {
	to, err := d.entry.AuthorizeURL(d.app(secret.Text{}), vendor.Ask{Scopes: d.p.Scopes, State: state, CodeChallenge: oauth.Challenge(verifier)})
	if err == nil && d.up != nil {
		to += "&nonce=" + url.QueryEscape(nonce)
	}
	return to, err
}

// identity redeems an authorization answer and returns who it is about.
func (d *dialect) identity(ctx context.Context, l idp.Login, answer url.Values) (Identity, error) {
	code, err := d.checkAnswer(answer)
	if err != nil {
		return Identity{}, err
	}
	verifier, err := d.f.Sealer.Open(ctx, l.VerifierPlace(), l.SealedVerifier)
	if err != nil {
		return Identity{}, err
	}
	defer verifier.Clear()
	clientSecret, err := d.f.Sealer.Open(ctx, d.p.SecretPlace(), d.p.SealedSecret)
	if err != nil {
		return Identity{}, err
	}
	defer clientSecret.Clear()
	tokens, err := d.client().Exchange(ctx, d.entry, d.app(clientSecret), code, verifier)
	if err != nil {
		return Identity{}, d.explain(err)
	}
	var id Identity
	switch {
	case d.up != nil:
		id, err = d.openID(ctx, l, tokens)
	case d.p.Type == idp.GitHub:
		id, err = d.github(ctx, tokens.Access)
	default:
		id, err = d.plain(ctx, tokens.Access)
	}
	if err != nil {
		return Identity{}, err
	}
	if id.Subject == "" || len(id.Subject) > 255 {
		return Identity{}, untrusted("%s does not say who logged in", d.p.Label())
	}
	return id, nil
}

// explain returns the fault for an exchange that did not work.
func (d *dialect) explain(err error) error {
	if r := verdictOf(err); r == wrongClient {
		return fault.Wrap(err, fault.Upstream, "idp_config", "%s does not accept our client id or client secret", d.p.Label()).
			WithFix("correct them in the identity provider's settings, and test it there")
	}
	f := fault.As(err)
	return fault.Wrap(err, f.Kind, "idp_refused", "%s refused: %s", d.p.Label(), f.Message).WithFix("%s", f.Fix)
}

// openID returns who the ID token is about (OpenID Connect Core 1.0, section
// 3.1.3.7). What it leaves out is asked for at the user info endpoint.
func (d *dialect) openID(ctx context.Context, l idp.Login, t vendor.Tokens) (Identity, error) {
	if t.ID.Empty() {
		return Identity{}, untrusted("%s sent no ID token", d.p.Label())
	}
	raw := t.ID.RevealString()
	claims, err := d.up.issuer.Verify(ctx, raw, jwt.Expect{
		Issuer: d.up.doc.Issuer, Audience: d.p.ClientID, Types: []string{"JWT"}, Untyped: true, Algorithms: d.up.algorithms(), Skew: jwt.MaxSkew, Now: d.f.Now,
	})
	if err != nil {
		f := fault.As(err)
		if f.Kind != fault.Unauthenticated {
			return Identity{}, err
		}
		return Identity{}, fault.Wrap(err, fault.Upstream, "idp_answer_invalid", "the ID token of %s is not valid: %s", d.p.Label(), f.Message).WithFix("log in again")
	}
	var own struct {
		Nonce      string `json:"nonce"`
		Party      string `json:"azp"`
		AccessHash string `json:"at_hash"`
	}
	if err := wire.DecodeForeign(claims.Raw, &own); err != nil {
		return Identity{}, untrusted("the ID token of %s is malformed", d.p.Label())
	}
	switch {
	case !secret.Equal(secret.FromString(own.Nonce), secret.FromString(l.Nonce)):
		return Identity{}, untrusted("the ID token of %s was made for another login", d.p.Label())
	case own.Party != "" && own.Party != d.p.ClientID, own.Party == "" && len(claims.Audience) > 1:
		return Identity{}, untrusted("the ID token of %s was made for another client", d.p.Label())
	case own.AccessHash != "" && own.AccessHash != accessHash(raw, t.Access):
		return Identity{}, untrusted("the ID token of %s belongs to another access token", d.p.Label())
	}
	documents := []vendor.Profile{vendor.ParseProfile(claims.Raw)}
	if d.entry.Endpoints.UserInfo != "" {
		info, err := d.client().Profile(ctx, d.entry, t.Access)
		if err != nil {
			return Identity{}, d.explain(err)
		}
		if info.Exact("sub") != claims.Subject { // section 5.3.2
			return Identity{}, untrusted("%s tells about another person than the one who logged in", d.p.Label())
		}
		documents = append(documents, info)
	}
	id := mapped(d.p.Paths(), documents...)
	id.Issuer, id.Subject = claims.Issuer, claims.Subject
	return id, nil
}

// accessHash returns at_hash (OpenID Connect Core 1.0, section 3.1.3.6) for an ID
// token whose header is verified.
func accessHash(idToken string, access secret.Text) string {
	head, _, _ := strings.Cut(idToken, ".")
	b, _ := base64.RawURLEncoding.DecodeString(head) // it was verified before
	var header struct {
		Algorithm string `json:"alg"`
	}
	_ = json.Unmarshal(b, &header) // as above
	var sum []byte
	switch {
	case strings.HasSuffix(header.Algorithm, "512"), header.Algorithm == jwt.EdDSA:
		h := sha512.Sum512(access.Reveal())
		sum = h[:]
	case strings.HasSuffix(header.Algorithm, "384"):
		h := sha512.Sum384(access.Reveal())
		sum = h[:]
	default:
		h := sha256.Sum256(access.Reveal())
		sum = h[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// plain returns who the user info address says the token is of. The address
// stands for the issuer, so that another server never speaks for the accounts of
// the one before.
func (d *dialect) plain(ctx context.Context, access secret.Text) (Identity, error) {
	info, err := d.client().Profile(ctx, d.entry, access)
	if err != nil {
		return Identity{}, d.explain(err)
	}
	m := d.p.Paths()
	id := mapped(m, info)
	id.Issuer, id.Subject = d.entry.Endpoints.UserInfo, info.Exact(m.Subject)
	return id, nil
}

// github is plain with the primary address, which has an address of its own. The
// one in the profile is what the person wants to show, verified or not.
func (d *dialect) github(ctx context.Context, access secret.Text) (Identity, error) {
	id, err := d.plain(ctx, access)
	if err != nil {
		return Identity{}, err
	}
	id.Email, id.EmailVerified = "", false
	resp, err := d.f.Outbound.Do(ctx, outbound.Request{
		URL: d.entry.Endpoints.UserInfo + "/emails", Purpose: "addresses at github",
		Header: http.Header{"Accept": {"application/json"}, "Authorization": {"Bearer " + access.RevealString()}},
	})
	if err != nil {
		return Identity{}, d.explain(err)
	}
	var list []githubAddress
	if resp.Status != http.StatusOK || wire.DecodeForeign(resp.Body, &list) != nil {
		return id, nil // the app may not read addresses: the login goes without
	}
	if i := slices.IndexFunc(list, func(a githubAddress) bool { return a.Primary }); i >= 0 {
		id.Email, id.EmailVerified = list[i].Email, list[i].Verified
	}
	return id, nil
}

// githubAddress is one of an account's addresses.
type githubAddress struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

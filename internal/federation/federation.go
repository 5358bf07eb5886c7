// Package federation logs people in by external identity providers: to the provider, back, who that is there, and which user of the pool that is.
//
// What a provider says is believed about its own accounts only. An account
// becomes a user by a link, which names issuer and subject; by an e-mail address
// only where both sides have verified it and the operator trusts the provider
// about addresses.
package federation

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Sealer seals client secrets and PKCE verifiers; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}

// Federation logs people in by external identity providers, and keeps the
// settings of these. All fields are required.
type Federation struct {
	PublicURL string // of the identity service
	Store     idp.Stores
	Users     userpool.Users
	Sealer    Sealer
	Guard     *guard.Guard
	Catalogue vendor.Catalogue
	Outbound  *outbound.Client
	Now       func() time.Time

	mu        sync.Mutex
	upstreams map[string]*upstream // by issuer
}

// CallbackURL returns where a provider sends people back to: what has to be
// registered there.
func (f *Federation) CallbackURL(p idp.Provider) string { return f.PublicURL + p.CallbackPath() }

// SignupCallbackURL returns the address that may be registered besides
// [Federation.CallbackURL].
func (f *Federation) SignupCallbackURL(p idp.Provider) string {
	return f.PublicURL + p.SignupCallbackPath()
}

// Enabled returns the pool's providers by which people can log in.
func (f *Federation) Enabled(ctx context.Context, pool string) ([]idp.Provider, error) {
	all, err := f.Store.Providers(ctx, pool)
	var enabled []idp.Provider
	for _, p := range all {
		if p.Enabled {
			enabled = append(enabled, p)
		}
	}
	return enabled, err
}

// provider returns a provider by which people can log in.
func (f *Federation) provider(ctx context.Context, pool, providerName string) (idp.Provider, error) {
	p, err := f.Store.Provider(ctx, pool, providerName)
	if err == nil && !p.Enabled {
		return idp.Provider{}, idp.NotFound(providerName)
	}
	return p, err
}

func system() name.Caller { return name.Caller{Kind: name.System} }

// Begin begins a login of the browser that has the token browserToken, and
// returns where to send it. returnTo is kept for [Federation.Finish]; whether it
// is ours is the caller's to check.
func (f *Federation) Begin(ctx context.Context, pool, providerName string, browserToken secret.Text, returnTo string) (string, error) {
	return f.begin(ctx, idp.Login{Pool: pool, Browser: idp.HashBrowser(browserToken), ReturnTo: returnTo}, providerName)
}

// BeginLink is Begin for a person who is logged in and links an account of his.
// Only in that session can it be finished.
func (f *Federation) BeginLink(ctx context.Context, s userpool.Session, providerName string, browserToken secret.Text) (string, error) {
	return f.begin(ctx, idp.Login{Pool: s.Pool, Browser: idp.HashBrowser(browserToken), UserID: s.UserID, SessionID: s.ID}, providerName)
}

// begin sends a browser away for l, of which it fills in the rest.
func (f *Federation) begin(ctx context.Context, l idp.Login, providerName string) (string, error) {
	p, err := f.provider(ctx, l.Pool, providerName)
	if err != nil {
		return "", err
	}
	d, err := f.dialect(ctx, p)
	if err != nil {
		return "", err
	}
	state, verifier := secret.FromString(name.NewToken("fs")), oauth.NewVerifier()
	l.ID, l.ProviderID, l.Hash, l.Nonce = name.NewID("fed"), p.ID, idp.HashState(state), name.NewToken("n")
	l.ExpiresAt = f.Now().UTC().Add(idp.LoginLifetime)
	if l.SealedVerifier, err = f.Sealer.Seal(ctx, l.VerifierPlace(), verifier); err != nil {
		return "", err
	}
	to, err := d.authorizeURL(state.RevealString(), verifier, l.Nonce)
	if err != nil {
		return "", err
	}
	permit, err := f.Guard.Allow(ctx, system(), idp.ActionBegin, l.Resource())
	if err != nil {
		return "", err
	}
	return to, f.Store.BeginLogin(ctx, permit.Detail(map[string]string{"idp": p.Name}), l)
}

// Finished is a login that the provider has vouched for.
type Finished struct {
	Provider idp.Provider
	User     userpool.User // disabled ones too: whether he may log in is package signin's
	ReturnTo string
	Linked   bool // nobody logged in: the user, who is logged in, linked an account
}

// Finish reads what the browser that has the token browserToken brings back from
// a provider, and returns who it is. Any answer uses the login up.
//
// It returns the fault of [idp.LoginGone] for a state that is not this
// browser's at this provider, and else faults with the codes idp_denied,
// idp_refused, idp_config, idp_answer_invalid and idp_user_unknown. s is the
// session that the browser has now; the zero Session is none. A link that was
// begun in another session is refused like a login of another browser. With the
// fault of a login that was this browser's comes ReturnTo, and Linked if a link
// was begun.
func (f *Federation) Finish(ctx context.Context, pool, providerName string, browserToken secret.Text, s userpool.Session, answer url.Values) (Finished, error) {
	p, err := f.provider(ctx, pool, providerName)
	if err != nil {
		return Finished{}, err
	}
	l, err := f.Store.Login(ctx, pool, idp.HashState(secret.FromString(answer.Get("state"))))
	if err != nil {
		return Finished{}, err
	}
	if l.ProviderID != p.ID || browserToken.Empty() || l.Browser != idp.HashBrowser(browserToken) || !f.Now().Before(l.ExpiresAt) {
		return Finished{}, idp.LoginGone()
	}
	if l.UserID != "" && (s.ID != l.SessionID || s.UserID != l.UserID || s.Pool != l.Pool) {
		return Finished{}, f.refuseLink(ctx, p, l)
	}
	permit, err := f.Guard.Allow(ctx, system(), idp.ActionFinish, l.Resource())
	if err != nil {
		return Finished{}, err
	}
	if err := f.Store.FinishLogin(ctx, permit.Detail(map[string]string{"idp": p.Name}), l); err != nil {
		return Finished{}, err
	}
	done := Finished{Provider: p, ReturnTo: l.ReturnTo, Linked: l.UserID != ""}
	d, err := f.dialect(ctx, p)
	if err != nil {
		return done, err
	}
	who, err := d.identity(ctx, l, answer)
	if err != nil {
		return done, err
	}
	if done.Linked {
		return done, f.linkOwn(ctx, p, l.UserID, who)
	}
	done.User, err = f.user(ctx, p, who)
	return done, err
}

// checkAnswer returns the code of an authorization answer (RFC 6749, section
// 4.1.2; RFC 9207, section 2.4).
func (d *dialect) checkAnswer(answer url.Values) (secret.Text, error) {
	if d.up != nil {
		sent, announced := answer.Get("iss"), d.up.doc.IssInAnswer
		if (sent != "" || announced) && sent != d.up.doc.Issuer {
			return secret.Text{}, untrusted("the answer is not from issuer %s", d.up.doc.Issuer)
		}
	}
	if word := answer.Get("error"); word != "" {
		if word == oauth.CodeAccessDenied {
			return secret.Text{}, fault.New(fault.Forbidden, "idp_denied", "the login at %s was cancelled", d.p.Label()).WithFix("log in again")
		}
		why := d.entry.ExplainAuthorize(d.f.CallbackURL(d.p), word, answer.Get("error_description"))
		return secret.Text{}, fault.Wrap(&why, fault.Upstream, "idp_refused", "%s refused: %s (%s)", d.p.Label(), why.Explanation, oauth.Clean(word, 60)).
			WithFix("%s", why.Fix)
	}
	code := answer.Get("code")
	if code == "" || len(code) > 4096 {
		return secret.Text{}, untrusted("there is no authorization code in the answer")
	}
	return secret.FromString(code), nil
}

// untrusted is the fault for what a provider, or who pretends to be it, sent and
// nobody may be logged in by.
func untrusted(format string, args ...any) *fault.Error {
	return fault.New(fault.Upstream, "idp_answer_invalid", format, args...).WithFix("log in again; if it stays so, tell your administrator")
}

// Identity is who somebody is at a provider.
type Identity struct {
	Issuer, Subject string
	UserName        string
	Name            string
	Email           string
	EmailVerified   bool // as the provider says
	Phone           string
	Attributes      map[string]string
}

// mapped reads an identity by the provider's mapping; who is told by more than
// one document, the first that tells something counts.
func mapped(m idp.Mapping, documents ...vendor.Profile) Identity {
	text := func(path string) string {
		for _, d := range documents {
			if path == "" {
				break
			}
			if s := strings.TrimSpace(d.Text(path)); s != "" {
				return name.Clip(s, maxText)
			}
		}
		return ""
	}
	id := Identity{UserName: text(m.UserName), Name: text(m.Name), Phone: text(m.Phone), Attributes: map[string]string{}}
	for _, d := range documents {
		if email := d.Exact(m.Email); m.Email != "" && email != "" {
			// Whether it is verified counts only where the address itself is told.
			id.Email, id.EmailVerified = email, m.EmailVerified != "" && d.True(m.EmailVerified)
			break
		}
	}
	for attribute, path := range m.Attributes {
		if s := text(path); s != "" {
			id.Attributes[attribute] = s
		}
	}
	for attribute, path := range map[string]string{"organisation": m.Organisation, "department": m.Department} {
		if s := text(path); s != "" {
			id.Attributes[attribute] = s
		}
	}
	return id
}

// maxText bounds what is taken over of a text, in bytes; a user's may have 200.
const maxText = 190

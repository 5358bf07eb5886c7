package federation

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// refuseLink records that a link came back to another session than it was
// begun in. Nothing is stored, and the login stays for its owner.
func (f *Federation) refuseLink(ctx context.Context, p idp.Provider, l idp.Login) error {
	detail := map[string]string{"idp": p.Name}
	if err := f.Guard.Refuse(ctx, system(), idp.ActionCreateLink, idp.UserResource(l.Pool, l.UserID), "another session came back", detail); err != nil {
		return err
	}
	return idp.LoginGone()
}

// linkOwn links an account with the user who proved that it is his, in the
// session in which he asked for it. An account that somebody has already stays
// his: it returns the fault of [idp.LinkExists], and nil if that is the user.
func (f *Federation) linkOwn(ctx context.Context, p idp.Provider, userID string, id Identity) error {
	link, err := f.Store.Link(ctx, p.Pool, p.ID, id.Issuer, id.Subject)
	if err == nil {
		if link.UserID == userID {
			return nil
		}
		detail := map[string]string{"idp": p.Name, "issuer": name.Clip(id.Issuer, 200), "subject": id.Subject}
		if err := f.Guard.Refuse(ctx, system(), idp.ActionCreateLink, idp.UserResource(p.Pool, userID), "the account is another user's", detail); err != nil {
			return err
		}
		return idp.LinkExists()
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	u, err := f.Users.User(ctx, p.Pool, userID)
	if err != nil {
		return err
	}
	return f.link(ctx, p, u, id, "the user")
}

// Linked is an account that a user has at a provider.
type Linked struct {
	idp.Link
	Provider idp.Provider
}

// LinksOf returns a user's accounts at the pool's providers.
func (f *Federation) LinksOf(ctx context.Context, pool, userID string) ([]Linked, error) {
	links, err := f.Store.LinksOf(ctx, pool, userID)
	if err != nil || len(links) == 0 {
		return nil, err
	}
	providers, err := f.Store.Providers(ctx, pool)
	if err != nil {
		return nil, err
	}
	var list []Linked
	for _, l := range links {
		if i := slices.IndexFunc(providers, func(p idp.Provider) bool { return p.ID == l.ProviderID }); i >= 0 {
			list = append(list, Linked{l, providers[i]})
		}
	}
	return list, nil
}

// Unlink takes an account from its user, who asks for it. otherwise says
// whether he has another way to log in than by such accounts; without one, the
// last account that he could log in with stays, by the fault of [idp.OnlyWay].
func (f *Federation) Unlink(ctx context.Context, u userpool.User, providerID, issuer, subject string, otherwise bool) error {
	links, err := f.LinksOf(ctx, u.Pool, u.ID)
	if err != nil {
		return err
	}
	is := func(l Linked) bool { return l.ProviderID == providerID && l.Issuer == issuer && l.Subject == subject }
	i := slices.IndexFunc(links, is)
	if i < 0 {
		return idp.LinkNotFound()
	}
	if !otherwise && !slices.ContainsFunc(links, func(l Linked) bool { return !is(l) && l.Provider.Enabled }) {
		return idp.OnlyWay()
	}
	permit, err := f.Guard.Allow(ctx, name.Caller{Kind: name.Person, User: userOf(f.PublicURL, u)}, idp.ActionDeleteLink, idp.UserResource(u.Pool, u.ID))
	if err != nil {
		return err
	}
	permit = permit.Detail(map[string]string{"idp": links[i].Provider.Name, "issuer": name.Clip(issuer, 200), "subject": subject})
	return f.Store.DeleteLink(ctx, permit, links[i].Link)
}

func userOf(publicURL string, u userpool.User) name.User {
	return name.User{Issuer: userpool.Issuer(publicURL, u.Pool), Subject: u.ID}
}

// LogoutURL returns where a browser is sent that logged in by a provider and
// logs out here, so that it is logged out there too and then comes to returnTo
// (OpenID Connect RP-Initiated Logout 1.0, section 2). It is "" if the provider
// does not want that, cannot do it, or cannot be asked. No ID token is kept for
// a hint: the client id says who asks, and the provider asks the person.
func (f *Federation) LogoutURL(ctx context.Context, pool, providerName, returnTo string) string {
	p, err := f.provider(ctx, pool, providerName)
	if err != nil || !p.UpstreamLogout || !p.Type.Discovers() {
		return ""
	}
	up, err := f.discover(ctx, p.Issuer)
	if err != nil || up.doc.EndSession == "" {
		return ""
	}
	u, err := url.Parse(up.doc.EndSession)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.ClientID)
	q.Set("post_logout_redirect_uri", returnTo)
	u.RawQuery = q.Encode()
	return u.String()
}

// label is what people call an account.
func (id Identity) label() string {
	return name.Clip(cmp.Or(id.Name, id.UserName, id.Email), 100)
}

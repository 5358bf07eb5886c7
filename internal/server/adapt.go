package server

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

// refresher lets the vault speak to a grant's third party; nouns do not know
// each other.
type refresher struct{ providers *provider.Registry }

// Refresh implements vault.Refresher.
func (r refresher) Refresh(ctx context.Context, p guard.Permit, pool, providerName string, refresh secret.Text) (vendor.Tokens, error) {
	d, err := r.providers.Dialect(ctx, p, pool, providerName)
	if err != nil {
		return vendor.Tokens{}, err
	}
	defer d.App.ClientSecret.Clear()
	return d.Refresh(ctx, refresh)
}

// drainTime is how long the end of Deputy waits for third parties' answers to
// refreshes. It stays below the 30 s after which Kubernetes kills.
const drainTime = 20 * time.Second

func drain(v *vault.Vault, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := v.Drain(ctx); err != nil {
		log.Warn("Deputy ends while a third party has not answered to a refresh; the next start goes on with what is known", "waited", drainTime)
	}
}

// revoker lets the vault tell third parties that tokens are not to be used any
// more.
type revoker struct{ providers *provider.Registry }

// Revoke implements vault.Revoker.
func (r revoker) Revoke(ctx context.Context, p guard.Permit, v vault.Revocation, access, refresh secret.Text) error {
	d, err := r.providers.DialectOf(ctx, p, v.Pool, v.Provider, v.ProviderID)
	if err != nil {
		return err
	}
	defer d.App.ClientSecret.Clear()
	return d.Revoke(ctx, access, refresh)
}

// Supersedes implements vault.Revoker. What the user authorized since then was
// with the provider that has the name now, which may have another client.
func (r revoker) Supersedes(ctx context.Context, p guard.Permit, v vault.Revocation) (bool, error) {
	d, err := r.providers.DialectOf(ctx, p, v.Pool, v.Provider, v.ProviderID)
	if err != nil {
		return false, err
	}
	d.App.ClientSecret.Clear()
	now, err := r.providers.Store.Provider(ctx, v.Pool, v.Provider)
	return err == nil && now.ClientID == d.App.ClientID && d.Entry.Supersedes(), err
}

// minter mints the tokens that agents get with a user's request.
type minter struct{ tokens *workload.Tokens }

// Mint implements ingress.Minter.
func (m minter) Mint(ctx context.Context, w name.Workload, u name.User, chain []name.Workload) (secret.Text, error) {
	token, _, err := m.tokens.Mint(ctx, w, u, chain)
	return token, err
}

// actionInvoke is a request to an agent; actionInvokeOpen one of somebody unknown
// to an agent that is open to everybody.
const (
	actionInvoke     guard.Action = "agent.invoke"
	actionInvokeOpen guard.Action = "agent.invoke-open"
)

// recorder writes the ingress's decisions into the audit log.
type recorder struct{ guard *guard.Guard }

// Record implements ingress.Recorder.
func (r recorder) Record(ctx context.Context, d ingress.Decision) error {
	c, action := name.Caller{}, actionInvoke
	detail := map[string]string{"protocol": string(d.Protocol)}
	switch {
	case !d.Agent.IsZero():
		c = name.Caller{Kind: name.Agent, Workload: d.Agent, Chain: d.Chain, User: d.User}
	case d.Key.ID != "":
		c = name.Caller{Kind: name.Client, Client: d.Key.ID, User: d.User}
		detail["key"] = d.Key.Name
	case !d.User.IsZero():
		c = name.Caller{Kind: name.Person, User: d.User}
		detail["client"] = name.Clip(d.Client, 100)
	case d.Allowed:
		action = actionInvokeOpen
	}
	resource := audit.Resource{Kind: "agent", Pool: d.Workload.Pool, ID: d.Workload.Name}
	if !d.Allowed {
		detail["code"] = d.Code
		if d.Unrecorded > 0 {
			detail["unrecorded"] = strconv.Itoa(d.Unrecorded)
		}
		return r.guard.Refuse(ctx, c, action, resource, name.Clip(d.Reason, 300), detail)
	}
	p, err := r.guard.Allow(ctx, c, action, resource)
	if err != nil {
		return err
	}
	return r.guard.Record(ctx, p.Detail(detail))
}

// barred returns whether a user of a pool of this Deputy is deleted or disabled;
// of others nothing is known.
func barred(publicURL string, users userpool.Users) func(context.Context, name.User) (bool, error) {
	return func(ctx context.Context, u name.User) (bool, error) {
		pool, ours := userpool.PoolOfIssuer(publicURL, u.Issuer)
		if !ours {
			return false, nil
		}
		user, err := users.User(ctx, pool, u.Subject)
		if fault.Is(err, fault.NotFound) {
			return true, nil
		}
		return user.Disabled, err
	}
}

// frontDoor is the page for people who open the service's bare address.
func frontDoor(pages *browser.Pages) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pages.Render(w, r, http.StatusOK, browser.Notice{
			Title: browser.Text{EN: "This is Deputy", ZH: "这里是 Deputy"},
			Text: browser.Text{
				EN: "It lets agents act for people without owning their credentials. People come here from an application or through an agent's link; there is nothing to do on this page.",
				ZH: "它让智能体代表用户行事，而无需持有用户的凭据。用户会从应用或智能体的链接来到这里；此页面无需操作。",
			},
			Links: []browser.Link{{Label: browser.Text{EN: "The API", ZH: "API"}, URL: "/openapi.json"}},
		})
	}
}

// scopesInWords says what scopes mean, as far as the vendor's entry knows.
func scopesInWords(providers *provider.Registry) func(ctx context.Context, pool, providerName string, scopes name.Scopes) []browser.Item {
	return func(ctx context.Context, pool, providerName string, scopes name.Scopes) []browser.Item {
		known := map[string]vendor.Words{}
		if v, err := providers.Store.Provider(ctx, pool, providerName); err == nil {
			if entry, err := providers.Catalogue.Lookup(v.Vendor); err == nil {
				for _, s := range entry.Scopes {
					known[s.Scope] = s.What
				}
			}
		}
		items := make([]browser.Item, 0, scopes.Len())
		for _, s := range scopes.List() {
			item := browser.Item{Title: browser.Text{EN: s, ZH: s}}
			if what, ok := known[s]; ok {
				item = browser.Item{Title: browser.Text{EN: what.EN, ZH: what.ZH}, Detail: s}
			}
			items = append(items, item)
		}
		return items
	}
}

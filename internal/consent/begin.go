package consent

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
)

// RequestURIPrefix begins the request_uri of every link.
const RequestURIPrefix = "urn:deputy:authorization:"

// Flow runs authorizations.
type Flow struct {
	Store     Store
	Devices   Devices
	Grants    Grants
	Workloads Workloads
	Bell      Bell
	Guard     *guard.Guard
	Providers *provider.Registry
	Vault     *vault.Vault
	Sealer    vault.Sealer
	PublicURL string // of the identity service, without a slash at the end
	Logger    *slog.Logger
	Now       func() time.Time
}

// Begin makes an authorization for caller c, an agent that acts for a user, or
// returns the pending one for the same request, so that asking twice does not
// confuse the user with two links.
func (f *Flow) Begin(ctx context.Context, c name.Caller, ask Ask) (Link, error) {
	if err := f.checkAsk(ctx, c, ask); err != nil {
		return Link{}, err
	}
	extras, err := ask.extras()
	if err != nil {
		return Link{}, err
	}
	a := Authorization{
		ID: name.NewID("auth"), Kind: ask.Kind, Pool: c.Workload.Pool, Provider: ask.Provider,
		Workload: c.Workload, User: c.User, Scopes: ask.Scopes, Extras: extras,
	}
	now := f.Now().UTC()
	// One that is about to expire is of no use to the user any more.
	if old, err := f.Store.PendingAuthorization(ctx, a, now.Add(Life/2)); err == nil {
		s, err := f.open(ctx, old)
		if err != nil {
			return Link{}, err
		}
		return Link{old, f.url(secret.New(s.Link))}, nil
	} else if !fault.Is(err, fault.NotFound) {
		return Link{}, err
	}
	p, err := f.Guard.Allow(ctx, c, ActionBegin, a.Resource())
	if err != nil {
		return Link{}, err
	}
	link := secret.FromString(name.NewToken("lnk"))
	a.State, a.Version, a.Created, a.Updated, a.Expires = Pending, 1, now, now, now.Add(Life)
	a.LinkHash = link.Digest("authorization-link").String()
	verifier := oauth.NewVerifier()
	plain, err := json.Marshal(secrets{link.Reveal(), verifier.Reveal(), ask.Force, ask.Params, ask.ReturnURL, ask.State.Reveal()})
	if err != nil {
		return Link{}, err
	}
	if a.Sealed, err = f.Sealer.Seal(ctx, a.place(), secret.New(plain)); err != nil {
		return Link{}, err
	}
	p = p.With(ask.Provider, ask.Scopes, map[string]string{"kind": string(ask.Kind)})
	return Link{a, f.url(link)}, f.Store.BeginAuthorization(ctx, p, a)
}

// checkAsk looks the workload's return URLs up only if they matter: most agents
// have none.
func (f *Flow) checkAsk(ctx context.Context, c name.Caller, ask Ask) error {
	var allowed []string
	if ask.ReturnURL != "" {
		var err error
		if allowed, err = f.Workloads.ReturnURLs(ctx, c.Workload); err != nil {
			return err
		}
	}
	return ask.check(allowed)
}

func (f *Flow) url(link secret.Text) secret.Text {
	return secret.FromString(f.PublicURL + "/authorize?request_uri=" + RequestURIPrefix + link.RevealString())
}

func (f *Flow) open(ctx context.Context, a Authorization) (secrets, error) {
	plain, err := f.Sealer.Open(ctx, a.place(), a.Sealed)
	if err != nil {
		return secrets{}, err
	}
	defer plain.Clear()
	var s secrets
	if err := json.Unmarshal(plain.Reveal(), &s); err != nil {
		return secrets{}, fault.New(fault.Internal, "seal_broken", "the secrets of authorization %s are not readable", a.ID)
	}
	return s, nil
}

// Read returns one authorization of caller c, an agent: only the workload that
// began it may see it, and only while it acts for the same user. To everybody
// else it does not exist.
func (f *Flow) Read(ctx context.Context, c name.Caller, id string) (Authorization, error) {
	a, err := f.Store.Authorization(ctx, id)
	if err != nil {
		return Authorization{}, err
	}
	if c.Kind != name.Agent || a.Workload != c.Workload || a.User != c.User {
		resource := guard.Resource{Kind: "authorization", Pool: c.Workload.Pool, ID: id}
		if err := f.Guard.Refuse(ctx, c, ActionRead, resource, "it belongs to another agent or user", nil); err != nil {
			return Authorization{}, err
		}
		return Authorization{}, NotFound(id)
	}
	return f.expire(ctx, a)
}

// Await returns the authorization as soon as it has a terminal state, and its
// present state when ctx ends or after at most limit.
func (f *Flow) Await(ctx context.Context, c name.Caller, id string, limit time.Duration) (Authorization, error) {
	rings, stop := f.Bell.Listen(id)
	defer stop()
	// Listening began before this look, so no change in between is missed.
	a, err := f.Read(ctx, c, id)
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for err == nil && !a.State.Terminal() {
		if f.changed(bounded, a, rings) != nil {
			return a, ctx.Err() // nil when it was the limit that ended the wait
		}
		a, err = f.Read(ctx, c, id)
	}
	return a, err
}

// changed returns nil when a may have changed: its bell rang, or its time is
// over. It returns ctx's error when that ends first.
func (f *Flow) changed(ctx context.Context, a Authorization, rings <-chan struct{}) error {
	expiry := time.NewTimer(a.Expires.Sub(f.Now()) + time.Millisecond)
	defer expiry.Stop()
	select {
	case <-rings:
		return nil
	case <-expiry.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Watch calls seen with the authorization now and after each change, until its
// state is terminal, ctx ends or seen returns an error.
func (f *Flow) Watch(ctx context.Context, c name.Caller, id string, seen func(Authorization) error) error {
	rings, stop := f.Bell.Listen(id)
	defer stop()
	var last State
	for {
		a, err := f.Read(ctx, c, id)
		if err != nil {
			return err
		}
		if a.State != last {
			if err := seen(a); err != nil {
				return err
			}
			last = a.State
		}
		if a.State.Terminal() {
			return nil
		}
		if err := f.changed(ctx, a, rings); err != nil {
			return err
		}
	}
}

// expire moves an authorization whose time is over into state Expired.
func (f *Flow) expire(ctx context.Context, a Authorization) (Authorization, error) {
	if a.State.Terminal() || f.Now().Before(a.Expires) {
		return a, nil
	}
	p, err := f.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionExpire, a.Resource())
	if err != nil {
		return Authorization{}, err
	}
	reason, message := "link_not_opened", "the link was not opened in time"
	switch a.State {
	case Redirected:
		reason, message = "consent_not_finished", "the user was sent to the third party and did not come back in time"
	case Exchanging:
		reason, message = "exchange_interrupted", "the third party's code was received and its exchange was interrupted"
	}
	next := f.step(a, Expired)
	next.Reason, next.Message = reason, message
	return f.advance(ctx, p.With(a.Provider, a.Scopes, nil).Failed(reason), ActionExpire, next)
}

// step returns the next version of a, in state s. A state parameter is good for
// the third party's turn only.
func (f *Flow) step(a Authorization, s State) Authorization {
	a.State, a.StateHash = s, ""
	a.Version++
	a.Updated = f.Now().UTC()
	return a
}

// advance stores next as the successor of the version it was made from. When
// somebody else was faster, it returns what is there now.
func (f *Flow) advance(ctx context.Context, p guard.Permit, action guard.Action, next Authorization) (Authorization, error) {
	err := f.Store.Advance(ctx, p.Detail(next.detail()), action, next)
	if fault.Is(err, fault.Conflict) {
		return f.Store.Authorization(ctx, next.ID)
	}
	return next, err
}

package consent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Lookup returns the authorization that a link is for, without using the link
// up, so that the browser can be asked to log in to the right pool first. It
// says nothing about who may open it; [Flow.Open] does.
func (f *Flow) Lookup(ctx context.Context, link secret.Text) (Authorization, error) {
	a, err := f.Store.AuthorizationByLink(ctx, link.Digest("authorization-link").String())
	if fault.Is(err, fault.NotFound) {
		return Authorization{}, fault.New(fault.NotFound, "link_unknown", "this link is not known").
			WithFix("ask the agent for a new link")
	}
	if err != nil {
		return Authorization{}, err
	}
	return f.expire(ctx, a)
}

// mine refuses everybody but the user that the authorization is for: issuer
// and subject are compared, nothing else would do. The refusal is recorded and
// nothing is stored.
func (f *Flow) mine(ctx context.Context, c name.Caller, action guard.Action, a Authorization) error {
	if c.Kind == name.Person && !c.User.IsZero() && c.User == a.User {
		return nil
	}
	if err := f.Guard.Refuse(ctx, c, action, a.Resource(), "the link was made for somebody else", nil); err != nil {
		return err
	}
	return fault.New(fault.Forbidden, "link_not_yours", "this link was made for somebody else").
		WithFix("nothing was stored; if you asked an agent yourself, log in as the same person there and here")
}

// Open uses a link up. For [KindGrant] it returns the third party's address to
// send the browser to, and the value of a cookie that marks this browser; or
// neither, if the user agrees by a code: then a is redirected, also when the link
// is opened again, and [Flow.ShowDevice] has the code. For [KindDelegation] it
// changes nothing and returns neither: the caller shows the decision page.
func (f *Flow) Open(ctx context.Context, c name.Caller, link secret.Text) (a Authorization, redirect string, browser secret.Text, err error) {
	if a, err = f.Lookup(ctx, link); err != nil {
		return a, "", browser, err
	}
	if err = f.mine(ctx, c, ActionOpen, a); err != nil {
		return a, "", browser, err
	}
	if a.State == Redirected && a.StateHash == "" { // by a code, which the user comes back to
		return a, "", browser, nil
	}
	if err = f.unused(a); err != nil || a.Kind == KindDelegation {
		return a, "", browser, err
	}
	p, err := f.Guard.Allow(ctx, c, ActionOpen, a.Resource())
	if err != nil {
		return a, "", browser, err
	}
	d, err := f.Providers.Dialect(ctx, p, a.Pool, a.Provider)
	if err != nil {
		return a, "", browser, err
	}
	defer d.App.ClientSecret.Clear()
	next := f.step(a, Redirected)
	next.ProviderVersion = d.Provider.Version
	if next.Requested, err = f.requested(ctx, a, d.Entry); err != nil {
		return a, "", browser, err
	}
	p = p.With(a.Provider, a.Scopes, nil)
	if d.Provider.Options.Device {
		next, err = f.openDevice(ctx, p, d, next)
		return next, "", browser, used(err)
	}
	s, err := f.open(ctx, a)
	if err != nil {
		return a, "", browser, err
	}
	state := secret.FromString(name.NewToken("st"))
	browser = secret.FromString(name.NewToken("br"))
	redirect, err = d.AuthorizeURL(provider.Ask{
		Scopes: next.Requested, State: state.RevealString(), CodeChallenge: oauth.Challenge(secret.New(s.Verifier)), Force: s.Force, Params: s.Params,
	})
	if err != nil {
		return a, "", browser, err
	}
	next.StateHash = state.Digest("authorization-state").String()
	next.BrowserHash = browser.Digest("authorization-browser").String()
	return next, redirect, browser, used(f.Store.Advance(ctx, p, ActionOpen, next))
}

// used returns the fault for a link that another request used up in between, in
// place of that for the lost step.
func used(err error) error {
	if fault.Is(err, fault.Conflict) {
		return linkUsed()
	}
	return err
}

// requested returns the scopes to ask the third party for: those of a, and
// those that the grant has. Most third parties replace what they granted before
// by what is granted now, and other agents go on with that. One whose grants are
// cumulative does not, so that its page need not show again what the user agreed
// to before; only what makes it give a refresh token is always asked for.
func (f *Flow) requested(ctx context.Context, a Authorization, e vendor.Entry) (name.Scopes, error) {
	g, _, err := f.Grants.FindGrant(ctx, a.Workload, a.Provider, a.User)
	if err != nil || g.State != vault.Active {
		return a.Scopes, err
	}
	has := g.Scopes
	if e.Cumulative {
		refresh, err := name.ParseScopes(e.RefreshScope)
		if err != nil {
			return name.Scopes{}, err
		}
		has = has.Intersect(refresh)
	}
	return a.Scopes.Union(has), nil
}

func (f *Flow) unused(a Authorization) error {
	switch a.State {
	case Pending:
		return nil
	case Expired:
		return fault.New(fault.Gone, "link_expired", "this link has expired").WithFix("ask the agent again; it will show a new link")
	default:
		return linkUsed()
	}
}

func linkUsed() error {
	return fault.New(fault.Gone, "link_used", "this link was used already").WithFix("ask the agent again; it will show a new link if it still needs one")
}

// Decide is the user's answer on Deputy's own page for [KindDelegation].
func (f *Flow) Decide(ctx context.Context, c name.Caller, link secret.Text, agree bool) (Authorization, error) {
	a, err := f.Lookup(ctx, link)
	if err != nil {
		return a, err
	}
	if err := f.mine(ctx, c, ActionDecide, a); err != nil {
		return a, err
	}
	if err := f.unused(a); err != nil {
		return a, err
	}
	if a.Kind != KindDelegation {
		return a, fault.New(fault.Invalid, "authorization_kind", "this authorization is given at the third party")
	}
	p, err := f.Guard.Allow(ctx, c, ActionDecide, a.Resource())
	if err != nil {
		return a, err
	}
	p = p.With(a.Provider, a.Scopes, map[string]string{"workload": a.Workload.String()})
	if !agree {
		return f.fail(ctx, p, ActionDecide, a, "access_denied", "the user did not agree")
	}
	g, d, err := f.Grants.FindGrant(ctx, a.Workload, a.Provider, a.User)
	if err != nil {
		return a, err
	}
	if g.State != vault.Active || vault.Missing(g.Scopes, a.Scopes).Len() > 0 {
		return f.fail(ctx, p, ActionDecide, a, "grant_changed", "the authorization at the third party changed in between")
	}
	return f.complete(ctx, p, ActionDecide, a, vault.Grant{}, f.delegation(d, g.ID, a))
}

// Callback is what a third party sent the browser back with (RFC 6749,
// sections 4.1.2 and 4.1.2.1).
type Callback struct {
	State       secret.Text
	Code        secret.Text
	Error       string // when there is no Code
	Description string
	Browser     secret.Text // the cookie that [Flow.Open] gave
	Issuer      string      // iss, who says that he gave the answer (RFC 9207); may be empty
	Below       string      // where it came, below the callback that providers share; see [provider.Provider.BelowCallback]
}

// Finish takes the callback: it checks that the same browser and the same user
// came back, redeems the code, and stores grant, delegation, state and audit
// entry in one transaction.
func (f *Flow) Finish(ctx context.Context, c name.Caller, cb Callback) (Authorization, error) {
	a, err := f.byState(ctx, cb.State)
	if err != nil {
		return Authorization{}, err
	}
	if a, err = f.expire(ctx, a); err != nil {
		return a, err
	}
	if err := f.mine(ctx, c, ActionExchange, a); err != nil {
		return a, err
	}
	if cb.Browser.Empty() || cb.Browser.Digest("authorization-browser").String() != a.BrowserHash {
		if err := f.Guard.Refuse(ctx, c, ActionExchange, a.Resource(), "another browser came back", nil); err != nil {
			return a, err
		}
		return a, fault.New(fault.Forbidden, "browser_changed", "the authorization was begun in another browser").
			WithFix("open the link and agree in one browser; nothing was stored")
	}
	if a.State == Expired {
		return a, fault.New(fault.Gone, "link_expired", "this authorization has expired").WithFix("ask the agent again; it will show a new link")
	}
	p, err := f.Guard.Allow(ctx, c, ActionExchange, a.Resource())
	if err != nil {
		return a, err
	}
	p = p.With(a.Provider, a.Scopes, map[string]string{"workload": a.Workload.String()})
	d, err := f.Providers.Dialect(ctx, p, a.Pool, a.Provider)
	if err != nil {
		return a, err
	}
	if cb.Below != d.Provider.BelowCallback() {
		if err := f.Guard.Refuse(ctx, c, ActionExchange, a.Resource(), "the answer came to the redirect URI of another provider", nil); err != nil {
			return a, err
		}
		return a, provider.AnotherCallback()
	}
	if err := d.Provider.CheckIssuer(cb.Issuer); err != nil {
		if refuseErr := f.Guard.Refuse(ctx, c, ActionExchange, a.Resource(), "the answer is another issuer's", nil); refuseErr != nil {
			return a, refuseErr
		}
		return a, err
	}
	if cb.Code.Empty() {
		failure := d.Entry.ExplainAuthorize(d.App.RedirectURI, cb.Error, cb.Description)
		return f.fail(ctx, p, ActionExchange, a, failure.VendorCode, failure.Explanation)
	}
	if a.ProviderVersion != d.Provider.Version {
		// The code is for the client and the third party that the user saw. Now there may be others, to
		// whom code and verifier would be worth something.
		return f.outdated(ctx, p, a)
	}
	// From here on the state parameter is used up: a second callback finds nothing.
	next := f.step(a, Exchanging)
	if err := f.Store.Advance(ctx, p, ActionExchange, next); err != nil {
		return a, used(err)
	}
	s, err := f.open(ctx, next)
	if err != nil {
		return next, err
	}
	// The code is redeemed even if the browser goes away now: it is single-use.
	ctx = context.WithoutCancel(ctx)
	tokens, err := d.Exchange(ctx, cb.Code, secret.New(s.Verifier))
	if err != nil {
		return f.failExchange(ctx, c, next, err)
	}
	return f.received(ctx, c, d, next, tokens)
}

// received completes a with the tokens that the third party gave, or fails it.
func (f *Flow) received(ctx context.Context, c name.Caller, d provider.Dialect, a Authorization, tokens vendor.Tokens) (Authorization, error) {
	account, err := d.Account(ctx, tokens.Access)
	if err != nil {
		// The account's name is a convenience; the tokens are what the user came for.
		f.Logger.LogAttrs(ctx, slog.LevelWarn, "account at the third party not identified", slog.String("authorization", a.ID), slog.Any("err", fault.As(err)))
	}
	done, err := f.store(ctx, c, a, tokens, account)
	if err != nil {
		return f.failExchange(ctx, c, a, err)
	}
	return done, nil
}

// store seals the tokens and completes the authorization. A concurrent change
// of the grant makes it read and seal again, a bounded number of times.
func (f *Flow) store(ctx context.Context, c name.Caller, a Authorization, tokens vendor.Tokens, account vendor.Account) (Authorization, error) {
	p, err := f.Guard.Allow(ctx, c, ActionFinish, a.Resource())
	if err != nil {
		return a, err
	}
	p = p.With(a.Provider, a.Scopes, map[string]string{"workload": a.Workload.String(), "account": name.Clip(account.ID, 100)})
	for range 5 {
		old, oldDelegation, err := f.Grants.FindGrant(ctx, a.Workload, a.Provider, a.User)
		if err != nil {
			return a, err
		}
		g, err := f.Vault.NewGrant(ctx, a.Pool, a.Provider, a.User, old, account, tokens, a.Requested)
		if err != nil {
			return a, err
		}
		if g.MovesFrom(old) {
			oldDelegation.Scopes = name.Scopes{}
			p = p.Detail(map[string]string{"former account": name.Clip(old.Account.ID, 100)})
		}
		d := f.delegation(oldDelegation, g.ID, a)
		end := f.complete
		if missing := vault.Missing(g.Scopes, a.Scopes); missing.Len() > 0 {
			p = p.Failed("scopes_not_granted").Detail(map[string]string{"not granted": missing.String()})
			d.Scopes = d.Scopes.Intersect(g.Scopes)
			end = f.lacking(missing)
		}
		done, err := end(ctx, p, ActionFinish, a, g, d)
		if fault.HasCode(err, "authorization_changed") {
			return f.Store.Authorization(ctx, a.ID) // its time was over while the third party was slow
		}
		if !fault.HasCode(err, "grant_changed") {
			return done, err
		}
	}
	return a, fault.New(fault.Unavailable, "grant_busy", "the grant kept changing while it was to be stored").WithFix("ask the agent again")
}

func (f *Flow) complete(ctx context.Context, p guard.Permit, action guard.Action, a Authorization, g vault.Grant, d vault.Delegation) (Authorization, error) {
	a = f.step(a, Completed)
	return a, f.Store.Complete(ctx, p.Detail(a.detail()), action, a, g, d)
}

// lacking ends an authorization at which the user unticked scopes, or may not
// give them. What he gave is kept for whom it is enough; the agent is told that
// it is not what it asked for, or it would ask for ever.
func (f *Flow) lacking(missing name.Scopes) func(context.Context, guard.Permit, guard.Action, Authorization, vault.Grant, vault.Delegation) (Authorization, error) {
	return func(ctx context.Context, p guard.Permit, action guard.Action, a Authorization, g vault.Grant, d vault.Delegation) (Authorization, error) {
		a = f.step(a, Failed)
		a.Reason, a.Message = "scopes_not_granted", "the third party did not grant "+name.Clip(missing.String(), 300)
		return a, f.Store.Complete(ctx, p.Detail(a.detail()), action, a, g, d)
	}
}

// delegation returns what a's workload may use once a is completed: what it
// could use before, and what it asked for.
func (f *Flow) delegation(old vault.Delegation, grantID string, a Authorization) vault.Delegation {
	d := old
	d.GrantID, d.Workload, d.Updated = grantID, a.Workload, f.Now().UTC()
	d.Scopes = old.Scopes.Union(a.Scopes)
	if d.ID == "" {
		d.ID, d.Created = name.NewID("dlg"), d.Updated
	}
	return d
}

func (f *Flow) fail(ctx context.Context, p guard.Permit, action guard.Action, a Authorization, reason, message string) (Authorization, error) {
	next := f.step(a, Failed)
	next.Reason, next.Message = reason, message
	return f.advance(ctx, p.Failed(reason).Detail(map[string]string{"message": name.Clip(message, 300)}), action, next)
}

// outdated ends an authorization whose provider is not what it was when its user
// was sent to the third party.
func (f *Flow) outdated(ctx context.Context, p guard.Permit, a Authorization) (Authorization, error) {
	changed := ProviderChanged()
	return f.fail(ctx, p, ActionExchange, a, changed.Code, changed.Message)
}

// failExchange ends an authorization whose code could not be redeemed, or whose
// grant could not be stored. The code is spent or unknown either way, so the user
// has to be asked again, and the agent need not wait; what was stored before
// stays.
func (f *Flow) failExchange(ctx context.Context, c name.Caller, a Authorization, cause error) (Authorization, error) {
	reason, message := fault.As(cause).Code, fault.As(cause).Message
	var failure *vendor.Failure
	if errors.As(cause, &failure) && failure.VendorCode != "" {
		reason, message = failure.VendorCode, failure.Explanation
	}
	f.Logger.LogAttrs(ctx, slog.LevelWarn, "authorization not completed", slog.String("authorization", a.ID), slog.Any("err", fault.As(cause)))
	p, err := f.Guard.Allow(ctx, c, ActionExchange, a.Resource())
	if err != nil {
		return a, err
	}
	return f.fail(ctx, p.With(a.Provider, a.Scopes, nil), ActionExchange, a, reason, message)
}

// Result returns an authorization to the person that it is for. who tells who
// is asking, as a user of the issuer given.
func (f *Flow) Result(ctx context.Context, id string, who func(issuer string) name.Caller) (Authorization, error) {
	a, err := f.Store.Authorization(ctx, id)
	if err != nil {
		return Authorization{}, err
	}
	if c := who(a.User.Issuer); c.Kind != name.Person || c.User != a.User {
		return Authorization{}, NotFound(id)
	}
	return f.expire(ctx, a)
}

// ReturnURL returns where the browser goes now that a has ended, and "" if the
// agent named no place.
func (f *Flow) ReturnURL(ctx context.Context, a Authorization) (string, error) {
	s, err := f.open(ctx, a)
	if err != nil {
		return "", err
	}
	return s.returnURL(a)
}

// IssuerOf returns the issuer of the user that a state parameter belongs to,
// which says where to look for the browser's login. It changes nothing.
func (f *Flow) IssuerOf(ctx context.Context, state secret.Text) (string, error) {
	a, err := f.byState(ctx, state)
	return a.User.Issuer, err
}

func (f *Flow) byState(ctx context.Context, state secret.Text) (Authorization, error) {
	a, err := f.Store.AuthorizationByState(ctx, state.Digest("authorization-state").String())
	if fault.Is(err, fault.NotFound) {
		return Authorization{}, fault.New(fault.Gone, "state_unknown", "this answer of the third party belongs to no authorization that is waiting").
			WithFix("if you came here by going back or by reloading, you are done; else ask the agent again")
	}
	return a, err
}

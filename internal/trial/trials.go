package trial

import (
	"context"
	"log/slog"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
)

// Path is where the link of a trial leads.
const Path = "/provider-test"

// Trials runs trials.
type Trials struct {
	Store     Store
	Bell      Bell
	Guard     *guard.Guard
	Sealer    Sealer
	Providers *provider.Registry
	PublicURL string // of the identity service, without a slash at the end
	Logger    *slog.Logger
	Now       func() time.Time
}

// checkTime bounds what is tried while an operator waits for an answer.
const checkTime = 8 * time.Second

// Check tries what can be tried without a person. It leaves nothing behind.
func (ts *Trials) Check(ctx context.Context, c name.Caller, pool, providerName string) ([]Result, error) {
	p, err := ts.Guard.Allow(ctx, c, ActionCheck, provider.Resource(pool, providerName))
	if err != nil {
		return nil, err
	}
	d, err := ts.Providers.Dialect(ctx, p, pool, providerName)
	if err != nil {
		return nil, err
	}
	defer d.App.ClientSecret.Clear()
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return alone(ctx, d), nil
}

// Begin tries what can be tried without a person, and returns the link that
// the operator opens for the rest. It is empty if there is no rest: the third
// party is not there, or does not know the client, or people agree by a code.
func (ts *Trials) Begin(ctx context.Context, c name.Caller, pool, providerName string) (Trial, secret.Text, error) {
	now := ts.Now().UTC()
	t := Trial{ID: name.NewID("trl"), Pool: pool, Provider: providerName, State: Begun, Version: 1, Created: now, Expires: now.Add(Life)}
	p, err := ts.Guard.Allow(ctx, c, ActionBegin, t.Resource())
	if err != nil {
		return Trial{}, secret.Text{}, err
	}
	d, err := ts.Providers.Dialect(ctx, p, pool, providerName)
	if err != nil {
		return Trial{}, secret.Text{}, err
	}
	defer d.App.ClientSecret.Clear()
	t.ProviderID = d.Provider.ID
	t.Results = alone(ctx, d)
	over := failed(t.Results)
	if d.Provider.Options.Device && !over {
		t.Results, over = append(t.Results, byCode()...), true
	}
	link := secret.FromString(name.NewToken("trl"))
	t.LinkHash = link.Digest("trial-link").String()
	verifier := oauth.NewVerifier()
	if t.Sealed, err = ts.Sealer.Seal(ctx, t.place(), verifier); err != nil {
		return Trial{}, secret.Text{}, err
	}
	p = p.With(providerName, name.Scopes{}, nil)
	to := secret.FromString(ts.PublicURL + Path + "?link=" + link.RevealString())
	if over {
		t.State, to = Done, secret.Text{}
		p = p.Detail(outline(t.Results))
	}
	if failed(t.Results) {
		p = p.Failed("trial_failed")
	}
	return t, to, ts.Store.BeginTrial(ctx, p, t)
}

// Open uses a link up. It returns the third party's address to send the browser
// to, and the value of a cookie that marks this browser.
func (ts *Trials) Open(ctx context.Context, link secret.Text) (t Trial, redirect string, browser secret.Text, err error) {
	t, err = ts.Store.TrialByLink(ctx, link.Digest("trial-link").String())
	if fault.Is(err, fault.NotFound) {
		return t, "", browser, fault.New(fault.NotFound, "link_unknown", "this link is not known").WithFix("begin a new test of the credential provider")
	}
	if err != nil {
		return t, "", browser, err
	}
	if t.State != Begun || !ts.Now().Before(t.Expires) {
		return t, "", browser, fault.New(fault.Gone, "link_used", "this link was used already, or has expired").WithFix("begin a new test of the credential provider")
	}
	p, d, err := ts.dialect(ctx, ActionOpen, t)
	if err != nil {
		return t, "", browser, err
	}
	defer d.App.ClientSecret.Clear()
	verifier, err := ts.Sealer.Open(ctx, t.place(), t.Sealed)
	if err != nil {
		return t, "", browser, err
	}
	defer verifier.Clear()
	state := secret.FromString(name.NewToken("st"))
	browser = secret.FromString(name.NewToken("br"))
	redirect, err = d.AuthorizeURL(provider.Ask{Scopes: d.Provider.Scopes, State: state.RevealString(), CodeChallenge: oauth.Challenge(verifier), Force: true})
	if err != nil {
		return t, "", browser, err
	}
	t.State, t.StateHash, t.BrowserHash = Redirected, state.Digest("trial-state").String(), browser.Digest("trial-browser").String()
	t.Version++
	return t, redirect, browser, ts.Store.AdvanceTrial(ctx, p, ActionOpen, t)
}

// dialect returns what is needed to go on with t, unless its provider is gone.
// Who goes on is not a person that Deputy knows, so it is Deputy itself.
func (ts *Trials) dialect(ctx context.Context, action guard.Action, t Trial) (guard.Permit, provider.Dialect, error) {
	p, err := ts.Guard.Allow(ctx, name.Caller{Kind: name.System}, action, t.Resource())
	if err != nil {
		return p, provider.Dialect{}, err
	}
	d, err := ts.Providers.Dialect(ctx, p, t.Pool, t.Provider)
	if err == nil && d.Provider.ID != t.ProviderID {
		d.App.ClientSecret.Clear()
		err = provider.NotFound(t.Pool, t.Provider, nil)
	}
	return p.With(t.Provider, d.Provider.Scopes, nil), d, err
}

// Callback is what a third party sent the browser back with (RFC 6749,
// sections 4.1.2 and 4.1.2.1).
type Callback struct {
	State       secret.Text
	Code        secret.Text
	Error       string // when there is no Code
	Description string
	Browser     secret.Text // the cookie that [Trials.Open] gave
	Issuer      string      // iss, who says that he gave the answer (RFC 9207); may be empty
	Below       string      // where it came, below the callback that providers share; see [provider.Provider.BelowCallback]
}

// Owner returns the id of the trial that waits for a state parameter, and "" if
// there is none.
func (ts *Trials) Owner(ctx context.Context, state secret.Text) (string, error) {
	t, err := ts.Store.TrialByState(ctx, state.Digest("trial-state").String())
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	return t.ID, err
}

// Finish takes the callback and tries the rest.
func (ts *Trials) Finish(ctx context.Context, cb Callback) (Trial, error) {
	t, err := ts.Store.TrialByState(ctx, cb.State.Digest("trial-state").String())
	if err != nil {
		return t, err
	}
	if !t.ownedBy(cb.Browser) {
		return t, fault.New(fault.Forbidden, "browser_changed", "the test was begun in another browser").WithFix("open the link and agree in one browser")
	}
	if !ts.Now().Before(t.Expires) {
		return ts.late(ctx, t)
	}
	p, d, err := ts.dialect(ctx, ActionEnd, t)
	if err != nil {
		return t, err
	}
	defer d.App.ClientSecret.Clear()
	if cb.Below != d.Provider.BelowCallback() {
		return t, provider.AnotherCallback()
	}
	if err := d.Provider.CheckIssuer(cb.Issuer); err != nil {
		return t, err
	}
	// From here on the state parameter is used up: a second callback finds nothing.
	t.State, t.StateHash = Exchanging, ""
	t.Version++
	if err := ts.Store.AdvanceTrial(ctx, p, ActionEnd, t); err != nil {
		return t, err
	}
	verifier, err := ts.Sealer.Open(ctx, t.place(), t.Sealed)
	if err != nil {
		return t, err
	}
	defer verifier.Clear()
	ctx = context.WithoutCancel(ctx) // the code is spent even if the browser goes away now
	t.Results = append(t.Results, withAnswer(ctx, d, cb, verifier)...)
	return ts.end(ctx, t)
}

// end stores the results of t as the last ones.
func (ts *Trials) end(ctx context.Context, t Trial) (Trial, error) {
	p, err := ts.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionEnd, t.Resource())
	if err != nil {
		return t, err
	}
	t.State, t.StateHash = Done, ""
	t.Version++
	p = p.With(t.Provider, name.Scopes{}, outline(t.Results))
	if !t.Worked() {
		p = p.Failed("trial_failed")
	}
	err = ts.Store.AdvanceTrial(ctx, p, ActionEnd, t)
	if fault.Is(err, fault.Conflict) {
		return ts.Store.Trial(ctx, t.ID) // somebody else ended it
	}
	return t, err
}

// ownedBy reports whether mark is the cookie of the browser that opened t.
func (t Trial) ownedBy(mark secret.Text) bool {
	return !mark.Empty() && mark.Digest("trial-browser").String() == t.BrowserHash
}

// Seen returns a trial to the browser that went through it.
func (ts *Trials) Seen(ctx context.Context, id string, mark secret.Text) (Trial, error) {
	t, err := ts.Store.Trial(ctx, id)
	if err == nil && !t.ownedBy(mark) {
		return Trial{}, NotFound(id)
	}
	return t, err
}

// Await returns a trial as soon as it is done, and as it is when ctx ends or
// after at most limit.
func (ts *Trials) Await(ctx context.Context, pool, id string, limit time.Duration) (Trial, error) {
	rings, stop := ts.Bell.Listen(id)
	defer stop()
	wait := time.NewTimer(limit)
	defer wait.Stop()
	for {
		// Listening began before this look, so no change in between is missed.
		t, err := ts.read(ctx, pool, id)
		if err != nil || t.State == Done {
			return t, err
		}
		expiry := time.NewTimer(t.Expires.Sub(ts.Now()) + time.Millisecond)
		select {
		case <-rings:
		case <-expiry.C:
		case <-wait.C:
			expiry.Stop()
			return t, nil
		case <-ctx.Done():
			expiry.Stop()
			return t, ctx.Err()
		}
		expiry.Stop()
	}
}

func (ts *Trials) read(ctx context.Context, pool, id string) (Trial, error) {
	t, err := ts.Store.Trial(ctx, id)
	if err != nil {
		return t, err
	}
	if t.Pool != pool {
		return Trial{}, NotFound(id)
	}
	if t.State != Done && !ts.Now().Before(t.Expires) {
		return ts.late(ctx, t)
	}
	return t, nil
}

// late ends a trial whose time is over.
func (ts *Trials) late(ctx context.Context, t Trial) (Trial, error) {
	callback := ts.Providers.CallbackURL
	if v, err := ts.Providers.Store.Provider(ctx, t.Pool, t.Provider); err == nil { // else it is deleted, and nobody will register anything
		callback = ts.Providers.Callback(v)
	}
	t.Results = append(t.Results, tooLate(t, callback))
	return ts.end(ctx, t)
}

// Sweep removes the trials of the past.
func (ts *Trials) Sweep(ctx context.Context) error {
	p, err := ts.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionSweep, SweepResource())
	if err != nil {
		return err
	}
	_, err = ts.Store.SweepTrials(ctx, p, ts.Now().Add(-24*time.Hour))
	return err
}

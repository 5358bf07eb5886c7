package deputy

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxAsks     = 3                // how often a user is asked for one credential in one turn
	nearlyStale = 10 * time.Second // a token this close to its end is not used any more
)

// wallet holds the credentials in use during one turn, or by one [Caller].
type wallet struct {
	deputy *Client
	// identity returns the workload access token to ask with: if it can, another one than that which Deputy refused.
	identity func(ctx context.Context, refused Secret) (Secret, error)
	// consent puts a question to the user and returns when he has agreed.
	consent func(ctx context.Context, wat Secret, cred Credential, callID string, a Authorization) error
	// keep is how long a credential is used without a word from Deputy. 0: until it expires.
	keep time.Duration

	mu   sync.Mutex
	held map[string]*heldToken // by [Credential.key]
}

// heldToken is a credential in use. turn is a lock that can be waited for with a
// context: whoever holds it may be waiting for the user, and the others then get
// the same answer, be it a refusal, instead of a second link.
type heldToken struct {
	turn  chan struct{}
	token AccessToken
	since time.Time // when Deputy gave it
	// refused is a token that a tool said was refused; if Deputy has no other one,
	// only the user can help.
	refused Secret
	force   bool // ask the user, whatever Deputy has
	// failures counts how often nothing came of asking; failure is the last of them.
	failures atomic.Int64
	failure  error
}

// fail notes the answer for those who wait for it. Who gave up himself, or whose
// time was over, has none for the others.
func (h *heldToken) fail(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		h.failure = err
		h.failures.Add(1)
	}
	return err
}

// hold returns the held token of a credential, locked, and how many failures there
// were before the wait for it.
func (w *wallet) hold(ctx context.Context, cred Credential) (h *heldToken, failures int64, err error) {
	w.mu.Lock()
	h = w.held[cred.key()]
	if h == nil {
		if w.held == nil {
			w.held = map[string]*heldToken{}
		}
		h = &heldToken{turn: make(chan struct{}, 1)}
		w.held[cred.key()] = h
	}
	w.mu.Unlock()
	failures = h.failures.Load()
	select {
	case h.turn <- struct{}{}:
		return h, failures, nil
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func (h *heldToken) release() { <-h.turn }

// with lets do change what is held of a credential.
func (w *wallet) with(ctx context.Context, cred Credential, do func(*heldToken) error) error {
	h, _, err := w.hold(ctx, cred)
	if err != nil {
		return err
	}
	defer h.release()
	return do(h)
}

// good reports whether the held token may be used once more.
func (w *wallet) good(h *heldToken) bool {
	now := w.deputy.Now()
	return !h.token.Value.Empty() && (h.token.Expires.IsZero() || now.Add(nearlyStale).Before(h.token.Expires)) && (w.keep == 0 || now.Sub(h.since) < w.keep)
}

// token implements holder.
func (w *wallet) token(ctx context.Context, cred Credential, callID string) (AccessToken, error) {
	h, failures, err := w.hold(ctx, cred)
	if err != nil {
		return AccessToken{}, err
	}
	defer h.release()
	switch {
	case w.good(h):
		return h.token, nil
	case h.failures.Load() > failures:
		return AccessToken{}, h.failure
	}
	got, err := w.ask(ctx, cred, callID, h.force, h.refused)
	if err == nil && got.Value.equal(h.refused) {
		got, err = w.ask(ctx, cred, callID, true, Secret{})
	}
	if err != nil {
		return AccessToken{}, h.fail(ctx, err)
	}
	h.token, h.since, h.refused, h.force = got, w.deputy.Now(), Secret{}, false
	return got, nil
}

// renew implements holder.
func (w *wallet) renew(ctx context.Context, cred Credential, callID string, refused AccessToken) (AccessToken, error) {
	h, failures, err := w.hold(ctx, cred)
	if err != nil {
		return AccessToken{}, err
	}
	defer h.release()
	switch { // another request was here first
	case !h.token.Value.Empty() && !h.token.Value.equal(refused.Value):
		return h.token, nil
	case h.failures.Load() > failures:
		return AccessToken{}, h.failure
	}
	got, err := w.ask(ctx, cred, callID, false, refused.Value)
	if err != nil {
		return AccessToken{}, h.fail(ctx, err)
	}
	h.token, h.since = got, w.deputy.Now()
	return got, nil
}

// ask gets a credential from Deputy, and asks the user for as long as Deputy
// wants that: the second time is for a user who did not grant all scopes.
func (w *wallet) ask(ctx context.Context, cred Credential, callID string, force bool, refused Secret) (AccessToken, error) {
	for range maxAsks {
		token, wat, err := w.request(ctx, cred, force, refused)
		var need *ConsentRequired
		if !errors.As(err, &need) {
			return token, err
		}
		if err := w.consent(ctx, wat, cred, callID, need.Authorization); err != nil {
			return AccessToken{}, err
		}
		force = false
	}
	return AccessToken{}, &Error{Code: "consent_incomplete", Message: "the user agreed, but not to all that " + cred.Provider + " was asked for",
		Fix: "try again and grant every permission on the list"}
}

// request asks Deputy once, and a second time if it refused the workload access
// token and there is another one. It returns the one that it asked with.
func (w *wallet) request(ctx context.Context, cred Credential, force bool, refused Secret) (AccessToken, Secret, error) {
	wat, err := w.identity(ctx, Secret{})
	if err != nil {
		return AccessToken{}, Secret{}, err
	}
	token, err := w.deputy.token(ctx, wat, cred, force, refused)
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusUnauthorized {
		return token, wat, err
	}
	other, otherErr := w.identity(ctx, wat)
	if otherErr != nil || other.equal(wat) {
		return token, wat, err
	}
	token, err = w.deputy.token(ctx, other, cred, force, refused)
	return token, other, err
}

// Package backchannel tells clients that a session in which they got tokens has ended (OpenID Connect Back-Channel Logout 1.0).
//
// Whoever ends a session does not wait for that: the store notes the duty
// together with the end (see [userpool.LogoutNotice]), and a [Notifier] fulfils
// it, in whichever process comes first, again if need be, and after a restart.
package backchannel

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/outbox"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The bounds of telling clients.
const (
	atOnce     = 16               // requests at the same time
	answerTime = 5 * time.Second  // for a client to answer
	hold       = time.Minute      // how long a notice that was taken stays with its taker
	lookAgain  = 15 * time.Second // between two looks for what is due; new notices ring
	tokenLife  = 2 * time.Minute  // of a logout token (section 2.4)
	maxAnswer  = 4 << 10          // bytes; nothing of it is used
)

// pauses are the times between attempts; there is one attempt more than pauses.
var pauses = [...]time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour}

// Keys has the signing keys of pools; see [userpool.KeyOwner].
type Keys interface {
	// Signing returns the owner's keys, of which the last one signs with the algorithm.
	Signing(ctx context.Context, owner, algorithm string) ([]jwt.Key, error)
}

// Sender sends requests to clients; [outbound.Client] is one.
type Sender interface {
	Do(ctx context.Context, r outbound.Request) (outbound.Response, error)
}

// Notifier tells clients. All fields are required.
type Notifier struct {
	PublicURL string // of the identity service, for the issuers
	Notices   userpool.LogoutNotices
	Pools     userpool.Pools
	Clients   userpool.Clients
	Keys      Keys
	Sender    Sender
	Bell      outbox.Bell
	Guard     *guard.Guard
	Log       *slog.Logger
	Now       func() time.Time
}

// Run tells clients whatever is due until ctx is done.
func (n *Notifier) Run(ctx context.Context) { n.worker().Run(ctx) }

// Tell makes one attempt at every notice that is due now, and returns when all
// have been answered. That a client does not answer is no error.
func (n *Notifier) Tell(ctx context.Context) error { return n.worker().Once(ctx) }

func (n *Notifier) worker() outbox.Worker[userpool.LogoutNotice] {
	return outbox.Worker[userpool.LogoutNotice]{
		What: "logout notices", Topic: userpool.LogoutTopic, Bell: n.Bell, Take: n.Notices.TakeLogoutNotices, Do: n.tell,
		AtOnce: atOnce, Hold: hold, Look: lookAgain, Log: n.Log, Now: n.Now,
	}
}

// tell makes one attempt and records what came of it, unless there will be
// another. An error leaves the notice until its hold is over.
func (n *Notifier) tell(ctx context.Context, notice userpool.LogoutNotice) error {
	client, err := n.Clients.Client(ctx, notice.Pool, notice.ClientID)
	if fault.Is(err, fault.NotFound) {
		return nil // the notice went with the client
	}
	if err != nil {
		return err
	}
	if client.BackchannelLogoutURI == "" {
		return n.finish(ctx, notice, "the client is no longer told of logouts")
	}
	token, err := n.token(ctx, notice, client)
	if err != nil {
		return err
	}
	failure, final := n.send(ctx, client, token)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failure != "" && !final && notice.Attempts < int64(len(pauses)):
		n.Log.InfoContext(ctx, "logout not told; tried again later", "client", client.ID, "attempt", notice.Attempts+1, "why", failure)
		return n.Notices.RetryLogoutNotice(ctx, notice, n.Now().Add(pauses[notice.Attempts]))
	default:
		return n.finish(ctx, notice, failure)
	}
}

// finish records that the client was told, or why not, and forgets the notice.
func (n *Notifier) finish(ctx context.Context, notice userpool.LogoutNotice, failure string) error {
	p, err := n.Guard.Allow(ctx, name.Caller{Kind: name.System}, userpool.ActionNotifyLogout, notice.Resource())
	if err != nil {
		return err
	}
	p = p.Detail(map[string]string{"client": notice.ClientID, "user": notice.UserID, "attempts": fmt.Sprint(notice.Attempts + 1)})
	if failure != "" {
		p = p.Failed(failure)
	}
	return n.Notices.FinishLogoutNotice(ctx, p, notice)
}

// TokenType is the "typ" header of a logout token (section 2.4). No other token of
// Deputy has it, so none can be taken for one.
const TokenType = "logout+jwt"

// event is the member of "events" that makes a token a logout token.
const event = "http://schemas.openid.net/event/backchannel-logout"

// claims are those of a logout token (section 2.4). There is no nonce: that is
// what keeps it from being taken for an ID token where types are not looked at.
type claims struct {
	Issuer    string              `json:"iss"`
	Subject   string              `json:"sub"`
	Audience  string              `json:"aud"`
	IssuedAt  int64               `json:"iat"`
	ExpiresAt int64               `json:"exp"`
	ID        string              `json:"jti"`
	Session   string              `json:"sid"`
	Events    map[string]struct{} `json:"events"`
}

// token returns a logout token, signed as the client's ID tokens are.
func (n *Notifier) token(ctx context.Context, notice userpool.LogoutNotice, client userpool.Client) (string, error) {
	pool, err := n.Pools.Pool(ctx, notice.Pool)
	if err != nil {
		return "", err
	}
	keys, err := n.Keys.Signing(ctx, userpool.KeyOwner(pool.Name), cmp.Or(client.Algorithm, pool.Settings.Algorithm))
	if err != nil {
		return "", err
	}
	now := n.Now()
	return jwt.Sign(keys[len(keys)-1], TokenType, claims{
		Issuer: userpool.Issuer(n.PublicURL, pool.Name), Subject: notice.UserID, Audience: client.ID, IssuedAt: now.Unix(), ExpiresAt: now.Add(tokenLife).Unix(),
		ID: name.NewID("lo"), Session: notice.SessionID, Events: map[string]struct{}{event: {}},
	})
}

// send returns why the client was not told, or "", and whether it would be of no
// use to try again.
func (n *Notifier) send(ctx context.Context, client userpool.Client, token string) (failure string, final bool) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer, err := n.Sender.Do(ctx, outbound.Request{
		Method: http.MethodPost, URL: client.BackchannelLogoutURI, Purpose: "back-channel logout", MaxBody: maxAnswer,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:   []byte(url.Values{"logout_token": {token}}.Encode()),
	})
	switch {
	case err != nil:
		f := fault.As(err)
		return strings.TrimSpace(f.Code + ": " + f.Message), f.Kind == fault.Forbidden || f.Kind == fault.Invalid
	case answer.Status == http.StatusOK || answer.Status == http.StatusNoContent:
		return "", true
	default:
		// 400 is the client's word that it will not (section 2.8).
		return fmt.Sprintf("the client answered with status %d", answer.Status), answer.Status == http.StatusBadRequest
	}
}

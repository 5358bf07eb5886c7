// Package assertion says to third parties who a user is: in JWTs of the user's own pool, for one audience and one use.
//
// A third party that trusts the issuer of a user pool can give an agent a token
// for that pool's users without asking them (RFC 7523, RFC 8693). The agent
// never sees the assertion, and nobody else's is made than that of the user whom
// it acts for.
package assertion

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Life is how long an assertion is good: it is used at once.
const Life = 2 * time.Minute

// Keys are the pools' signing keys; keys.Ring has them.
type Keys interface {
	// Signing returns the owner's keys with one of the algorithm among them, which signs if it is the last one.
	Signing(ctx context.Context, owner, algorithm string) ([]jwt.Key, error)
}

// Asserter makes assertions. All fields are required.
type Asserter struct {
	PublicURL   string // of the identity service
	TrustDomain string // of the workloads' SPIFFE IDs
	Pools       userpool.Pools
	Users       userpool.Users
	Keys        Keys
	Now         func() time.Time
}

// claims are those of RFC 7523, section 3, with the agent as the actor (RFC
// 8693, section 4.1).
type claims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	ClientID  string `json:"client_id"`
	IssuedAt  int64  `json:"iat"`
	ExpiresAt int64  `json:"exp"`
	ID        string `json:"jti"`
	Email     string `json:"email,omitempty"` // verified, for third parties that know people by it
	Actor     actor  `json:"act"`
}

type actor struct {
	Subject string `json:"sub"`
}

// Assert returns a JWT that says to audience that clientID acts for u, by the
// workload w. A user of another issuer than a pool of this Deputy, or one who is
// disabled or gone, is a fault of kind Forbidden with code "user_not_asserted".
func (a *Asserter) Assert(ctx context.Context, w name.Workload, u name.User, audience, clientID string) (secret.Text, error) {
	poolName, ok := userpool.PoolOfIssuer(a.PublicURL, u.Issuer)
	if !ok {
		return secret.Text{}, notAsserted("the user does not belong to a user pool of this Deputy")
	}
	pool, err := a.Pools.Pool(ctx, poolName)
	if err != nil {
		return secret.Text{}, gone(err)
	}
	user, err := a.Users.User(ctx, pool.Name, u.Subject)
	if err != nil {
		return secret.Text{}, gone(err)
	}
	if user.Disabled {
		return secret.Text{}, notAsserted("the user is disabled")
	}
	keys, err := a.Keys.Signing(ctx, userpool.KeyOwner(pool.Name), pool.Settings.Algorithm)
	if err != nil {
		return secret.Text{}, err
	}
	now := a.Now()
	c := claims{
		Issuer: u.Issuer, Subject: u.Subject, Audience: audience, ClientID: clientID, IssuedAt: now.Unix(), ExpiresAt: now.Add(Life).Unix(),
		ID: name.NewToken("as"), Actor: actor{w.SPIFFEID(a.TrustDomain)},
	}
	if user.EmailVerified {
		c.Email = user.Email
	}
	token, err := jwt.Sign(keys[len(keys)-1], "JWT", c) // the type that every third party takes; the audience is what keeps it from being used here
	return secret.FromString(token), err
}

func gone(err error) error {
	if fault.Is(err, fault.NotFound) {
		return notAsserted("the user is not there any more")
	}
	return err
}

func notAsserted(why string) error {
	return fault.New(fault.Forbidden, "user_not_asserted", "nothing can be said about the user to a third party: %s", why).
		WithFix("use a credential provider with the flow USER_FEDERATION for such users")
}

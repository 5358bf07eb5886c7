package workload

import (
	"context"
	"encoding/json"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// TokenType is the "typ" header of a workload access token. No other token of
// Deputy has it, so none can be taken for one.
const TokenType = "wat+jwt"

// MaxTokenLife bounds the life of a workload access token.
const MaxTokenLife = 15 * time.Minute

// maxChain bounds the delegation chain of a token, minted or believed.
const maxChain = 8

// Tokens mints and verifies workload access tokens: signed JWTs whose subject
// is the user acted for and whose "act" names the workload (RFC 8693, section
// 4.1). The user's issuer stands in "sub_id" (RFC 9493, section 3.2.4), because
// "iss" is Deputy itself.
type Tokens struct {
	Issuer      string // Deputy's public URL: "iss" and "aud"
	TrustDomain string
	Keys        []jwt.Key // to begin with; the last one signs
	Standings   Standings // asked with every use of a token
	Now         func() time.Time

	keys     jwt.Current
	verdicts *jwt.Verdicts[proven]
}

// proven is what a token proves, and when it was issued.
type proven struct {
	caller name.Caller
	issued time.Time
}

type actor struct {
	Subject string `json:"sub"`
	Actor   *actor `json:"act,omitempty"`
}

type subjectID struct {
	Format  string `json:"format"`
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

type tokenClaims struct {
	Issuer    string     `json:"iss"`
	Audience  string     `json:"aud"`
	Subject   string     `json:"sub"`
	SubjectID *subjectID `json:"sub_id,omitempty"`
	Actor     *actor     `json:"act,omitempty"`
	IssuedAt  int64      `json:"iat"`
	IssuedMS  int64      `json:"iat_ms"` // the same in milliseconds: what is revoked in the second of its issue is told from what comes after
	Expires   int64      `json:"exp"`
	ID        string     `json:"jti"`
}

// Ready prepares t for use, after its fields are set and before it is shared.
func (t *Tokens) Ready() *Tokens {
	t.keys.Use(t.Keys...)
	t.verdicts = jwt.NewVerdicts[proven](t.Now)
	return t
}

// Use replaces the keys, when they are rotated; the last one signs. A key is
// left out only when the tokens that it signed have expired.
func (t *Tokens) Use(keys []jwt.Key) { t.keys.Use(keys...) }

// JWKS returns the public keys, for offline verification.
func (t *Tokens) JWKS() []byte { return t.keys.Set().JWKS() }

// Mint returns a token with which w acts for u (zero: for itself), and its
// expiry. chain holds the agents that called w on the user's behalf, nearest
// first. A chain that is too long, or in which an agent stands twice, is a fault
// of kind Forbidden; one without a user, whom nobody could have delegated for,
// is of kind Invalid; for somebody who is deleted or disabled there are the faults of
// [Standings].
func (t *Tokens) Mint(ctx context.Context, w name.Workload, u name.User, chain []name.Workload) (secret.Text, time.Time, error) {
	if err := checkChain(w, u, chain); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return t.sign(ctx, TokenType, t.Issuer, name.Caller{Kind: name.Agent, Workload: w, User: u, Chain: chain}, MaxTokenLife)
}

// Verify returns the caller that a token proves. A token that proves nothing, or
// not any more, is a fault of kind Unauthenticated.
func (t *Tokens) Verify(ctx context.Context, token secret.Text) (name.Caller, error) {
	p, err := t.verdicts.Verify(token.RevealString(), func(token string) (proven, time.Time, error) {
		return t.read(token, TokenType, t.Issuer)
	})
	if err != nil {
		return name.Caller{}, err
	}
	return p.caller, t.holds(ctx, p)
}

// sign returns a token that says who c is, with the time of its issue as the
// store will see it: no token is born revoked because clocks differ.
func (t *Tokens) sign(ctx context.Context, typ, audience string, c name.Caller, life time.Duration) (secret.Text, time.Time, error) {
	since, err := t.since(ctx, c)
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	now := t.Now()
	expires := now.Add(life).Truncate(time.Second)
	claims := tokenClaims{
		Issuer: t.Issuer, Audience: audience, Subject: c.Workload.SPIFFEID(t.TrustDomain),
		IssuedAt: now.Unix(), IssuedMS: max(now.UnixMilli(), since.UnixMilli()), Expires: expires.Unix(), ID: name.NewID("wat"),
	}
	if !c.User.IsZero() {
		claims.Subject = c.User.Subject
		claims.SubjectID = &subjectID{"iss_sub", c.User.Issuer, c.User.Subject}
		claims.Actor = &actor{Subject: c.Workload.SPIFFEID(t.TrustDomain)}
		link := claims.Actor
		for _, w := range c.Chain {
			link.Actor = &actor{Subject: w.SPIFFEID(t.TrustDomain)}
			link = link.Actor
		}
	}
	token, err := jwt.Sign(t.keys.Signer(), typ, claims)
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return secret.FromString(token), expires, nil
}

// read returns what a token of a type proves to an audience.
func (t *Tokens) read(token, typ, audience string) (proven, time.Time, error) {
	claims, err := t.keys.Set().Verify(token, jwt.Expect{
		Issuer: t.Issuer, Audience: audience, Types: []string{typ}, Algorithms: []string{jwt.ES256, jwt.EdDSA}, Now: t.Now,
	})
	if err != nil {
		return proven{}, time.Time{}, err
	}
	p, err := t.caller(claims.Raw)
	return p, claims.ExpiresAt, err
}

// holds returns nil if what p says has not ended since it was issued.
func (t *Tokens) holds(ctx context.Context, p proven) error {
	since, err := t.since(ctx, p.caller)
	if err == nil && p.issued.Before(since) {
		err = fault.New(fault.Unauthenticated, "token_revoked", "the token has been revoked").WithFix("get another one, with the proof that this one was got with")
	}
	return err
}

func (t *Tokens) caller(raw json.RawMessage) (proven, error) {
	var c tokenClaims
	if err := json.Unmarshal(raw, &c); err != nil {
		return proven{}, badClaims(err)
	}
	self := c.Subject
	caller := name.Caller{Kind: name.Agent}
	if c.SubjectID == nil && c.Actor != nil {
		// An agent that acts for an agent: whoever stands in "act" would be overlooked.
		return proven{}, badClaims(nil)
	}
	if c.SubjectID != nil {
		if c.SubjectID.Format != "iss_sub" || c.SubjectID.Subject != c.Subject || c.SubjectID.Issuer == "" || c.Actor == nil {
			return proven{}, badClaims(nil)
		}
		caller.User = name.User{Issuer: c.SubjectID.Issuer, Subject: c.Subject}
		self = c.Actor.Subject
	}
	var err error
	if caller.Workload, err = name.ParseSPIFFEID(t.TrustDomain, self); err != nil {
		return proven{}, badClaims(err)
	}
	if c.Actor != nil {
		for a := c.Actor.Actor; a != nil; a = a.Actor {
			w, err := name.ParseSPIFFEID(t.TrustDomain, a.Subject)
			if err != nil || len(caller.Chain) == maxChain {
				return proven{}, badClaims(err)
			}
			caller.Chain = append(caller.Chain, w)
		}
	}
	if err := checkChain(caller.Workload, caller.User, caller.Chain); err != nil {
		return proven{}, badClaims(err)
	}
	return proven{caller, time.UnixMilli(c.IssuedMS)}, nil
}

// checkChain holds what every chain keeps to, so that no token is minted that
// would not be believed and agents that call each other in a circle come to an end.
func checkChain(w name.Workload, u name.User, chain []name.Workload) error {
	if len(chain) > 0 && u.IsZero() {
		return fault.New(fault.Invalid, "chain_without_user", "agents act in a chain for a user, and there is none")
	}
	if len(chain) > maxChain {
		return fault.New(fault.Forbidden, "chain_too_long", "%d agents called each other before %s, and at most %d may", len(chain), w, maxChain)
	}
	seen := map[name.Workload]bool{w: true}
	for _, link := range chain {
		if seen[link] {
			return fault.New(fault.Forbidden, "chain_loop", "%s is in the chain of agents already", link)
		}
		seen[link] = true
	}
	return nil
}

func badClaims(err error) error {
	return fault.Wrap(err, fault.Unauthenticated, "token_malformed", "the workload access token has claims that Deputy does not write")
}

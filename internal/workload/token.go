package workload

import (
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
	Now         func() time.Time

	keys     jwt.Current
	verdicts *jwt.Verdicts[name.Caller]
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
	Expires   int64      `json:"exp"`
	ID        string     `json:"jti"`
}

// Ready prepares t for use, after its fields are set and before it is shared.
func (t *Tokens) Ready() *Tokens {
	t.keys.Use(t.Keys...)
	t.verdicts = jwt.NewVerdicts[name.Caller](t.Now)
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
// is of kind Invalid.
func (t *Tokens) Mint(w name.Workload, u name.User, chain []name.Workload) (secret.Text, time.Time, error) {
	if err := checkChain(w, u, chain); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	now := t.Now()
	expires := now.Add(MaxTokenLife).Truncate(time.Second)
	c := tokenClaims{
		Issuer: t.Issuer, Audience: t.Issuer, Subject: w.SPIFFEID(t.TrustDomain),
		IssuedAt: now.Unix(), Expires: expires.Unix(), ID: name.NewID("wat"),
	}
	if !u.IsZero() {
		c.Subject = u.Subject
		c.SubjectID = &subjectID{"iss_sub", u.Issuer, u.Subject}
		c.Actor = &actor{Subject: w.SPIFFEID(t.TrustDomain)}
		link := c.Actor
		for _, w := range chain {
			link.Actor = &actor{Subject: w.SPIFFEID(t.TrustDomain)}
			link = link.Actor
		}
	}
	token, err := jwt.Sign(t.keys.Signer(), TokenType, c)
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return secret.FromString(token), expires, nil
}

// Verify returns the caller that a token proves. A token that proves nothing is
// a fault of kind Unauthenticated.
func (t *Tokens) Verify(token secret.Text) (name.Caller, error) {
	return t.verdicts.Verify(token.RevealString(), func(token string) (name.Caller, time.Time, error) {
		claims, err := t.keys.Set().Verify(token, jwt.Expect{
			Issuer: t.Issuer, Audience: t.Issuer, Types: []string{TokenType},
			Algorithms: []string{jwt.ES256, jwt.EdDSA}, Now: t.Now,
		})
		if err != nil {
			return name.Caller{}, time.Time{}, err
		}
		c, err := t.caller(claims.Raw)
		return c, claims.ExpiresAt, err
	})
}

func (t *Tokens) caller(raw json.RawMessage) (name.Caller, error) {
	var c tokenClaims
	if err := json.Unmarshal(raw, &c); err != nil {
		return name.Caller{}, badClaims(err)
	}
	self := c.Subject
	caller := name.Caller{Kind: name.Agent}
	if c.SubjectID == nil && c.Actor != nil {
		// An agent that acts for an agent: whoever stands in "act" would be overlooked.
		return name.Caller{}, badClaims(nil)
	}
	if c.SubjectID != nil {
		if c.SubjectID.Format != "iss_sub" || c.SubjectID.Subject != c.Subject || c.SubjectID.Issuer == "" || c.Actor == nil {
			return name.Caller{}, badClaims(nil)
		}
		caller.User = name.User{Issuer: c.SubjectID.Issuer, Subject: c.Subject}
		self = c.Actor.Subject
	}
	var err error
	if caller.Workload, err = name.ParseSPIFFEID(t.TrustDomain, self); err != nil {
		return name.Caller{}, badClaims(err)
	}
	if c.Actor != nil {
		for a := c.Actor.Actor; a != nil; a = a.Actor {
			w, err := name.ParseSPIFFEID(t.TrustDomain, a.Subject)
			if err != nil || len(caller.Chain) == maxChain {
				return name.Caller{}, badClaims(err)
			}
			caller.Chain = append(caller.Chain, w)
		}
	}
	if err := checkChain(caller.Workload, caller.User, caller.Chain); err != nil {
		return name.Caller{}, badClaims(err)
	}
	return caller, nil
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

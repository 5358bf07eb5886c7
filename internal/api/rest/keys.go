package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

type rotation struct {
	Algorithm string `json:"algorithm,omitempty" enum:"ES256,EdDSA,RS256" doc:"The pool's if left out"`
}

type signingKeyJSON struct {
	ID             string        `json:"id" doc:"The kid in the header of tokens"`
	Algorithm      string        `json:"algorithm"`
	State          keys.KeyState `json:"state" enum:"waiting,signs,former" doc:"Keys of every state are published"`
	CreatedAt      time.Time     `json:"createdAt"`
	SignsFrom      time.Time     `json:"signsFrom"`
	PublishedUntil time.Time     `json:"publishedUntil,omitzero" doc:"Left out until the key has a successor"`
}

func signingKey(k keys.KeyStatus) signingKeyJSON {
	return signingKeyJSON{k.ID, k.Algorithm, k.State, k.Created, k.SignsFrom, k.PublishedUntil}
}

func (a *API) listSigningKeys(c *call) (any, error) {
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	list, err := a.Keys.SigningKeys(c.ctx, userpool.KeyOwner(pool.Name))
	return listOf(list, signingKey), err
}

func (a *API) rotateSigningKey(c *call) (any, error) {
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	in := rotation{Algorithm: pool.Settings.Algorithm}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, err := a.Keys.Rotate(c.ctx, c.caller, userpool.KeyOwner(pool.Name), in.Algorithm)
	return signingKey(made), err
}

// tokenKeyOwner returns the owner that the path names: one of those whose keys
// sign Deputy's own tokens.
func tokenKeyOwner(c *call) (string, error) {
	owner := c.path("tokens")
	if owner != keys.WorkloadTokens && owner != keys.LaunchTokens {
		return "", fault.New(fault.NotFound, "signingkey_not_found", "there are no keys for %q", name.Clip(owner, 80)).
			WithFix("choose %s or %s", keys.WorkloadTokens, keys.LaunchTokens)
	}
	return owner, nil
}

func (a *API) listTokenKeys(c *call) (any, error) {
	owner, err := tokenKeyOwner(c)
	if err != nil {
		return nil, err
	}
	list, err := a.Keys.SigningKeys(c.ctx, owner)
	return listOf(list, signingKey), err
}

func (a *API) rotateTokenKey(c *call) (any, error) {
	owner, err := tokenKeyOwner(c)
	if err != nil {
		return nil, err
	}
	made, err := a.Keys.Rotate(c.ctx, c.caller, owner, jwt.ES256)
	return signingKey(made), err
}

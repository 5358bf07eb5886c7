package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/userpool"
)

type newUserPool struct {
	Name        string `json:"name" example:"people"`
	DisplayName string `json:"displayName,omitempty" example:"The people of Example Ltd."`
}

type userPoolJSON struct {
	Name         string    `json:"name"`
	DisplayName  string    `json:"displayName,omitempty"`
	Issuer       string    `json:"issuer"`
	DiscoveryURL string    `json:"discoveryUrl"`
	CreatedAt    time.Time `json:"createdAt"`
}

func (a *API) userPool(p userpool.Pool) userPoolJSON {
	issuer := userpool.Issuer(a.PublicURL, p.Name)
	return userPoolJSON{p.Name, p.DisplayName, issuer, issuer + "/.well-known/openid-configuration", p.CreatedAt}
}

func (a *API) listUserPools(c *call) (any, error) {
	pools, err := a.Pools.Pools(c.ctx)
	return listOf(pools, a.userPool), err
}

func (a *API) createUserPool(c *call) (any, error) {
	var in newUserPool
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	pool := userpool.Pool{Name: in.Name, DisplayName: in.DisplayName, Settings: userpool.DefaultSettings(), CreatedAt: a.now()}
	if err := pool.Check(); err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionCreatePool, pool.Resource())
	if err != nil {
		return nil, err
	}
	return a.userPool(pool), a.Pools.CreatePool(c.ctx, p, pool)
}

func (a *API) getUserPool(c *call) (any, error) {
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	return a.userPool(pool), err
}

// now is the time with the precision that stores keep.
func (a *API) now() time.Time { return a.Now().UTC().Truncate(time.Millisecond) }

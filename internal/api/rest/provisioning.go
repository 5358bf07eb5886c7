package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

type newProvisioning struct {
	Name string `json:"name" example:"personnel" doc:"Who calls with it, in the audit log"`
}

type provisioningJSON struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Token     string    `json:"token,omitempty" doc:"Shown only when it is made"`
	URL       string    `json:"url" doc:"What the provisioning system calls"`
	CreatedAt time.Time `json:"createdAt"`
}

func (a *API) provisioning(t userpool.ProvisioningToken) provisioningJSON {
	return provisioningJSON{t.ID, t.Name, "", userpool.Issuer(a.PublicURL, t.Pool) + "/scim/v2", t.CreatedAt}
}

func (a *API) listProvisioning(c *call) (any, error) {
	if _, err := a.Pools.Pool(c.ctx, c.path("pool")); err != nil {
		return nil, err
	}
	tokens, err := a.Provisioning.ProvisioningTokens(c.ctx, c.path("pool"))
	return listOf(tokens, a.provisioning), err
}

func (a *API) createProvisioning(c *call) (any, error) {
	var in newProvisioning
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	fresh := secret.FromString(name.NewToken(userpool.ProvisioningPrefix))
	t := userpool.ProvisioningToken{ID: name.NewID("prv"), Pool: c.path("pool"), Name: in.Name, Hash: userpool.HashProvisioning(fresh), CreatedAt: a.now()}
	if err := t.Check(); err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionCreateProvisioning, userpool.ProvisioningResource(t.Pool, t.ID))
	if err != nil {
		return nil, err
	}
	shown := a.provisioning(t)
	shown.Token = fresh.RevealString()
	return shown, a.Provisioning.AddProvisioningToken(c.ctx, p.Detail(map[string]string{"name": t.Name}), t)
}

func (a *API) deleteProvisioning(c *call) (any, error) {
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionDeleteProvisioning, userpool.ProvisioningResource(c.path("pool"), c.path("token")))
	if err != nil {
		return nil, err
	}
	return nil, a.Provisioning.DeleteProvisioningToken(c.ctx, p, c.path("pool"), c.path("token"))
}

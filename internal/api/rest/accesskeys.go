package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/accesskey"
)

type newAccessKey struct {
	Name      string    `json:"name" example:"nightly-import" doc:"Who signs with it, in the audit log"`
	ExpiresAt time.Time `json:"expiresAt,omitzero" doc:"At most 366 days from now; 90 days if left out"`
}

type accessKeyJSON struct {
	ID         string    `json:"id" doc:"The access key id"`
	Name       string    `json:"name"`
	CreatedAt  time.Time `json:"createdAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
	LastUsedAt time.Time `json:"lastUsedAt,omitzero"`
	Secret     string    `json:"secret,omitempty" doc:"The secret access key; shown once, when the key is created"`
}

func accessKey(k accesskey.Key) accessKeyJSON {
	return accessKeyJSON{ID: k.ID, Name: k.Name, CreatedAt: k.Created, ExpiresAt: k.Expires, LastUsedAt: k.Used}
}

func (a *API) listAccessKeys(c *call) (any, error) {
	of, err := a.Workloads.Store.Workload(c.ctx, c.workload())
	if err != nil {
		return nil, err
	}
	found, err := a.AccessKeys.Store.AccessKeys(c.ctx, of.Identity)
	return listOf(found, accessKey), err
}

func (a *API) createAccessKey(c *call) (any, error) {
	var in newAccessKey
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, plain, err := a.AccessKeys.Create(c.ctx, c.caller, c.workload(), in.Name, a.until(in.ExpiresAt))
	if err != nil {
		return nil, err
	}
	shown := accessKey(made)
	shown.Secret = plain.RevealString()
	return shown, nil
}

func (a *API) deleteAccessKey(c *call) (any, error) {
	return nil, a.AccessKeys.Delete(c.ctx, c.caller, c.workload(), c.path("key"))
}

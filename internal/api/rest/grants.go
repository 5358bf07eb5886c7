package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vault"
)

// heldBy are the parameters that lists of grants and of delegations share.
var heldBy = append([]parameter{
	{"provider", "string", "Only of this credential provider"},
	{"user", "string", "Only of the user with this subject"},
	{"issuer", "string", "Only of users of this issuer"},
}, page...)

var (
	grantQuery      = append([]parameter{{"state", "string", "Only in this state: active or reauthorize"}}, heldBy...)
	delegationQuery = append([]parameter{{"workload", "string", "Only to this workload of the pool"}}, heldBy...)
)

type grantJSON struct {
	ID        string      `json:"id"`
	Provider  string      `json:"provider"`
	User      name.User   `json:"user"`
	Account   string      `json:"account,omitempty" doc:"The user's name at the third party"`
	Scopes    name.Scopes `json:"scopes"`
	State     vault.State `json:"state" enum:"active,reauthorize"`
	Reason    string      `json:"reason,omitempty"`
	ExpiresAt *time.Time  `json:"expiresAt,omitempty" doc:"Of the access token; it is refreshed by itself"`
	UsedAt    *time.Time  `json:"usedAt,omitempty" doc:"When a credential was last asked for, to an hour or so"`
	CreatedAt time.Time   `json:"createdAt"`
	UpdatedAt time.Time   `json:"updatedAt"`
}

func grant(g vault.Grant) grantJSON {
	return grantJSON{g.ID, g.Provider, g.User, g.Account.Name, g.Scopes, g.State, g.Reason, optional(g.Expires), optional(g.Used), g.Created, g.Updated}
}

type delegationJSON struct {
	ID        string      `json:"id"`
	Workload  string      `json:"workload"`
	Grant     string      `json:"grant"`
	Provider  string      `json:"provider"`
	User      name.User   `json:"user"`
	Account   string      `json:"account,omitempty" doc:"The user's name at the third party"`
	Scopes    name.Scopes `json:"scopes" doc:"What the workload may use; never more than the grant has"`
	State     vault.State `json:"state" doc:"Of the grant" enum:"active,reauthorize"`
	CreatedAt time.Time   `json:"createdAt"`
	UpdatedAt time.Time   `json:"updatedAt"`
}

func delegation(h vault.Holding) delegationJSON {
	d, g := h.Delegation, h.Grant
	return delegationJSON{d.ID, d.Workload.Name, g.ID, g.Provider, g.User, g.Account.Name, d.Scopes.Intersect(g.Scopes), g.State, d.Created, d.Updated}
}

type revocationJSON struct {
	ID        string    `json:"id"`
	Grant     string    `json:"grant" doc:"Which is gone"`
	Provider  string    `json:"provider"`
	User      name.User `json:"user"`
	Account   string    `json:"account,omitempty" doc:"The user's name at the third party"`
	Cause     string    `json:"cause" doc:"What ended the grant" example:"provider.delete"`
	Attempts  int64     `json:"attempts" doc:"That have failed so far"`
	LastError string    `json:"lastError,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	DueAt     time.Time `json:"dueAt" doc:"Of the next attempt"`
	GiveUpAt  time.Time `json:"giveUpAt"`
}

func revocation(r vault.Revocation) revocationJSON {
	return revocationJSON{r.ID(), r.GrantID, r.Provider, r.User, r.Account, r.Cause, r.Attempts, r.LastError, r.Created, r.Due, r.Created.Add(vault.RevocationLife)}
}

// optional is nil for an unknown time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// held reads the parameters of a list, and checks that the pool is there.
func (a *API) held(c *call) (vault.Filter, error) {
	f := vault.Filter{
		Pool: c.path("pool"), Provider: c.query["provider"], Issuer: c.query["issuer"], Subject: c.query["user"], Workload: c.query["workload"],
		State: vault.State(c.query["state"]), After: c.query["after"],
	}
	switch f.State {
	case "", vault.Active, vault.Reauthorize:
	default:
		return f, fault.New(fault.Invalid, "parameter_invalid", "state=%s is not valid", name.Clip(string(f.State), 40)).
			WithSource("state").WithFix("use %s or %s", vault.Active, vault.Reauthorize)
	}
	var err error
	if f.Limit, err = c.number("limit", 100, 1, 500); err != nil {
		return f, err
	}
	_, err = a.Workloads.Store.WorkloadPool(c.ctx, f.Pool)
	return f, err
}

func (a *API) listGrants(c *call) (any, error) {
	f, err := a.held(c)
	if err != nil {
		return nil, err
	}
	found, err := a.Vault.Held.Grants(c.ctx, f)
	l := listOf(found, grant)
	if len(found) == f.Limit {
		l.Next = found[f.Limit-1].ID
	}
	return l, err
}

func (a *API) getGrant(c *call) (any, error) {
	found, err := a.Vault.Held.Grants(c.ctx, vault.Filter{Pool: c.path("pool"), ID: c.path("grant"), Limit: 1})
	if err == nil && len(found) == 0 {
		err = vault.NotFound(c.path("grant"))
	}
	if err != nil {
		return nil, err
	}
	return grant(found[0]), nil
}

func (a *API) deleteGrant(c *call) (any, error) {
	return nil, a.Vault.Delete(c.ctx, c.caller, c.path("pool"), c.path("grant"))
}

func (a *API) listDelegations(c *call) (any, error) {
	f, err := a.held(c)
	if err != nil {
		return nil, err
	}
	found, err := a.Vault.Held.Delegations(c.ctx, f)
	l := listOf(found, delegation)
	if len(found) == f.Limit {
		l.Next = found[f.Limit-1].Delegation.ID
	}
	return l, err
}

func (a *API) getDelegation(c *call) (any, error) {
	found, err := a.Vault.Held.Delegations(c.ctx, vault.Filter{Pool: c.path("pool"), ID: c.path("delegation"), Limit: 1})
	if err == nil && len(found) == 0 {
		err = vault.DelegationNotFound(c.path("delegation"))
	}
	if err != nil {
		return nil, err
	}
	return delegation(found[0]), nil
}

func (a *API) deleteDelegation(c *call) (any, error) {
	return nil, a.Vault.Withdraw(c.ctx, c.caller, c.path("pool"), c.path("delegation"))
}

func (a *API) listRevocations(c *call) (any, error) {
	f, err := a.held(c)
	if err != nil {
		return nil, err
	}
	found, err := a.Vault.Revocations.Pending(c.ctx, f.Pool, f.After, f.Limit)
	l := listOf(found, revocation)
	if len(found) == f.Limit {
		l.Next = found[f.Limit-1].ID()
	}
	return l, err
}

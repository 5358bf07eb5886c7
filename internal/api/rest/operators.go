package rest

import (
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/workload"
)

// leastRoles has the least role for each auth of operators. With the auth of
// each endpoint's row, it is all that decides about roles.
var leastRoles = map[auth]operator.Role{
	everybody: operator.Auditor, readers: operator.Auditor, operators: operator.Operator, owners: operator.Owner,
}

// admit lets an operator call e if his role and the pools that he is limited to
// allow it. A refusal is recorded before it is answered.
func (a *API) admit(c *call, e endpoint, token secret.Text) error {
	t, err := a.Operators.Verify(c.ctx, token)
	if err != nil {
		return err
	}
	c.caller, c.role, c.pools = t.Caller(), t.Role, t.Pools
	pool, refusal := c.path("pool"), reachable(c, e)
	if least, ok := leastRoles[e.auth]; refusal == nil && ok && !t.Role.AtLeast(least) {
		refusal = fault.New(fault.Forbidden, "role_insufficient", "%s needs the role %s, and %s has the role %s", e.id, least, c.caller, t.Role).
			WithFix("have an %s do it", least)
	}
	if refusal == nil {
		return nil
	}
	r := guard.Resource{Kind: "endpoint", Pool: name.Clip(pool, 80), ID: e.id}
	if err := a.Guard.Refuse(c.ctx, c.caller, "endpoint.call", r, refusal.Code, map[string]string{"role": string(t.Role)}); err != nil {
		return err
	}
	return refusal
}

// reachable returns why an endpoint is out of reach for an operator who is
// limited to some pools. One of another pool answers him as if there were no such
// pool, whether there is one or not.
func reachable(c *call, e endpoint) *fault.Error {
	pool := c.path("pool")
	switch {
	case !c.pools.Limited() || e.auth == everybody || e.auth == known:
		return nil
	case strings.HasPrefix(e.path, "/user-pools/{pool}"):
		if c.pools.HasUser(pool) {
			return nil
		}
		return userpool.NotFound("userpool", pool)
	case strings.HasPrefix(e.path, "/workload-pools/{pool}"):
		if c.pools.HasWorkload(pool) {
			return nil
		}
		return workload.PoolNotFound(pool)
	default:
		return fault.New(fault.Forbidden, "pools_limited", "%s is about all pools, and %s is limited to some", e.id, c.caller).
			WithFix("have an operator do it who is not limited")
	}
}

// poolLimit are pools by name.
type poolLimit struct {
	User     []string `json:"user,omitempty" doc:"User pools"`
	Workload []string `json:"workload,omitempty" doc:"Workload pools"`
}

// limitOf returns nil for no limit.
func limitOf(p operator.Pools) *poolLimit {
	if !p.Limited() {
		return nil
	}
	return &poolLimit{p.User, p.Workload}
}

type newOperatorToken struct {
	Name      string        `json:"name" example:"nightly-backup" doc:"Who calls with it, in the audit log"`
	Role      operator.Role `json:"role" enum:"auditor,operator,owner" doc:"Auditors read everything and change nothing; owners also say who operates, and rotate keys"`
	Pools     *poolLimit    `json:"pools,omitempty" doc:"It sees nothing but these pools; all, if left out"`
	ExpiresAt time.Time     `json:"expiresAt,omitzero" doc:"At most 366 days from now; 90 days if left out"`
}

type operatorTokenJSON struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Role       operator.Role `json:"role" enum:"auditor,operator,owner"`
	Pools      *poolLimit    `json:"pools,omitempty"`
	CreatedAt  time.Time     `json:"createdAt"`
	ExpiresAt  time.Time     `json:"expiresAt,omitzero" doc:"Left out if it never does, as the first one"`
	LastUsedAt time.Time     `json:"lastUsedAt,omitzero" doc:"To a minute; left out if it was never used"`
	Token      string        `json:"token,omitempty" doc:"Sent as a bearer token; shown once, when it is created"`
}

func operatorToken(t operator.Token) operatorTokenJSON {
	return operatorTokenJSON{ID: t.ID, Name: t.Name, Role: t.Role, Pools: limitOf(t.Pools), CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, LastUsedAt: t.UsedAt}
}

func (a *API) listOperatorTokens(c *call) (any, error) {
	tokens, err := a.Operators.Store.Tokens(c.ctx)
	return listOf(tokens, operatorToken), err
}

func (a *API) createOperatorToken(c *call) (any, error) {
	var in newOperatorToken
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	var pools operator.Pools
	if in.Pools != nil {
		pools = operator.Pools{User: in.Pools.User, Workload: in.Pools.Workload}
		if !pools.Limited() {
			return nil, fault.New(fault.Invalid, "operator-token_pools", "the token is limited to no pool at all").WithSource("pools").WithFix("name pools, or leave it out for a token that is not limited")
		}
		if err := a.poolsExist(c, pools); err != nil {
			return nil, err
		}
	}
	made, token, err := a.Operators.Create(c.ctx, c.caller, in.Name, in.Role, pools, a.until(in.ExpiresAt))
	if err != nil {
		return nil, err
	}
	shown := operatorToken(made)
	shown.Token = token.RevealString()
	return shown, nil
}

// poolsExist refuses a limit to pools that are not there: whoever makes a pool of
// a mistyped name one day would let the token into it.
func (a *API) poolsExist(c *call, pools operator.Pools) error {
	if len(pools.User)+len(pools.Workload) > operator.MaxPools {
		return fault.New(fault.Invalid, "operator-token_pools", "the token is limited to too many pools").WithSource("pools").WithFix("name at most %d", operator.MaxPools)
	}
	for _, pool := range pools.User {
		if _, err := a.Pools.Pool(c.ctx, pool); err != nil {
			return err
		}
	}
	for _, pool := range pools.Workload {
		if _, err := a.Workloads.Store.WorkloadPool(c.ctx, pool); err != nil {
			return err
		}
	}
	return nil
}

func (a *API) deleteOperatorToken(c *call) (any, error) {
	return nil, a.Operators.Revoke(c.ctx, c.caller, c.path("token"))
}

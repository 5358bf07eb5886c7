package rest

import (
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/workload"
)

type whoamiJSON struct {
	Kind     name.CallerKind `json:"kind"`
	Operator string          `json:"operator,omitempty"`
	Token    string          `json:"token,omitempty" doc:"Id of the operator's token"`
	Role     operator.Role   `json:"role,omitempty" enum:"auditor,operator,owner"`
	Pools    *poolLimit      `json:"pools,omitempty" doc:"The operator sees nothing but these pools"`
	Workload string          `json:"workload,omitempty" doc:"SPIFFE ID of the agent"`
	User     *name.User      `json:"user,omitempty" doc:"Whom the agent acts for"`
	Chain    []string        `json:"chain,omitempty" doc:"SPIFFE IDs of the agents that delegated, nearest first"`
}

func (a *API) whoami(c *call) (any, error) {
	w := whoamiJSON{Kind: c.caller.Kind, Operator: c.caller.Operator, Token: c.caller.Token, Role: c.role, Pools: limitOf(c.pools), Chain: a.chain(c.caller)}
	if !c.caller.Workload.IsZero() {
		w.Workload = c.caller.Workload.SPIFFEID(a.TrustDomain)
	}
	if !c.caller.User.IsZero() {
		w.User = &c.caller.User
	}
	return w, nil
}

type newWorkloadPool struct {
	Name        string `json:"name" example:"research"`
	Description string `json:"description,omitempty"`
}

type workloadPoolJSON struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	CreatedAt   time.Time `json:"createdAt"`
}

func workloadPool(p workload.Pool) workloadPoolJSON {
	return workloadPoolJSON{p.Name, p.Description, p.Created}
}

func (a *API) listWorkloadPools(c *call) (any, error) {
	pools, err := a.Workloads.Store.WorkloadPools(c.ctx)
	pools = slices.DeleteFunc(pools, func(p workload.Pool) bool { return !c.pools.HasWorkload(p.Name) })
	return listOf(pools, workloadPool), err
}

func (a *API) createWorkloadPool(c *call) (any, error) {
	var in newWorkloadPool
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, err := a.Workloads.CreatePool(c.ctx, c.caller, in.Name, in.Description)
	return workloadPool(made), err
}

func (a *API) getWorkloadPool(c *call) (any, error) {
	found, err := a.Workloads.Store.WorkloadPool(c.ctx, c.path("pool"))
	return workloadPool(found), err
}

type workloadSettings struct {
	Description string         `json:"description,omitempty"`
	ReturnURLs  []string       `json:"returnUrls,omitempty" doc:"Where people's browsers may be sent after an authorization; compared letter by letter"`
	Disabled    bool           `json:"disabled,omitempty" doc:"It gets no tokens, and those that it has do not hold"`
	AssertsFor  []string       `json:"assertsFor,omitempty" doc:"Issuers of the users for whom it gets tokens by their id alone, without proof"`
	Callers     []string       `json:"callers,omitempty" doc:"Workloads of the pool that may call it for a user"`
	UserTokens  userTokensJSON `json:"userTokens,omitzero" doc:"Whose tokens prove a user to it, if it is no agent of the runtime"`
}

type userTokensJSON struct {
	DiscoveryURL     string   `json:"discoveryUrl"`
	AllowedClients   []string `json:"allowedClients,omitempty" doc:"Any client of the issuer, if left out"`
	AllowedAudiences []string `json:"allowedAudiences,omitempty" doc:"One of them must be the token's"`
}

func (s workloadSettings) settings() workload.Settings {
	return workload.Settings{
		Description: s.Description, ReturnURLs: s.ReturnURLs, Disabled: s.Disabled,
		Trust: workload.Trust{AssertsFor: s.AssertsFor, Callers: s.Callers, UserTokens: workload.UserTokens(s.UserTokens)},
	}
}

type newWorkload struct {
	Name string `json:"name" example:"doc-agent"`
	workloadSettings
}

type workloadJSON struct {
	Name     string `json:"name"`
	Pool     string `json:"pool"`
	SPIFFEID string `json:"spiffeId"`
	workloadSettings
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
}

func (a *API) workload(w workload.Workload) workloadJSON {
	return workloadJSON{
		Name: w.Identity.Name, Pool: w.Identity.Pool, SPIFFEID: w.Identity.SPIFFEID(a.TrustDomain), Version: w.Version, CreatedAt: w.Created,
		workloadSettings: workloadSettings{w.Description, w.ReturnURLs, w.Disabled, w.AssertsFor, w.Callers, userTokensJSON(w.UserTokens)},
	}
}

func (a *API) listWorkloads(c *call) (any, error) {
	found, err := a.Workloads.Store.Workloads(c.ctx, c.path("pool"))
	return listOf(found, a.workload), err
}

func (a *API) createWorkload(c *call) (any, error) {
	var in newWorkload
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, err := a.Workloads.CreateWorkload(c.ctx, c.caller, name.Workload{Pool: c.path("pool"), Name: in.Name}, in.settings())
	return a.workload(made), err
}

func (a *API) updateWorkload(c *call) (any, error) {
	var in workloadSettings
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	changed, err := a.Workloads.UpdateWorkload(c.ctx, c.caller, c.workload(), in.settings())
	return a.workload(changed), err
}

func (c *call) workload() name.Workload {
	return name.Workload{Pool: c.path("pool"), Name: c.path("workload")}
}

func (a *API) getWorkload(c *call) (any, error) {
	found, err := a.Workloads.Store.Workload(c.ctx, c.workload())
	return a.workload(found), err
}

func (a *API) deleteWorkload(c *call) (any, error) {
	return nil, a.Workloads.DeleteWorkload(c.ctx, c.caller, c.workload())
}

// revokeTokens ends the tokens that a workload has.
func (a *API) revokeTokens(c *call) (any, error) {
	return nil, a.Workloads.RevokeTokens(c.ctx, c.caller, c.workload())
}

// revokeUserTokens ends the tokens that agents have for a user of a pool.
func (a *API) revokeUserTokens(c *call) (any, error) {
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	if err != nil {
		return nil, err
	}
	return nil, a.Workloads.RevokeUserTokens(c.ctx, c.caller, name.User{Issuer: userpool.Issuer(a.PublicURL, u.Pool), Subject: u.ID})
}

// revokeForeignTokens does that for a user of any issuer, who need not be known.
func (a *API) revokeForeignTokens(c *call) (any, error) {
	var in name.User
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return nil, a.Workloads.RevokeUserTokens(c.ctx, c.caller, in)
}

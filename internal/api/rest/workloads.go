package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

type whoamiJSON struct {
	Kind     name.CallerKind `json:"kind"`
	Operator string          `json:"operator,omitempty"`
	Workload string          `json:"workload,omitempty" doc:"SPIFFE ID of the agent"`
	User     *name.User      `json:"user,omitempty" doc:"Whom the agent acts for"`
	Chain    []string        `json:"chain,omitempty" doc:"SPIFFE IDs of the agents that delegated, nearest first"`
}

func (a *API) whoami(c *call) (any, error) {
	w := whoamiJSON{Kind: c.caller.Kind, Operator: c.caller.Operator}
	if !c.caller.Workload.IsZero() {
		w.Workload = c.caller.Workload.SPIFFEID(a.TrustDomain)
	}
	if !c.caller.User.IsZero() {
		w.User = &c.caller.User
	}
	for _, link := range c.caller.Chain {
		w.Chain = append(w.Chain, link.SPIFFEID(a.TrustDomain))
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

type newWorkload struct {
	Name        string   `json:"name" example:"doc-agent"`
	Description string   `json:"description,omitempty"`
	ReturnURLs  []string `json:"returnUrls,omitempty" doc:"Where people's browsers may be sent after an authorization; compared letter by letter"`
}

type workloadSettings struct {
	Description string   `json:"description,omitempty"`
	ReturnURLs  []string `json:"returnUrls,omitempty" doc:"Where people's browsers may be sent after an authorization; compared letter by letter"`
}

type workloadJSON struct {
	Name        string    `json:"name"`
	Pool        string    `json:"pool"`
	SPIFFEID    string    `json:"spiffeId"`
	Description string    `json:"description,omitempty"`
	ReturnURLs  []string  `json:"returnUrls,omitempty"`
	Version     int64     `json:"version"`
	CreatedAt   time.Time `json:"createdAt"`
}

func (a *API) workload(w workload.Workload) workloadJSON {
	return workloadJSON{w.Identity.Name, w.Identity.Pool, w.Identity.SPIFFEID(a.TrustDomain), w.Description, w.ReturnURLs, w.Version, w.Created}
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
	made, err := a.Workloads.CreateWorkload(c.ctx, c.caller, name.Workload{Pool: c.path("pool"), Name: in.Name}, workload.Settings{Description: in.Description, ReturnURLs: in.ReturnURLs})
	return a.workload(made), err
}

func (a *API) updateWorkload(c *call) (any, error) {
	var in workloadSettings
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	changed, err := a.Workloads.UpdateWorkload(c.ctx, c.caller, c.workload(), workload.Settings(in))
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

type mintRequest struct {
	UserToken secret.Text `json:"userToken,omitempty" doc:"Reserved: the runtime's ingress hands out tokens for users"`
}

type mintedJSON struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
	Workload  string    `json:"workload"`
}

// mint exchanges the proof of a launch for a token with which the workload
// speaks for itself.
func (a *API) mint(c *call) (any, error) {
	var in mintRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if !in.UserToken.Empty() {
		return nil, fault.New(fault.Invalid, "user_token_unsupported", "a launch token proves the agent only").WithSource("userToken").
			WithFix("a token for a user comes with his request, in the header WorkloadAccessToken")
	}
	token, expires, err := a.Tokens.Mint(c.caller.Workload, name.User{}, nil)
	return mintedJSON{token.RevealString(), expires.UTC(), c.caller.Workload.SPIFFEID(a.TrustDomain)}, err
}

package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

type newAgentKey struct {
	Name      string    `json:"name" example:"nightly-report" doc:"Who calls with it, in the audit log"`
	User      *userRef  `json:"user,omitempty" doc:"For whom it calls; for nobody but itself if left out"`
	ExpiresAt time.Time `json:"expiresAt,omitzero" doc:"At most 366 days from now; 90 days if left out"`
}

type userRef struct {
	Issuer  string `json:"issuer" example:"https://id.example.com/userpool/people"`
	Subject string `json:"subject" example:"usr_4tqv"`
}

type agentKeyJSON struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	User      *userRef  `json:"user,omitempty" doc:"For whom it calls"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Key       string    `json:"key,omitempty" doc:"Sent as a bearer token; shown once, when the key is created"`
	Warning   string    `json:"warning,omitempty" doc:"Why the key is of no use yet"`
}

func agentKey(k agent.Key) agentKeyJSON {
	shown := agentKeyJSON{ID: k.ID, Name: k.Name, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt}
	if !k.User.IsZero() {
		shown.User = &userRef{k.User.Issuer, k.User.Subject}
	}
	return shown
}

// namedAgent returns the agent of the path.
func (a *API) namedAgent(c *call) (agent.Agent, error) {
	return a.Agents.Store.Agent(c.ctx, c.path("pool"), c.path("agent"))
}

func (a *API) listAgentKeys(c *call) (any, error) {
	of, err := a.namedAgent(c)
	if err != nil {
		return nil, err
	}
	keys, err := a.AgentKeys.Store.Keys(c.ctx, of.Pool, of.Name)
	return listOf(keys, agentKey), err
}

func (a *API) createAgentKey(c *call) (any, error) {
	var in newAgentKey
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	of, err := a.namedAgent(c)
	if err != nil {
		return nil, err
	}
	var u name.User
	if in.User != nil {
		if u = (name.User{Issuer: in.User.Issuer, Subject: in.User.Subject}); u.IsZero() {
			return nil, fault.New(fault.Invalid, "agent-key_user", "the key's user has neither issuer nor subject").WithSource("user").WithFix("leave it out for a key that stands for no user")
		}
	}
	made, key, err := a.AgentKeys.Create(c.ctx, c.caller, of.Workload(), in.Name, u, a.until(in.ExpiresAt))
	if err != nil {
		return nil, err
	}
	shown := agentKey(made)
	shown.Key = key.RevealString()
	if !of.Definition.Inbound.APIKeys {
		shown.Warning = "the agent is not called with keys: add key_auth to runtime_auth_type in its agentkit.yaml and launch it again"
	}
	return shown, nil
}

func (a *API) deleteAgentKey(c *call) (any, error) {
	of := name.Workload{Pool: c.path("pool"), Name: c.path("agent")}
	return nil, a.AgentKeys.Revoke(c.ctx, c.caller, of, c.path("key"))
}

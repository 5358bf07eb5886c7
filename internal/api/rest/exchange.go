package rest

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/exchange"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// attest asks the attestors which workload a request is from. They may look at
// its body, which can still be read afterwards.
func (a *API) attest(r *http.Request) (attest.Proof, error) {
	body, err := wire.ReadAll(r.Body, maxBody)
	if err != nil {
		return attest.Proof{}, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	for _, attestor := range a.Attestors {
		if proof, ok, err := attestor.Attest(r, body); ok || err != nil {
			return proof, err
		}
	}
	if _, err := bearer(r); err != nil {
		return attest.Proof{}, err
	}
	return attest.Proof{}, fault.New(fault.Unauthenticated, "proof_unknown", "the request proves no workload in a way that is known here").
		WithFix("send the token from the launch file, or another proof that the operator configured")
}

type tokenRequest struct {
	UserToken secret.Text `json:"userToken,omitempty" doc:"Token of the user to act for, or the call token with which another agent called"`
	User      *name.User  `json:"user,omitempty" doc:"The user to act for by his id alone, which an operator must have allowed the workload"`
	Binding   secret.Text `json:"binding,omitempty" doc:"What the process of a launch made up, 22 to 200 characters: from the first time on, the launch token is worth nothing without it"`
}

type tokenJSON struct {
	Token     string     `json:"token"`
	ExpiresAt time.Time  `json:"expiresAt"`
	Workload  string     `json:"workload" doc:"SPIFFE ID"`
	User      *name.User `json:"user,omitempty" doc:"Whom the workload acts for"`
	Chain     []string   `json:"chain,omitempty" doc:"SPIFFE IDs of the agents that called, nearest first"`
}

// exchange trades the proof of a workload's identity for a token with which it
// acts.
func (a *API) exchange(c *call) (any, error) {
	var in tokenRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	r := exchange.Request{UserToken: in.UserToken, Binding: in.Binding}
	if in.User != nil {
		if in.User.Issuer == "" || in.User.Subject == "" {
			return nil, fault.New(fault.Invalid, "user_invalid", "the user is not one").WithSource("user").WithFix("give issuer and subject, or leave the user out")
		}
		r.User = *in.User
	}
	made, err := a.Exchange.Token(c.ctx, c.proof, r)
	if err != nil {
		return nil, err
	}
	answer := tokenJSON{Token: made.Token.RevealString(), ExpiresAt: made.Expires.UTC(), Workload: made.For.Workload.SPIFFEID(a.TrustDomain), Chain: a.chain(made.For)}
	if !made.For.User.IsZero() {
		answer.User = &made.For.User
	}
	return answer, nil
}

type callRequest struct {
	Agent string `json:"agent" example:"summarizer" doc:"Name of the agent to call, in the caller's own pool"`
}

type callJSON struct {
	Token     string    `json:"token" doc:"To be sent as the bearer token of the call; it is good for that agent alone"`
	ExpiresAt time.Time `json:"expiresAt"`
	URL       string    `json:"url,omitempty" doc:"Where the agent is reached, if the runtime runs here: URL/invoke, URL/a2a, …"`
}

// callAgent gives an agent what it calls another one with, for its user.
func (a *API) callAgent(c *call) (any, error) {
	var in callRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := name.Check("agent", in.Agent); err != nil {
		return nil, err
	}
	made, err := a.Exchange.Call(c.ctx, c.caller, name.Workload{Pool: c.caller.Workload.Pool, Name: in.Agent})
	if err != nil {
		return nil, err
	}
	return callJSON{made.Token.RevealString(), made.Expires.UTC(), made.URL}, nil
}

// chain returns the SPIFFE IDs of the agents that called, nearest first.
func (a *API) chain(c name.Caller) []string {
	var chain []string
	for _, link := range c.Chain {
		chain = append(chain, link.SPIFFEID(a.TrustDomain))
	}
	return chain
}

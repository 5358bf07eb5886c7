package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/attestor"
	"github.com/deputy-id/deputy/internal/secret"
)

type attestorSettings struct {
	Kind      attestor.Kind  `json:"kind" example:"kubernetes" doc:"kubernetes or spiffe"`
	Issuer    string         `json:"issuer" example:"https://kubernetes.default.svc.cluster.local" doc:"The iss of the cluster's tokens; spiffe:// and the name of a trust domain"`
	Audience  string         `json:"audience,omitempty" doc:"What proofs must be for, and nothing else; Deputy's public URL if left out"`
	KeysURL   string         `json:"keysUrl,omitempty" doc:"Where a JWK set with the keys is; if left out, the issuer's discovery document tells"`
	BundleURL string         `json:"bundleUrl,omitempty" doc:"Where the trust bundle of a SPIFFE trust domain is (bundle endpoint, profile https_web)"`
	Server    string         `json:"server,omitempty" example:"https://10.0.0.1:6443" doc:"The cluster's API server, which has the keys, and is asked to review each token"`
	Authority string         `json:"authority,omitempty" doc:"Certificate authority of whoever is asked, in PEM; those of the system if left out"`
	Rules     []ruleSettings `json:"rules" doc:"Which subjects are which workloads. No two may be about one subject"`
}

type attestorChange struct {
	attestorSettings
	ReviewerToken secret.Text `json:"reviewerToken,omitempty" doc:"Bearer token with which the API server is asked; kept in an update if left out"`
}

type ruleSettings struct {
	Subject  string `json:"subject" example:"agents/doc-agent" doc:"Namespace and name of a service account, or the path of a SPIFFE ID; * stands for one part"`
	Workload string `json:"workload" example:"doc-agent" doc:"Name of a workload of the pool; * for the part for which the subject's only * stands"`
}

func (s attestorChange) settings() attestor.Settings {
	rules := make([]attestor.Rule, len(s.Rules))
	for i, r := range s.Rules {
		rules[i] = attestor.Rule(r)
	}
	return attestor.Settings{
		Kind: s.Kind, Issuer: s.Issuer, Audience: s.Audience, KeysURL: s.KeysURL, BundleURL: s.BundleURL, Server: s.Server, Reviewer: s.ReviewerToken, Authority: s.Authority, Rules: rules,
	}
}

type newAttestor struct {
	Name string `json:"name" example:"prod-cluster"`
	attestorChange
}

type attestorJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Pool string `json:"pool"`
	attestorSettings
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func (a *API) attestor(of attestor.Attestor) attestorJSON {
	rules := make([]ruleSettings, len(of.Rules))
	for i, r := range of.Rules {
		rules[i] = ruleSettings(r)
	}
	return attestorJSON{
		ID: of.ID, Name: of.Name, Pool: of.Pool, Version: of.Version, CreatedAt: of.Created, UpdatedAt: of.Updated,
		attestorSettings: attestorSettings{of.Kind, of.Issuer, of.Audience, of.KeysURL, of.BundleURL, of.Server, of.Authority, rules},
	}
}

func (a *API) listAttestors(c *call) (any, error) {
	found, err := a.Trusted.Store.Attestors(c.ctx, c.path("pool"))
	return listOf(found, a.attestor), err
}

func (a *API) createAttestor(c *call) (any, error) {
	var in newAttestor
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, err := a.Trusted.Create(c.ctx, c.caller, c.path("pool"), in.Name, in.settings())
	return a.attestor(made), err
}

func (a *API) getAttestor(c *call) (any, error) {
	found, err := a.Trusted.Store.Attestor(c.ctx, c.path("pool"), c.path("attestor"))
	return a.attestor(found), err
}

func (a *API) updateAttestor(c *call) (any, error) {
	var in attestorChange
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	changed, err := a.Trusted.Update(c.ctx, c.caller, c.path("pool"), c.path("attestor"), in.settings())
	return a.attestor(changed), err
}

func (a *API) deleteAttestor(c *call) (any, error) {
	return nil, a.Trusted.Delete(c.ctx, c.caller, c.path("pool"), c.path("attestor"))
}

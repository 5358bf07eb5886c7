package provider

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Options are the settings that not every provider has. They are kept as JSON,
// so that names are not changed and the zero Options are "{}".
type Options struct {
	Workloads []string          `json:"workloads,omitempty"` // of the pool that may use the provider; empty: all
	Params    map[string]string `json:"params,omitempty"`    // further parameters of authorization requests; of UserFederation
	Header    string            `json:"header,omitempty"`    // of TypeAPIKey: the header that carries the key
	Prefix    string            `json:"prefix,omitempty"`    // of TypeAPIKey: what stands before the key, with its space
	STS       *STS              `json:"sts,omitempty"`       // of TypeSTS

	// Discovery is what the third party says about itself, as read when the settings were saved. Whatever it says later, secrets go
	// where they went, until somebody saves the settings again.
	Discovery *Discovery `json:"discovery,omitempty"`
	MCP       *MCP       `json:"mcp,omitempty"` // of tokens for an MCP server
	// OwnCallback gives the provider a redirect URI of its own, so that an answer that another third party was tricked into
	// (mix-up; RFC 9700, section 4.4) is told from one of this. Of UserFederation.
	OwnCallback bool `json:"ownCallback,omitempty"`
	// Device has users agree by a code that they type at the third party (RFC 8628), instead of being sent there and back. Of
	// UserFederation.
	Device bool `json:"device,omitempty"`

	AuthMethod vendor.Auth   `json:"authMethod,omitempty"` // of TypeOAuth2: how the client proves itself, if not as the vendor's entry says
	Audience   string        `json:"audience,omitempty"`   // of M2M and OnBehalfOf: whom the token is for (RFC 8693, section 2.1); may be empty
	Resource   string        `json:"resource,omitempty"`   // of M2M and OnBehalfOf: the same as an address (RFC 8707); may be empty
	Assertion  AssertionKind `json:"assertion,omitempty"`  // of OnBehalfOf
}

// Discovery is what an authorization server says about itself (RFC 8414; OpenID
// Connect Discovery 1.0).
type Discovery struct {
	URL       string           `json:"url"`
	Issuer    string           `json:"issuer"`
	Endpoints vendor.Endpoints `json:"endpoints"`
	Names     bool             `json:"names,omitempty"` // it names itself in its answers (RFC 9207)
}

// endpoints returns those that the operator gave, and for what he gave none, those
// that the third party did.
func (o Options) endpoints(given vendor.Endpoints) vendor.Endpoints {
	if o.Discovery == nil {
		return given
	}
	return given.Over(o.Discovery.Endpoints)
}

// AssertionKind is how a third party is told about a user.
type AssertionKind string

// The kinds of assertions.
const (
	TokenExchange AssertionKind = "token-exchange" // RFC 8693; the default
	JWTBearer     AssertionKind = "jwt-bearer"     // RFC 7523, section 2.1
)

// Cloud is a dialect of security token services.
type Cloud string

// The clouds.
const (
	Volcengine Cloud = "volcengine"
	AWS        Cloud = "aws"
)

// STS says which role temporary keys are for, and what they may do.
type STS struct {
	Cloud      Cloud         `json:"cloud"`
	Endpoint   string        `json:"endpoint,omitempty"` // empty: the cloud's own
	Region     string        `json:"region,omitempty"`   // empty: the cloud's first
	Role       string        `json:"role"`               // TRN or ARN
	ExternalID string        `json:"externalId,omitempty"`
	Lifetime   time.Duration `json:"lifetime,omitempty"` // zero: an hour

	// Policies narrow what the role may do, for the workload that they are named
	// after; Policy does for the others. If there are Policies and no Policy, the
	// others get nothing.
	Policy   json.RawMessage            `json:"policy,omitempty"`
	Policies map[string]json.RawMessage `json:"policies,omitempty"`
}

// Allow returns a fault of kind Forbidden with code "workload_not_allowed"
// unless workload may use the provider.
func (o Options) Allow(workload, provider string) error {
	if len(o.Workloads) == 0 || slices.Contains(o.Workloads, workload) {
		return nil
	}
	return fault.New(fault.Forbidden, "workload_not_allowed", "workload %q may not use credential provider %q", name.Clip(workload, 80), provider).
		WithFix("an operator can add it to the provider's workloads")
}

// SessionPolicy returns the policy of workload's session, which is empty for
// all that the role may do; or a fault like that of [Options.Allow].
func (s STS) SessionPolicy(workload, provider string) (json.RawMessage, error) {
	if p, ok := s.Policies[workload]; ok {
		return p, nil
	}
	if len(s.Policy) == 0 && len(s.Policies) > 0 {
		return nil, fault.New(fault.Forbidden, "workload_not_allowed", "credential provider %q has policies, and none for workload %q", provider, name.Clip(workload, 80)).
			WithFix("an operator can give it a policy of its own, or the provider a policy for all others")
	}
	return s.Policy, nil
}

// params adds the operator's parameters to the vendor's.
func (o Options) params(vendors map[string]string) map[string]string {
	if len(o.Params) == 0 {
		return vendors
	}
	all := maps.Clone(o.Params)
	maps.Copy(all, vendors)
	return all
}

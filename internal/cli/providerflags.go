package cli

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// providerFlags are what is decided about a provider.
type providerFlags struct {
	SecretFile string   `help:"File with its secret: the client secret, the API key, the password or the secret access key; - is standard input." placeholder:"FILE"`
	Workload   []string `help:"Only this workload of the pool may use it; may be repeated." sep:"none" placeholder:"NAME"`

	ClientID     *string           `help:"Client id (App ID) at the third party." name:"client-id" group:"Of oauth2:"`
	Scope        []string          `help:"Scope to ask for when an agent names none; may be repeated." sep:"none" group:"Of oauth2:"`
	DiscoveryURL *string           `help:"Where the third party says what its endpoints are (OpenID Connect Discovery, RFC 8414)." name:"discovery-url" placeholder:"URL" group:"Of oauth2:"`
	Endpoint     map[string]string `help:"Address in place of the vendor's: base, authorization, token, userInfo, revocation, api. May be repeated." placeholder:"KIND=URL" mapsep:"none" group:"Of oauth2:"`
	Parameter    map[string]string `help:"Further parameter of authorization requests. May be repeated." placeholder:"NAME=VALUE" mapsep:"none" group:"Of oauth2:"`
	AuthMethod   *string           `help:"How the client proves itself, if not in the vendor's way: basic, post, private_key_jwt or none." placeholder:"METHOD" group:"Of oauth2:"`
	OwnCallback  *bool             `help:"Give it a callback URL of its own, so that no other third party's answer can be taken for its (mix-up)." negatable:"" group:"Of oauth2:"`
	Device       *bool             `help:"Have users agree by a code that they type at the third party (RFC 8628), instead of being sent there and back." negatable:"" group:"Of oauth2:"`
	Audience     *string           `help:"Of M2M and ON_BEHALF_OF: whom the token is for." group:"Of oauth2:"`
	Resource     *string           `help:"Of M2M and ON_BEHALF_OF: the same as an address (RFC 8707)." placeholder:"URL" group:"Of oauth2:"`
	Assertion    *string           `help:"Of ON_BEHALF_OF: how the third party is told about the user: token-exchange or jwt-bearer." placeholder:"KIND" group:"Of oauth2:"`

	MCP                    *string `help:"MCP server that the tokens are for: it says itself who gives them, and Deputy becomes a client there." name:"mcp" placeholder:"URL" group:"Of oauth2 for MCP servers:"`
	AuthorizationServer    *string `help:"Issuer that is trusted, if the MCP server names several." placeholder:"URL" group:"Of oauth2 for MCP servers:"`
	InitialAccessTokenFile string  `help:"File with a token with which Deputy registers itself there, if that needs one; - is standard input." placeholder:"FILE" group:"Of oauth2 for MCP servers:"`

	Header *string `help:"Header that carries the key; Authorization by default." group:"Of api_key:"`
	Prefix *string `help:"What stands before the key, with its space." group:"Of api_key:"`

	Username *string `help:"Whose password it is." group:"Of basic:"`

	Cloud       *string           `help:"volcengine or aws." group:"Of sts:"`
	AccessKeyID *string           `help:"Of somebody who may assume the role, and nothing else." name:"access-key-id" placeholder:"ID" group:"Of sts:"`
	Role        *string           `help:"TRN or ARN of the role." group:"Of sts:"`
	Region      *string           `help:"Region of the cloud." group:"Of sts:"`
	ExternalID  *string           `help:"That the role wants to hear (AWS)." name:"external-id" placeholder:"ID" group:"Of sts:"`
	Lifetime    *time.Duration    `help:"Of the temporary keys: 15m to 12h; an hour by default." placeholder:"TIME" group:"Of sts:"`
	STSEndpoint *string           `help:"Address in place of the cloud's." name:"sts-endpoint" placeholder:"URL" group:"Of sts:"`
	Policy      map[string]string `help:"File with a policy that narrows what the role may do, for the workload named, or for all others with the name *. May be repeated." placeholder:"WORKLOAD=FILE" mapsep:"none" group:"Of sts:"`
}

// over puts what was given over s, and returns the secret if there is one.
func (f providerFlags) over(s *apiclient.ProviderSettings) (secret.Text, error) {
	if f.Workload != nil {
		s.Workloads = f.Workload
	}
	if err := f.overOAuth2(s); err != nil {
		return secret.Text{}, err
	}
	if k := s.APIKey; k != nil {
		assign(&k.Header, f.Header)
		assign(&k.Prefix, f.Prefix)
	}
	if l := s.Basic; l != nil {
		assign(&l.Username, f.Username)
	}
	if t := s.STS; t != nil {
		if err := f.overSTS(t); err != nil {
			return secret.Text{}, err
		}
	}
	if err := f.foreign(*s); err != nil {
		return secret.Text{}, err
	}
	if f.SecretFile == "" {
		return secret.Text{}, nil
	}
	return readSecret(f.SecretFile, "--secret-file")
}

// foreign returns a fault for a flag that a provider of another type has. Those
// of oauth2 reach the server, which refuses them.
func (f providerFlags) foreign(s apiclient.ProviderSettings) error {
	for _, flag := range []struct {
		name  string
		given bool
		of    string
		fits  bool
	}{
		{"--header", f.Header != nil, "api_key", s.APIKey != nil}, {"--prefix", f.Prefix != nil, "api_key", s.APIKey != nil},
		{"--username", f.Username != nil, "basic", s.Basic != nil},
		{"--cloud", f.Cloud != nil, "sts", s.STS != nil}, {"--access-key-id", f.AccessKeyID != nil, "sts", s.STS != nil}, {"--role", f.Role != nil, "sts", s.STS != nil},
		{"--region", f.Region != nil, "sts", s.STS != nil}, {"--external-id", f.ExternalID != nil, "sts", s.STS != nil}, {"--lifetime", f.Lifetime != nil, "sts", s.STS != nil},
		{"--sts-endpoint", f.STSEndpoint != nil, "sts", s.STS != nil}, {"--policy", f.Policy != nil, "sts", s.STS != nil},
	} {
		if flag.given && !flag.fits {
			return fault.New(fault.Invalid, "field_not_for_type", "%s is for providers of type %s", flag.name, flag.of).WithSource(flag.name).WithFix("leave it out, or say --type %s", flag.of)
		}
	}
	return nil
}

func (f providerFlags) overOAuth2(s *apiclient.ProviderSettings) error {
	assign(&s.ClientID, f.ClientID)
	assign(&s.AuthMethod, f.AuthMethod)
	assign(&s.DiscoveryURL, f.DiscoveryURL)
	assign(&s.OwnCallback, f.OwnCallback)
	assign(&s.Device, f.Device)
	assign(&s.Audience, f.Audience)
	assign(&s.Resource, f.Resource)
	assign(&s.Assertion, f.Assertion)
	assign(&s.MCPServer, f.MCP)
	assign(&s.AuthorizationServer, f.AuthorizationServer)
	if f.InitialAccessTokenFile != "" {
		var err error
		if s.InitialAccessToken, err = readSecret(f.InitialAccessTokenFile, "--initial-access-token-file"); err != nil {
			return err
		}
	}
	if f.Scope != nil {
		s.Scopes = f.Scope
	}
	if f.Parameter != nil {
		s.Parameters = f.Parameter
	}
	for kind, address := range f.Endpoint {
		at, ok := map[string]*string{
			"authorization": &s.Endpoints.Authorization, "token": &s.Endpoints.Token, "userInfo": &s.Endpoints.UserInfo, "api": &s.Endpoints.API,
			"base": &s.Endpoints.Base, "refresh": &s.Endpoints.Refresh, "deviceAuthorization": &s.Endpoints.DeviceAuthorization,
			"revocation": &s.Endpoints.Revocation, "introspection": &s.Endpoints.Introspection,
		}[kind]
		if !ok {
			return fault.New(fault.Invalid, "endpoint_unknown", "there is no endpoint %q", name.Clip(kind, 40)).
				WithSource("--endpoint").WithFix("use base, authorization, token, refresh, userInfo, revocation, introspection, api or deviceAuthorization")
		}
		*at = address
	}
	return nil
}

func (f providerFlags) overSTS(t *apiclient.TemporaryKeys) error {
	assign(&t.Cloud, f.Cloud)
	assign(&t.AccessKeyID, f.AccessKeyID)
	assign(&t.Role, f.Role)
	assign(&t.Region, f.Region)
	assign(&t.ExternalID, f.ExternalID)
	assign(&t.Endpoint, f.STSEndpoint)
	if f.Lifetime != nil {
		t.LifetimeSeconds = int64(*f.Lifetime / time.Second)
	}
	for workload, file := range f.Policy {
		policy, err := readPolicy(file)
		if err != nil {
			return err
		}
		if workload == "*" {
			t.Policy = policy
			continue
		}
		if t.Policies == nil {
			t.Policies = map[string]json.RawMessage{}
		}
		t.Policies[workload] = policy
	}
	return nil
}

// maxPolicy bounds a session policy, in bytes.
const maxPolicy = 64 << 10

func readPolicy(file string) (json.RawMessage, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "policy_unreadable", "the policy cannot be read").WithSource("--policy")
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := wire.ReadAll(f, maxPolicy)
	if err != nil || !json.Valid(b) {
		return nil, fault.Wrap(err, fault.Invalid, "policy_unreadable", "%s is not JSON of at most %d bytes", name.Clip(file, 200), maxPolicy).WithSource("--policy")
	}
	return b, nil
}

// mcpRows is what people see of an MCP server.
func mcpRows(p apiclient.Provider) [][2]string {
	if p.MCP == nil {
		return nil
	}
	client := map[string]string{"given": "as you gave it", "document": "by its metadata document, at the client id", "registered": "registered by Deputy"}[p.MCP.Client]
	rows := [][2]string{{"MCP server", p.MCPServer}, {"calls itself", p.MCP.Resource}, {"client", client}}
	if !p.MCP.ClientSecretExpiresAt.IsZero() {
		rows = append(rows, [2]string{"secret ends", shortTime(p.MCP.ClientSecretExpiresAt)})
	}
	return rows
}

// kindRows is what people see of what only one type of provider has.
func kindRows(s apiclient.ProviderSettings) [][2]string {
	switch {
	case s.APIKey != nil:
		return [][2]string{{"header", s.APIKey.Header}, {"before the key", strconv.Quote(s.APIKey.Prefix)}}
	case s.Basic != nil:
		return [][2]string{{"user name", s.Basic.Username}}
	case s.STS != nil:
		t := s.STS
		rows := [][2]string{{"cloud", t.Cloud}, {"access key", t.AccessKeyID}, {"role", t.Role}, {"region", t.Region}, {"endpoint", t.Endpoint}, {"external id", t.ExternalID}}
		if t.LifetimeSeconds > 0 {
			rows = append(rows, [2]string{"keys live", (time.Duration(t.LifetimeSeconds) * time.Second).String()})
		}
		if len(t.Policy) > 0 {
			rows = append(rows, [2]string{"policy", "for all workloads that have none of their own"})
		}
		for _, workload := range slices.Sorted(maps.Keys(t.Policies)) {
			rows = append(rows, [2]string{"policy", "for " + workload})
		}
		return rows
	default:
		return nil
	}
}

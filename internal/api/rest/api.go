// Package rest is the native REST API, version 1, and the OpenAPI document that describes it.
//
// An endpoint is one row of [API.endpoints]: method, path, who may call, what
// goes in and out, and the function that answers. The same row makes the
// route, the check of the caller and the operation in /openapi.json, so that the
// three cannot differ.
package rest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/accesskey"
	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/attestor"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/exchange"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/notice"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/trial"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/wire"
	"github.com/deputy-id/deputy/internal/workload"
)

// API answers under /api/v1, and /healthz, /readyz, /openapi.json and
// /.well-known/jwks.json. All fields are required but Fleet.
type API struct {
	PublicURL     string
	IngressURL    string // "" if the runtime is off
	Version       string
	TrustDomain   string
	Operators     *operator.Registry
	Tokens        *workload.Tokens
	Attestors     []attest.Attestor // asked in order which workload wants a token
	Trusted       *attestor.Registry
	AccessKeys    *accesskey.Keys
	Exchange      *exchange.Exchange
	Pools         userpool.Pools
	Users         userpool.Users
	Groups        userpool.Groups
	Sessions      userpool.Sessions
	Consents      userpool.Consents
	Roster        *roster.Roster
	Provisioning  userpool.ProvisioningTokens
	Clients       userpool.Clients
	Registrations userpool.Registrations
	Passwords     *userpool.Passwords
	Factors       *factor.Registry
	Workloads     *workload.Registry
	Providers     *provider.Registry
	Webhooks      *notice.Registry
	Trials        *trial.Trials
	Vault         *vault.Vault
	Broker        *broker.Broker
	Flow          *consent.Flow
	Agents        *agent.Registry
	AgentKeys     *agent.Keys
	Fleet         *fleet.Fleet // nil if the runtime is off
	// Objects returns what an agent would be in the cluster, as JSON, or a fault that
	// says why it cannot be there; nil if agents are not on one.
	Objects    func(agent.Agent) ([]json.RawMessage, error)
	Audit      AuditLog
	Keys       *keys.Ring
	Federation *federation.Federation
	Identities idp.Store
	Guard      *guard.Guard
	Mail       bool                        // whether there is an SMTP server
	Ready      func(context.Context) error // reports why requests cannot be answered
	Logger     *slog.Logger
	Now        func() time.Time
}

// AuditLog is what the API reads of the audit log.
type AuditLog interface {
	audit.Store
	// Listen returns a channel that receives when this process has appended to the log.
	Listen() (grown <-chan struct{}, stop func())
}

// base is where the versioned endpoints are.
const base = "/api/v1"

// endpoint is one row of the API.
type endpoint struct {
	method, path string // path with {parameters}, below base
	id           string // operationId
	tag, summary string
	auth         auth
	query        []parameter
	body         any // a value of the type of the request's body; nil if there is none
	status       int // of success
	answer       any // a value of the type of the answer's body; nil if there is none, or it is a stream
	serve        func(c *call) (any, error)
}

// parameter is one that the query may have.
type parameter struct{ name, kind, help string }

// auth says who may call an endpoint.
type auth string

const (
	everybody auth = "everybody"     // an operator's token of any role, also if it is limited to some pools: the answer has what is in them
	readers   auth = "reader"        // an operator's token of any role
	operators auth = "operator"      // that of an operator or owner
	owners    auth = "owner"         // that of an owner
	agents    auth = "workloadToken" // a workload access token
	attested  auth = "workloadProof" // a proof of a workload's identity, as the launch token from the launch file
	known     auth = "any"           // an operator or an agent
)

// call is one request to an endpoint.
type call struct {
	ctx    context.Context
	w      http.ResponseWriter
	r      *http.Request
	caller name.Caller
	role   operator.Role  // of an operator
	pools  operator.Pools // that the operator is limited to
	proof  attest.Proof   // of attested endpoints
	query  map[string]string
	bound  int64 // of the body, in bytes
}

// maxBody bounds a request's body, unless its type is bounded itself.
const maxBody = 64 << 10

// bounded is a body that may be of another size.
type bounded interface{ maxBody() int64 }

func (c *call) path(parameter string) string { return c.r.PathValue(parameter) }

// decode reads the request's body, strictly.
func (c *call) decode(into any) error {
	for _, t := range c.r.Header.Values("Content-Type") {
		if media, _, _ := strings.Cut(t, ";"); !strings.EqualFold(strings.TrimSpace(media), "application/json") {
			return fault.New(fault.Invalid, "content_type_unsupported", "the body is %q", name.Clip(t, 60)).WithFix("send application/json")
		}
	}
	if coding := c.r.Header.Get("Content-Encoding"); coding != "" { // RFC 9110, section 8.4: what is not understood is not guessed at
		return fault.New(fault.Invalid, "content_encoding_unsupported", "the body is encoded as %q", name.Clip(coding, 60)).WithFix("send it as it is")
	}
	return wire.Decode(c.r.Body, c.bound, into)
}

// number returns a query parameter that is a number from least to most.
func (c *call) number(parameter string, otherwise, least, most int) (int, error) {
	text, ok := c.query[parameter]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fault.New(fault.Invalid, "parameter_invalid", "%s=%s is not valid", parameter, name.Clip(text, 40)).
			WithSource(parameter).WithFix("use a number from %d to %d", least, most)
	}
	return n, nil
}

// Mount adds everything to mux.
func (a *API) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { wire.Write(w, http.StatusOK, health{"ok"}) })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("GET /.well-known/jwks.json", a.jwks)
	endpoints := a.endpoints()
	// Made when it is first asked for, because few ask and a third of the time to start went into it.
	document := sync.OnceValue(func() []byte { return a.document(endpoints) })
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(document()) // a client that went away is not our error
	})
	methods := map[string][]string{}
	for _, e := range endpoints {
		mux.Handle(e.method+" "+base+e.path, a.handler(e))
		methods[e.path] = append(methods[e.path], e.method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(base+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			a.fail(w, r, fault.New(fault.Invalid, "method_not_allowed", "%s does not take %s", name.Clip(r.URL.Path, 200), name.Clip(r.Method, 20)).WithFix("use %s", strings.Join(allowed, " or ")))
		})
	}
	// Also for versions that there are not.
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, fault.New(fault.NotFound, "endpoint_not_found", "there is no endpoint %s", name.Clip(r.URL.Path, 200)).WithFix("see %s/openapi.json", a.PublicURL))
	})
}

type health struct {
	Status string `json:"status"`
}

func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	if err := a.Ready(r.Context()); err != nil {
		a.fail(w, r, err)
		return
	}
	wire.Write(w, http.StatusOK, health{"ready"})
}

func (a *API) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(a.Tokens.JWKS()) // a client that went away is not our error
}

// handler makes e's handler: the caller is established, the query is checked,
// then e answers.
func (a *API) handler(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{ctx: r.Context(), w: w, r: r}
		var err error
		c.bound = maxBody
		if b, ok := e.body.(bounded); ok {
			c.bound = b.maxBody()
		}
		r.Body = http.MaxBytesReader(w, r.Body, c.bound+1)
		if e.auth == attested {
			c.proof, err = a.attest(r)
		} else {
			err = a.authenticate(c, e)
		}
		if err == nil {
			c.query, err = parseQuery(r, e.query)
		}
		var answer any
		if err == nil {
			answer, err = e.serve(c)
		}
		switch {
		case err != nil:
			a.fail(w, r, err)
		case answer == streamed:
		case answer == nil:
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(e.status)
		default:
			wire.Write(w, e.status, answer)
		}
	})
}

// streamed is the answer of an endpoint that has answered already.
var streamed any = struct{ streamed bool }{true}

// parseQuery returns the query's parameters; unknown and repeated ones are refused.
func parseQuery(r *http.Request, allowed []parameter) (map[string]string, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // its text quotes the parameter
		return nil, fault.New(fault.Invalid, "parameter_invalid", "the query is not URL-encoded")
	}
	got := map[string]string{}
	for key, values := range query {
		ok := false
		for _, p := range allowed {
			ok = ok || p.name == key
		}
		if !ok || len(values) != 1 {
			return nil, fault.New(fault.Invalid, "parameter_unknown", "the query parameter %q is not known here, or came twice", name.Clip(key, 40)).
				WithFix("secrets never belong into an address; see /openapi.json for what does")
		}
		got[key] = values[0]
	}
	return got, nil
}

// authenticate turns the bearer token (RFC 6750, section 2.1) into a caller who
// may call e.
func (a *API) authenticate(c *call, e endpoint) error {
	token, err := bearer(c.r)
	if err != nil {
		return err
	}
	_, forOperators := leastRoles[e.auth]
	isOperator := strings.HasPrefix(token.RevealString(), operator.TokenPrefix+"_")
	switch {
	case isOperator && e.auth == agents:
		return fault.New(fault.Forbidden, "workload_token_needed", "operators do not use people's credentials").
			WithFix("call with the workload access token of an agent")
	case isOperator:
		return a.admit(c, e, token)
	case forOperators:
		if c, err := a.Tokens.Verify(c.ctx, token); err == nil {
			return fault.New(fault.Forbidden, "operator_needed", "%s is an agent, and this is for operators", c.Workload)
		}
		return fault.New(fault.Unauthenticated, "operator_token_unknown", "the bearer token is not an operator's").
			WithFix("use the token from the file operator.token in the data directory")
	default:
		c.caller, err = a.Tokens.Verify(c.ctx, token)
		return err
	}
}

func bearer(r *http.Request) (secret.Text, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return secret.Text{}, fault.New(fault.Unauthenticated, "token_missing", "the request has no bearer token").WithFix("send the header \"Authorization: Bearer …\"")
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,") {
		return secret.Text{}, fault.New(fault.Unauthenticated, "token_malformed", "the Authorization header is not one bearer token").WithFix("send the header \"Authorization: Bearer …\" once")
	}
	return secret.FromString(token), nil
}

// now is the time with the precision that stores keep.
func (a *API) now() time.Time { return a.Now().UTC().Truncate(time.Millisecond) }

// until is the life of something that is to end at t: 0, for the default, if t was
// left out, and below 0 for what would have ended.
func (a *API) until(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	if life := t.Sub(a.now()); life != 0 {
		return life
	}
	return -1
}

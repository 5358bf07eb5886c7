// Package exchange gives workloads that proved who they are their access tokens: for themselves, for a user who proved himself, for one whom they may assert, and for the user of an agent that calls them.
//
// Whatever is given away, and whatever is refused to a workload that is known, is
// in the audit log. The ingress lets in an agent that calls another one by the
// same rules.
package exchange

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/usertoken"
	"github.com/deputy-id/deputy/internal/workload"
)

// The actions, on workload.Resource: of who gets the token, and of who is called.
const (
	ActionIssue     guard.Action = "workload-token.issue"
	ActionIssueCall guard.Action = "call-token.issue"
)

// Workloads is what is read of workloads; workload.Store has it.
type Workloads interface {
	Workload(ctx context.Context, w name.Workload) (workload.Workload, error)
}

// Agents is what is read of agents; agent.Store has it.
type Agents interface {
	Agent(ctx context.Context, pool, name string) (agent.Agent, error)
}

// Verifier checks a user's token against the issuer with a discovery URL;
// [usertoken.Issuers] is one.
type Verifier interface {
	Verify(ctx context.Context, discoveryURL, token string) (usertoken.Claims, error)
}

// Binder keeps launches to their process; [workload.Launches] is one.
type Binder interface {
	Bind(ctx context.Context, l attest.Launch, binding secret.Text) error
}

// Exchange gives tokens. All fields are required but IngressURL.
type Exchange struct {
	Workloads  Workloads
	Agents     Agents
	Tokens     *workload.Tokens
	Verifier   Verifier
	Binder     Binder
	IngressURL string // "" if the runtime is off
	Guard      *guard.Guard
}

// Request is what a workload wants a token for: a user by his token or by his
// id, or neither, for itself.
type Request struct {
	UserToken secret.Text // the user's own, or the call token with which another agent called
	User      name.User
	Binding   secret.Text // what the process of a launch made up; see [workload.Launches.Bind]
}

// Token is what a workload gets.
type Token struct {
	Token   secret.Text
	Expires time.Time
	For     name.Caller // whom it proves
	URL     string      // of a call token: where the agent that is called is reached; "" if the runtime is off
}

// Token gives a workload access token to the workload of a proof.
func (e *Exchange) Token(ctx context.Context, proof attest.Proof, r Request) (Token, error) {
	w := proof.Workload
	detail := map[string]string{"proof": proof.Method, "proofId": name.Clip(proof.ID, 200), "for": r.way()}
	if proof.Method == attest.MethodLaunch {
		if err := e.Binder.Bind(ctx, attest.Launch{ID: proof.ID, Workload: w}, r.Binding); err != nil {
			c := name.Caller{Kind: name.Agent, Workload: w}
			return Token{For: c}, e.settle(ctx, c, ActionIssue, w, detail, secret.Text{}, err)
		}
	}
	c, client, err := e.caller(ctx, w, r)
	if client != "" {
		detail["client"] = name.Clip(client, 100)
	}
	made := Token{For: c}
	if err == nil {
		made.Token, made.Expires, err = e.Tokens.Mint(ctx, w, c.User, c.Chain)
	}
	return made, e.settle(ctx, c, ActionIssue, w, detail, made.Token, r.about(err))
}

// about says of a refusal that the user's token is its reason, if it is: the proof
// is a token, too, and whoever sent both has to know which one was refused.
func (r Request) about(err error) error {
	f := fault.As(err)
	switch {
	case err == nil, r.UserToken.Empty(), f.Source != "", f.Code == workload.CodeGone:
		return err
	case f.Kind == fault.Unauthenticated, f.Kind == fault.Forbidden:
		return f.WithSource("userToken")
	}
	return err
}

// way names the way in which a token is asked for.
func (r Request) way() string {
	switch {
	case !r.User.IsZero():
		return "user-id"
	case workload.IsCall(r.UserToken.RevealString()):
		return "call"
	case !r.UserToken.Empty():
		return "user-token"
	default:
		return "itself"
	}
}

// caller returns as whom w is to act; as far as that is known, with an error too.
func (e *Exchange) caller(ctx context.Context, w name.Workload, r Request) (c name.Caller, client string, err error) {
	c = name.Caller{Kind: name.Agent, Workload: w}
	switch {
	case !r.User.IsZero() && !r.UserToken.Empty():
		return c, "", fault.New(fault.Invalid, "user_ambiguous", "there is a user's token and a user's id").WithSource("user").WithFix("send one")
	case workload.IsCall(r.UserToken.RevealString()):
		by, err := e.Called(ctx, w, r.UserToken)
		if !by.Workload.IsZero() {
			c = workload.Called(by, w)
		}
		return c, "", err
	case !r.UserToken.Empty():
		c.User, client, err = e.proven(ctx, w, r.UserToken)
		return c, client, err
	case !r.User.IsZero():
		found, err := e.Workloads.Workload(ctx, w)
		if err == nil {
			c.User, err = r.User, found.MayAssert(r.User)
		}
		return c, "", err
	default:
		return c, "", nil
	}
}

// proven returns whom a user's token proves to w: by the rules of its
// definition, if it is an agent of the runtime, as at the ingress.
func (e *Exchange) proven(ctx context.Context, w name.Workload, token secret.Text) (name.User, string, error) {
	var rule usertoken.Rule
	var discovery string
	a, err := e.Agents.Agent(ctx, w.Pool, w.Name)
	switch {
	case err == nil:
		rule, discovery = usertoken.RuleOf(a.Definition.Inbound, e.address(w)), a.Definition.Inbound.DiscoveryURL
	case fault.Is(err, fault.NotFound):
		found, err := e.Workloads.Workload(ctx, w)
		if err != nil {
			return name.User{}, "", err
		}
		t := found.UserTokens
		rule, discovery = usertoken.Rule{AllowedClients: t.AllowedClients, AllowedAudiences: t.AllowedAudiences}, t.DiscoveryURL
	default:
		return name.User{}, "", err
	}
	if discovery == "" {
		return name.User{}, "", fault.New(fault.Forbidden, "user_tokens_not_taken", "nobody's tokens prove a user to %s", w).WithSource("userToken").
			WithFix("say whose do: runtime_jwt_discovery_url in the agent's agentkit.yaml, or userTokens of a workload without one")
	}
	claims, err := e.Verifier.Verify(ctx, discovery, token.RevealString())
	if err != nil {
		return name.User{}, "", err
	}
	return rule.Judge(claims)
}

// address returns where an agent is reached, or "".
func (e *Exchange) address(w name.Workload) string {
	if e.IngressURL == "" {
		return ""
	}
	return e.IngressURL + "/agents/" + w.Pool + "/" + w.Name
}

// Call gives c, an agent that acts for a user, a token with which it calls to for
// him.
func (e *Exchange) Call(ctx context.Context, c name.Caller, to name.Workload) (Token, error) {
	made := Token{For: c, URL: e.address(to)}
	found, err := e.Workloads.Workload(ctx, to)
	if err == nil {
		err = found.MayBeCalledBy(c.Workload)
	}
	if err == nil {
		made.Token, made.Expires, err = e.Tokens.MintCall(ctx, c, to)
	}
	return made, e.settle(ctx, c, ActionIssueCall, to, nil, made.Token, err)
}

// Called returns who calls to with a call token: an agent for its user, which may
// call it as the settings of to are now. Who is known and may not is returned with
// the fault.
func (e *Exchange) Called(ctx context.Context, to name.Workload, token secret.Text) (name.Caller, error) {
	by, err := e.Tokens.VerifyCall(ctx, token, to)
	if err != nil {
		return by, err
	}
	found, err := e.Workloads.Workload(ctx, to)
	if err != nil {
		return by, err
	}
	return by, found.MayBeCalledBy(by.Workload)
}

// settle writes down how a request for a token ended: that token is given to c, on
// w, or that cause kept it from that. What is not recorded is not given. A
// failure of ours to judge is none of the workload's doing, and not recorded.
func (e *Exchange) settle(ctx context.Context, c name.Caller, action guard.Action, w name.Workload, detail map[string]string, token secret.Text, cause error) error {
	switch {
	case cause == nil:
		p, err := e.Guard.Allow(ctx, c, action, workload.Resource(w))
		if err == nil {
			err = e.Guard.Record(ctx, p.Detail(detail))
		}
		if err != nil {
			token.Clear()
		}
		return err
	case fault.Is(cause, fault.Internal), fault.Is(cause, fault.Unavailable), fault.Is(cause, fault.Upstream):
		return cause
	}
	if err := e.Guard.Refuse(ctx, c, action, workload.Resource(w), fault.As(cause).Code, detail); err != nil {
		return err
	}
	return cause
}

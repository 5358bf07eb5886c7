package usertoken

import (
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// CodeScope is the code of the fault for a token that lacks a scope; it is also
// the word of RFC 6750.
const CodeScope = "insufficient_scope"

// Rule says which tokens of an issuer are for an agent.
type Rule struct {
	Own              string   // the agent's address, which is always one of the audiences; "": it has none
	AllowedClients   []string // empty: any client of the issuer
	AllowedAudiences []string // besides Own; empty: an allowed client
	RequiredScopes   []string // a token must have all of them
	// RequiredClaims are claims that a token must have, each with one of the values.
	RequiredClaims map[string][]string
}

// RuleOf returns what the definition of an agent says; own is the agent's address.
func RuleOf(in agent.Inbound, own string) Rule {
	return Rule{own, in.AllowedClients, in.AllowedAudiences, in.RequiredScopes, in.RequiredClaims}
}

// Judge returns whom verified claims prove, and the client that the token was
// made for, as far as that can be said; and the fault, of kind Unauthenticated or
// Forbidden, of a token that is not for the agent.
func (r Rule) Judge(claims Claims) (u name.User, client string, err error) {
	more := claims.more
	if more.Nonce != nil || more.AtHash != nil || more.Events != nil {
		// They have type JWT like many access tokens, and travel through browsers.
		return u, "", unauthenticated("token_type", "this is an ID token or a logout token").WithFix("send the access token")
	}
	if !agent.SubjectFits(claims.Subject) {
		return u, "", unauthenticated("token_subject", "the token names no user that can be passed on").
			WithFix("its sub must be 1 to 255 printable ASCII characters")
	}
	u = name.User{Issuer: claims.Issuer, Subject: claims.Subject}
	if client = claims.ClientID; client == "" {
		client = more.AuthorizedParty
	}
	if len(r.AllowedClients) > 0 && (client == "" || !slices.Contains(r.AllowedClients, client)) {
		return u, client, fault.New(fault.Forbidden, "client_not_allowed", "client %q may not call this agent", name.Clip(client, 80)).
			WithFix("add it to runtime_jwt_allowed_clients in agentkit.yaml")
	}
	if err := r.meant(claims); err != nil {
		return u, client, err
	}
	return u, client, r.entitled(claims)
}

// meant checks that the token is meant for the agent: for its address, or for
// one of the audiences that it allows, or, if it names none, for a client that
// may call it. One that such a client got for a third service does not open this
// one.
func (r Rule) meant(claims Claims) error {
	others := r.AllowedAudiences
	if len(others) == 0 {
		others = r.AllowedClients
	}
	if len(others) == 0 {
		return nil // any client's token for anything, of which the definition's author was warned
	}
	for _, audience := range claims.Audience {
		if audience == r.Own && r.Own != "" || slices.Contains(others, audience) {
			return nil
		}
	}
	return unauthenticated("token_audience", "the token is not meant for this agent").
		WithFix("its audience must be %s, or one that agentkit.yaml allows", r.Own)
}

// entitled checks what a token must say besides.
func (r Rule) entitled(claims Claims) error {
	for _, scope := range r.RequiredScopes {
		if !slices.Contains(strings.Fields(claims.Scope), scope) && !claims.has("scp", []string{scope}) {
			return fault.New(fault.Forbidden, CodeScope, "the token lacks the scope %s", scope).WithFix("ask for %s", strings.Join(r.RequiredScopes, " "))
		}
	}
	for claim, values := range r.RequiredClaims {
		if !claims.has(claim, values) {
			return fault.New(fault.Forbidden, "claim_missing", "the token's claim %q is not as this agent demands", claim)
		}
	}
	return nil
}

func unauthenticated(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Unauthenticated, code, format, args...)
}

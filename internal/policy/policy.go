// Package policy decides which caller may do which action to which resource, with the reason.
//
// The rules are the built-in ones, deny by default. They know kinds of caller
// and pools, not records: whether this grant belongs to that user is decided by
// the queries that find it, which always carry the caller's user and pool.
package policy

import (
	"strings"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/name"
)

// Decision is the answer of a policy; Reason says why, for the audit log.
type Decision struct {
	Allowed bool
	Reason  string
}

// agentActions are what a workload does in its own pool: with a workload access token, or to get one.
var agentActions = []string{"credential.release", "credential.clear", "authorization.begin", "authorization.read", "grant.refresh",
	"workload-token.issue", "call-token.issue", "launch.bind", "agent.invoke"}

// personActions are what a person does about himself in a browser.
var personActions = []string{"authorization.open", "authorization.decide", "authorization.exchange", "authorization.finish",
	"session.", "consent.", "code.", "pushed.", "device.", "family.", "refresh.", "user.upgrade-password", "user.set-password",
	"user.verify-email", "user.reset-password", "user.sign-up", "login.", "factor.", "idp.unlink", "agent.invoke", "grant.delete", "delegation.delete"}

// nobodyActions are what somebody does of whom nothing is known.
var nobodyActions = []string{"agent.invoke-open"} // of an agent that its operator opened to everybody

// clientActions are what a client of a user pool does with its credentials alone, or about itself.
var clientActions = []string{"token.issue", "token.exchange", "device.create", "client.create", "client.update", "client.delete", "assertion.", "pushed.",
	"agent.invoke"} // with the key of an agent

// provisionerActions are what a system that provisions a user pool does in that pool.
var provisionerActions = []string{"user.create", "user.update", "user.delete", "group.", "session.end"}

// Decide applies the built-in rules.
func Decide(c name.Caller, action string, r audit.Resource) Decision {
	switch c.Kind {
	case name.System:
		return Decision{true, "deputy itself"}
	case name.Operator:
		if strings.HasPrefix(action, "credential.") || strings.HasPrefix(action, "authorization.") {
			return Decision{false, "operators administer; they do not use people's credentials"}
		}
		return Decision{true, "operator"}
	case name.Agent:
		if !matches(agentActions, action) {
			return Decision{false, "not an action of agents"}
		}
		if r.Pool != c.Workload.Pool {
			return Decision{false, "the resource belongs to another workload pool"}
		}
		return Decision{true, "agent in its own pool"}
	case name.Person:
		if !matches(personActions, action) {
			return Decision{false, "not an action of persons"}
		}
		return Decision{true, "person about himself"}
	case name.Client:
		if !matches(clientActions, action) {
			return Decision{false, "not an action of clients"}
		}
		return Decision{true, "client with its credentials"}
	case name.Provisioner:
		if !matches(provisionerActions, action) {
			return Decision{false, "not an action of provisioning systems"}
		}
		if c.Pool == "" || r.Pool != c.Pool {
			return Decision{false, "the resource belongs to another user pool"}
		}
		return Decision{true, "provisioning system in its own pool"}
	case name.Nobody:
		if !matches(nobodyActions, action) {
			return Decision{false, "nobody is asking"}
		}
		return Decision{true, "open to everybody"}
	default:
		return Decision{false, "nobody is asking"}
	}
}

// matches reports whether action is in list, where an item that ends with '.'
// stands for all actions on that subject.
func matches(list []string, action string) bool {
	for _, item := range list {
		if item == action || (strings.HasSuffix(item, ".") && strings.HasPrefix(action, item)) {
			return true
		}
	}
	return false
}

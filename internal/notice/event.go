// Package notice tells what happened to authorizations and grants: as an event stream, and by webhooks that operators register.
//
// The audit log is the outbox: what is told is derived from its records, which
// are committed with the changes that they tell of. So nothing is told that did
// not happen, nothing is forgotten when a process dies, and the stream and the
// webhooks cannot differ.
package notice

import (
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vault"
)

// Type says what happened.
type Type string

// The types of events.
const (
	AuthorizationCompleted Type = "authorization.completed"
	AuthorizationFailed    Type = "authorization.failed"
	AuthorizationExpired   Type = "authorization.expired"
	GrantReauthorize       Type = "grant.reauthorize" // the third party said, finally, that the user must authorize again
	GrantRevoked           Type = "grant.revoked"     // it is gone here, for every agent
	Ping                   Type = "webhook.ping"      // a test; only webhooks get it
)

// Types returns what can be asked for.
func Types() []Type {
	return []Type{AuthorizationCompleted, AuthorizationFailed, AuthorizationExpired, GrantReauthorize, GrantRevoked}
}

// Actions returns the actions of the audit log that events may come of.
func Actions() []string {
	return []string{
		string(consent.ActionDecide), string(consent.ActionExchange), string(consent.ActionFinish), string(consent.ActionExpire),
		string(vault.ActionRefresh), string(vault.ActionRevoked),
	}
}

// Event is what is told, as the Standard Webhooks specification shapes payloads.
// There is no secret in it.
type Event struct {
	Type Type      `json:"type"`
	Time time.Time `json:"timestamp"`
	Data Data      `json:"data"`
}

// Data says what an event is about.
type Data struct {
	Pool          string    `json:"pool"`
	Provider      string    `json:"provider,omitempty"`
	Authorization string    `json:"authorization,omitempty"` // id; of authorization events
	Grant         string    `json:"grant,omitempty"`         // id; of grant events
	Workload      string    `json:"workload,omitempty"`      // that asked; of authorization events
	User          name.User `json:"user,omitzero"`
	Scopes        []string  `json:"scopes,omitempty"`
	Reason        string    `json:"reason,omitempty"` // why it failed or ended: a stable code where there is one
}

// Of returns the event that a record of the audit log tells of, if it does.
func Of(e audit.Entry) (Event, bool) {
	t, ok := typeOf(e)
	if !ok {
		return Event{}, false
	}
	d := Data{Pool: e.Resource.Pool, Provider: e.Provider, User: name.User{Issuer: e.Detail["issuer"], Subject: e.Detail["subject"]}, Scopes: e.Scopes}
	if e.Resource.Kind == vault.GrantResource("", "").Kind {
		d.Grant = e.Resource.ID
	} else {
		d.Authorization = e.Resource.ID
		_, d.Workload, _ = strings.Cut(e.Detail["workload"], "/")
	}
	switch {
	case t == GrantRevoked:
		d.Reason = e.Detail["cause"]
	case e.Outcome == audit.Failed:
		d.Reason = e.Reason
	}
	return Event{t, e.Time, d}, true
}

func typeOf(e audit.Entry) (Type, bool) {
	switch failed := e.Outcome == audit.Failed; e.Action {
	case string(consent.ActionExpire):
		return AuthorizationExpired, e.Outcome != audit.Refused
	case string(consent.ActionFinish), string(consent.ActionDecide), string(consent.ActionExchange):
		if failed {
			return AuthorizationFailed, true
		}
		return AuthorizationCompleted, e.Outcome == audit.Allowed && e.Action != string(consent.ActionExchange)
	case string(vault.ActionRefresh):
		return GrantReauthorize, failed
	case string(vault.ActionRevoked):
		return GrantRevoked, e.Outcome == audit.Allowed
	default:
		return "", false
	}
}

package policy_test

import (
	"testing"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/policy"
)

func TestDecide(t *testing.T) {
	agent := name.Caller{Kind: name.Agent, Workload: name.Workload{Pool: "p", Name: "a"}}
	person := name.Caller{Kind: name.Person, User: name.User{Issuer: "i", Subject: "s"}}
	client := name.Caller{Kind: name.Client, Client: "cli_1"}
	provisioner := name.Caller{Kind: name.Provisioner, Client: "personnel", Pool: "p"}
	operator := name.Caller{Kind: name.Operator, Operator: "root"}
	for _, c := range []struct {
		who    name.Caller
		action string
		pool   string
		want   bool
	}{
		{name.Caller{}, "credential.release", "p", false},
		{name.Caller{}, "", "", false},
		{name.Caller{}, "agent.invoke-open", "p", true},
		{name.Caller{}, "agent.invoke", "p", false},
		{name.Caller{Kind: "something new"}, "agent.invoke-open", "p", false},
		{name.Caller{Kind: "something new"}, "provider.create", "p", false},
		{name.Caller{Kind: name.System}, "datakey.create", "p", true},

		{operator, "provider.create", "p", true},
		{operator, "grant.delete", "p", true},
		{operator, "credential.release", "p", false},
		{operator, "credential.clear", "p", false},
		{operator, "authorization.open", "p", false},

		{agent, "credential.release", "p", true},
		{agent, "credential.release", "other", false},
		{agent, "credential.release", "", false},
		{agent, "authorization.begin", "p", true},
		{agent, "authorization.open", "p", false},
		{agent, "authorization.finish", "p", false},
		{agent, "grant.delete", "p", false},
		{agent, "provider.create", "p", false},
		{agent, "user.create", "p", false},

		{client, "pushed.create", "p", true},
		{client, "client.update", "p", true},
		{client, "agent.invoke", "p", true},
		{client, "agent.put", "p", false},
		{client, "client.authenticate", "p", false},
		{client, "user.create", "p", false},
		{client, "credential.release", "p", false},

		{person, "authorization.open", "p", true},
		{person, "session.create", "p", true},
		{person, "agent.invoke", "p", true},
		{person, "login.try", "p", true},
		{person, "factor.add", "p", true},
		{person, "user.set-password", "p", true},
		{person, "user.update", "p", false},
		{person, "credential.release", "p", false},
		{person, "provider.create", "p", false},
		{person, "user.create", "p", false},
		{person, "session", "p", false},
		{person, "family.refresh", "p", true},
		{person, "refresh.reuse", "p", true},
		{person, "token.issue", "p", false},

		{provisioner, "user.create", "p", true},
		{provisioner, "group.update", "p", true},
		{provisioner, "session.end", "p", true},
		{provisioner, "user.create", "other", false},
		{provisioner, "user.upgrade-password", "p", false},
		{provisioner, "provisioning-token.create", "p", false},
		{name.Caller{Kind: name.Provisioner}, "user.create", "", false},

		{client, "token.issue", "p", true},
		{client, "token.exchange", "p", true},
		{client, "family.end", "p", false},
		{client, "user.create", "p", false},
	} {
		d := policy.Decide(c.who, c.action, audit.Resource{Kind: "x", Pool: c.pool})
		if d.Allowed != c.want || d.Reason == "" {
			t.Errorf("%s, %s in %q: got %+v, want %v", c.who, c.action, c.pool, d, c.want)
		}
	}
}

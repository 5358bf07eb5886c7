package name_test

import (
	"testing"

	"github.com/deputy-id/deputy/internal/name"
)

func TestCallersInWords(t *testing.T) {
	w := func(n string) name.Workload { return name.Workload{Pool: "default", Name: n} }
	u := name.User{Issuer: "https://id.example", Subject: "usr_1"}
	for want, c := range map[string]name.Caller{
		"nobody":        {},
		"deputy":        {Kind: name.System},
		"operator root": {Kind: name.Operator, Operator: "root"},
		"default/doc":   {Kind: name.Agent, Workload: w("doc")},
		"default/doc for usr_1@https://id.example":  {Kind: name.Agent, Workload: w("doc"), User: u},
		"usr_1@https://id.example":                  {Kind: name.Person, User: u},
		"client agk_1":                              {Kind: name.Client, Client: "agk_1"},
		"client agk_1 for usr_1@https://id.example": {Kind: name.Client, Client: "agk_1", User: u},
		"provisioner people/hr":                     {Kind: name.Provisioner, Pool: "people", Client: "hr"},
		"default/doc for usr_1@https://id.example, called by default/front by default/outer": {Kind: name.Agent, Workload: w("doc"), User: u, Chain: []name.Workload{w("front"), w("outer")}},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

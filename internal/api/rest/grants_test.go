package rest_test

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// give stores a grant of u to the provider feishu, with a delegation to the
// workload.
func (w *world) give(u name.User, to name.Workload) (vault.Grant, vault.Delegation) {
	w.t.Helper()
	ctx, now := w.t.Context(), time.Now()
	scopes, err := name.NewScopes(readDoc)
	must(w.t, err)
	g, err := w.api.Vault.NewGrant(ctx, to.Pool, "feishu", u, vault.Grant{}, vendor.Account{ID: "ou_1", Name: "张三"},
		vendor.Tokens{Access: secret.FromString(name.NewToken("at")), ExpiresAt: now.Add(time.Hour)}, scopes)
	must(w.t, err)
	d := vault.Delegation{ID: name.NewID("dlg"), GrantID: g.ID, Workload: to, Scopes: scopes, Created: now, Updated: now}
	a := consent.Authorization{ID: name.NewID("auth"), Pool: to.Pool, Provider: "feishu", Workload: to, User: u, State: consent.Pending, LinkHash: name.NewID("h"), Sealed: []byte{1}, Version: 1}
	s := store.Authorizations{DB: w.db}
	must(w.t, s.BeginAuthorization(ctx, w.permit(consent.ActionBegin, a.Resource()), a))
	a.State, a.Version, a.ProviderVersion = consent.Completed, 2, 1
	must(w.t, s.Complete(ctx, w.permit(consent.ActionFinish, a.Resource()), consent.ActionFinish, a, g, d))
	return g, d
}

func TestOperatorsSeeAndEndGrants(t *testing.T) {
	w := newWorld(t)
	w.create("/workload-pools", `{"name":"other"}`, nil)
	li := name.User{Issuer: zhang.Issuer, Subject: "usr_li"}
	g, d := w.give(zhang, docAgent)
	second, _ := w.give(li, docAgent)
	const pool = "/workload-pools/default"
	type items struct {
		Items []struct {
			ID, Grant, Workload, Account, Cause string
			User                                name.User
			Scopes                              []string
		}
		Next string
	}
	count := func(path string, want int) items {
		t.Helper()
		var l items
		w.expect(200, "GET", path, "", &l)
		if len(l.Items) != want {
			t.Errorf("%s: %+v, want %d", path, l.Items, want)
		}
		return l
	}
	count(pool+"/grants", 2)
	count(pool+"/grants?user="+zhang.Subject+"&provider=feishu&state=active", 1)
	count(pool+"/grants?state=reauthorize", 0)
	count(pool+"/grants?issuer=https://other.example", 0)
	count("/workload-pools/other/grants", 0)
	if l := count(pool+"/grants?limit=1", 1); l.Next == "" {
		t.Error("there is no next page")
	} else {
		count(pool+"/grants?after="+l.Next, 1)
	}
	if l := count(pool+"/delegations?workload=doc&user="+zhang.Subject, 1); l.Items[0].Grant != g.ID || l.Items[0].Account != "张三" || l.Items[0].Scopes[0] != readDoc {
		t.Errorf("%+v", l.Items)
	}
	count(pool+"/delegations?workload=x", 0)
	w.expect(400, "GET", pool+"/grants?state=x", "", nil)
	w.expect(404, "GET", "/workload-pools/nowhere/delegations", "", nil)
	for _, path := range []string{"/grants/" + g.ID, "/delegations/" + d.ID} {
		w.expect(200, "GET", pool+path, "", nil)
		w.expect(404, "GET", "/workload-pools/other"+path, "", nil)
		w.expect(404, "DELETE", "/workload-pools/other"+path, "", nil)
		w.expectFrom(w.agent, 403, "DELETE", pool+path, "", nil)
	}
	w.expect(204, "DELETE", pool+"/delegations/"+d.ID, "", nil)
	w.expect(404, "GET", pool+"/grants/"+g.ID, "", nil)
	w.expect(204, "DELETE", pool+"/grants/"+second.ID, "", nil)
	causes := map[string]string{}
	for _, r := range count(pool+"/revocations", 2).Items {
		causes[r.Grant] = r.Cause
	}
	if causes[g.ID] != "delegation.delete" || causes[second.ID] != "grant.delete" {
		t.Errorf("causes: %v", causes)
	}
	if l := count(pool+"/revocations?limit=1", 1); l.Next == "" {
		t.Error("there is no next page")
	} else {
		count(pool+"/revocations?after="+l.Next, 1)
	}
	count("/workload-pools/other/revocations", 0)
}

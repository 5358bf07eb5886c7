package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/vault"
)

// testFormerClients deletes a provider whose client Deputy registered: it is known
// until that client is deleted, for which the tokens have to be revoked first.
func testFormerClients(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	v := sealedProvider("p", "feishu", "cli_1")
	v.Version, v.Options.MCP = 2, &provider.MCP{Server: "https://mcp.example", Resource: "https://mcp.example", Client: provider.ByRegistration, Management: "https://login.example/c", SecretEnds: moment}
	must(t, s.providers.UpdateProvider(t.Context(), Permit(t, provider.ActionUpdate, provider.Resource("p", "feishu")), v))
	s.give(t, agentA, zhang, vault.Grant{})
	former := func() []provider.Former {
		t.Helper()
		list, err := s.providers.FormerClients(t.Context(), 10)
		must(t, err)
		return list
	}
	if list := former(); len(list) != 0 {
		t.Errorf("before it is deleted: %+v", list)
	}
	ended := Permit(t, provider.ActionDelete, provider.Resource("p", "feishu"))
	must(t, s.providers.DeleteProvider(t.Context(), ended, "p", "feishu"))
	if list := former(); len(list) != 0 {
		t.Errorf("before its tokens are revoked: %+v", list)
	}
	revocations, err := s.vault.TakeRevocations(t.Context(), ended.Entry().Time.Add(time.Hour), ended.Entry().Time.Add(2*time.Hour), 10)
	if must(t, err); len(revocations) != 1 {
		t.Fatalf("%d grants are to be revoked", len(revocations))
	}
	must(t, s.vault.FinishRevocation(t.Context(), Permit(t, vault.ActionRevokeUpstream, vault.GrantResource("p", revocations[0].GrantID)), revocations[0]))
	list := former()
	if len(list) != 1 || list[0].ID != v.ID || string(list[0].SealedSecret) != string(v.SealedSecret) || cmp.Diff(list[0].Options, v.Options) != "" || !list[0].Ended.Equal(ended.Entry().Time.Truncate(time.Millisecond)) {
		t.Fatalf("former: %+v", list)
	}
	forget := Permit(t, provider.ActionUnregister, provider.Resource("p", "feishu"))
	must(t, s.providers.ForgetFormer(t.Context(), forget, v))
	wantCode(t, s.providers.ForgetFormer(t.Context(), forget, v), "provider_not_found")
	_, err = s.providers.FormerProvider(t.Context(), v.ID)
	wantCode(t, err, "provider_not_found")
}

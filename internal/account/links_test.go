package account_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/store"
)

// links gives both users of the pool staff an account at the provider feishu,
// beside which there is the provider lark.
func (w *world) links() store.Identities {
	w.t.Helper()
	stores := store.Identities{DB: w.stores.UserPools.DB}
	for _, kind := range []idp.Type{idp.Feishu, idp.Lark} {
		p := idp.Provider{ID: "idp_" + string(kind), Pool: "staff", Name: string(kind), Type: kind, ClientID: "cli_1", SealedSecret: []byte("sealed"), Enabled: true, CreatedAt: w.now(), UpdatedAt: w.now(), Version: 1}
		w.must(stores.CreateProvider(w.t.Context(), w.permit(idp.ActionCreate, p.Resource()), p))
	}
	for _, user := range []string{"zhang", "li"} {
		l := idp.Link{Pool: "staff", ProviderID: "idp_feishu", Issuer: "https://feishu.example", Subject: "ou_" + user, UserID: "usr_" + user + "_staff", Name: user, CreatedAt: w.now()}
		w.must(stores.CreateLink(w.t.Context(), w.permit(idp.ActionCreateLink, idp.UserResource("staff", l.UserID)), l))
	}
	return stores
}

// TestHostileLinkForms sends the forms about accounts elsewhere as they were not
// made: for another account, by another person, from another site, too late.
func TestHostileLinkForms(t *testing.T) {
	w := newWorld(t)
	stores := w.links()
	const home, begin, remove = "/userpool/staff/account", "/account/links/begin", "/account/links/remove"
	zhang, li := w.person(), w.person()
	zhang.logIn("staff", "zhang", password)
	li.logIn("staff", "li", password)
	hers, his := zhang.get(home), li.get(home)
	zhang.want(hers, http.StatusOK, home, "Feishu")
	with := func(form url.Values, field, value string) url.Values {
		form.Set(field, value)
		return form
	}
	token := li.fill(his, remove).Get(browser.FormField)
	for what, row := range map[string]struct {
		path   string
		form   url.Values
		header http.Header
	}{
		"another's account with the own token":   {remove, with(zhang.fill(hers, remove), "subject", "ou_li"), nil},
		"another's whole form":                   {remove, li.fill(his, remove), nil},
		"the own account with another's token":   {remove, with(zhang.fill(hers, remove), browser.FormField, token), nil},
		"unlinking by the token of linking":      {remove, with(zhang.fill(hers, remove), browser.FormField, zhang.fill(hers, begin).Get(browser.FormField)), nil},
		"unlinking, sent by another site":        {remove, zhang.fill(hers, remove), http.Header{"Sec-Fetch-Site": {"cross-site"}}},
		"unlinking without a token":              {remove, with(zhang.fill(hers, remove), browser.FormField, ""), nil},
		"another provider with the own token":    {begin, with(zhang.fill(hers, begin), "idp", "feishu"), nil},
		"linking, sent by another site":          {begin, zhang.fill(hers, begin), http.Header{"Sec-Fetch-Site": {"cross-site"}}},
		"linking with another's form":            {begin, li.fill(his, begin), nil},
		"linking by the token of unlinking":      {begin, with(zhang.fill(hers, begin), browser.FormField, zhang.fill(hers, remove).Get(browser.FormField)), nil},
		"linking without a token":                {begin, with(zhang.fill(hers, begin), browser.FormField, ""), nil},
		"a provider that does not exist, forged": {begin, url.Values{"idp": {"evil"}, browser.FormField: {token}}, nil},
	} {
		if got := zhang.send("POST", "/userpool/staff"+row.path, row.form, row.header); got.status != http.StatusForbidden {
			t.Errorf("%s: %d\n%s", what, got.status, got.body)
		}
	}
	w.pass(11 * time.Minute) // the login is not recent any more
	for _, action := range []string{begin, remove} {
		zhang.want(zhang.submit(hers, action), http.StatusOK, "/login?return=", "User name")
	}
	for _, user := range []string{"zhang", "li"} {
		if list, err := stores.LinksOf(t.Context(), "staff", "usr_"+user+"_staff"); err != nil || len(list) != 1 || list[0].Subject != "ou_"+user {
			t.Errorf("%s has %+v, %v", user, list, err)
		}
	}
	// Logged in again it works, and a second time it has been done.
	zhang.logIn("staff", "zhang", password)
	again := zhang.get(home)
	for range 2 {
		if got := zhang.want(zhang.submit(again, remove), http.StatusOK, home, "Feishu"); strings.Contains(got.body, remove) {
			t.Error("the account is still linked")
		}
	}
	if list, err := stores.LinksOf(t.Context(), "staff", "usr_li_staff"); err != nil || len(list) != 1 {
		t.Errorf("the other's account: %+v, %v", list, err)
	}
}

package peers_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/callback"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// long is longer than any third party's access token lives.
const long = 25 * time.Hour

// thirdParty is a real server at which an agent acts for a person.
type thirdParty struct {
	settings apiclient.ProviderSettings
	secret   string
	token    string // the token endpoint
	userInfo string
	member   string // of userInfo's answer, that says
	account  string // whose account it is
	family   bool   // a spent refresh token ends what came of it
	outcome  string // of a revocation
}

func thirdParties() map[string]func(t testing.TB, callback string) thirdParty {
	return map[string]func(t testing.TB, callback string) thirdParty{
		"gitea": func(t testing.TB, callback string) thirdParty {
			at := startGitea(t)
			id, secret := giteaApp(t, at, callback)
			return thirdParty{
				settings: apiclient.ProviderSettings{Vendor: "gitea", ClientID: id, Scopes: []string{"openid", "read:user"}, Endpoints: vendor.Endpoints{Base: at}},
				secret:   secret, token: at + "/login/oauth/access_token", userInfo: at + "/api/v1/user", member: "login", account: giteaUser, outcome: "the third party has no revocation",
			}
		},
		"dex": func(t testing.TB, callback string) thirdParty {
			at := providers()["dex"](t, "client-secret", callback)
			return thirdParty{
				settings: apiclient.ProviderSettings{Vendor: "dex", ClientID: "deputy", Scopes: []string{"openid", "email", "profile", "offline_access"}, Endpoints: vendor.Endpoints{Base: at}},
				secret:   "client-secret", token: at + "/token", userInfo: at + "/userinfo", member: "email", account: "li.si@example.com", outcome: "the third party has no revocation",
			}
		},
		"oidc-provider": func(t testing.TB, callback string) thirdParty {
			at := providers()["oidc-provider"](t, "client-secret", callback)
			return thirdParty{
				settings: apiclient.ProviderSettings{
					Vendor: "custom", ClientID: "deputy", Scopes: []string{"openid", "profile", "offline_access"}, DiscoveryURL: at + "/.well-known/openid-configuration",
					Parameters: map[string]string{"prompt": "consent"}, // without, it gives no refresh token (OpenID Connect Core 1.0, section 11)
				},
				secret: "client-secret", token: at + "/token", userInfo: at + "/me", member: "sub", account: "lisi", family: true, outcome: "revoked",
			}
		},
	}
}

// TestThirdParties has an agent act for a person at real servers, from the
// creation of the credential provider to the end of the grant.
func TestThirdParties(t *testing.T) {
	for what, start := range thirdParties() {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, jwt.ES256)
			third := start(t, w.URL+callback.Path)
			tap := newTap(t, third.token)
			third.settings.Endpoints.Token = tap.URL
			api, doc, scopes := w.api(), w.agent(), third.settings.Scopes
			saved, err := api.CreateProvider(t.Context(), "default", "third", third.settings, secret.FromString(third.secret))
			w.must(err)
			if outcomes(saved.Checks, "failed") != "" || outcomes(saved.Checks, "passed") == "" {
				t.Errorf("what was found out when it was saved: %+v", saved.Checks)
			}
			w.tried(api)
			before := len(tap.refreshes())

			zhangsan := w.person()
			if got := doc.authorize(zhangsan, doc.link(scopes...)).Authorization; got.State != "completed" {
				t.Fatalf("the authorization is %s %s: %s", got.State, got.Reason, got.Message)
			}
			third.opens(t, doc.ready(scopes...))
			w.pass(long)
			doc.togetherReady(scopes)
			spent := tap.refreshes()[before:]
			if len(spent) != 1 || spent[0] == "" {
				t.Fatalf("%d refreshes of one expired token", len(spent))
			}
			third.opens(t, doc.ready(scopes...))
			w.pass(long)
			third.opens(t, doc.ready(scopes...))
			if again := tap.refreshes()[before:]; len(again) != 2 || again[1] == spent[0] {
				t.Errorf("of %d refreshes the second was made with the refresh token of the first", len(again))
			}
			third.refuses(t, spent[0])
			w.pass(long)
			if !third.family {
				third.opens(t, doc.ready(scopes...))
			} else if got := doc.authorize(zhangsan, doc.link(scopes...)).Authorization; got.State != "completed" {
				t.Errorf("after the third party ended the grant the authorization is %s %s: %s", got.State, got.Reason, got.Message)
			}
			third.ended(w, api, doc.ready(scopes...))
			doc.link(scopes...)
		})
	}
}

// outcomes lists the steps with an outcome.
func outcomes(steps []apiclient.TestStep, outcome string) string {
	var list []string
	for _, s := range steps {
		if s.Outcome == outcome {
			list = append(list, s.Step+" "+s.Code)
		}
	}
	return strings.Join(list, ", ")
}

// tried tests the provider with a browser that is nobody's.
func (w *world) tried(api *apiclient.Client) {
	w.t.Helper()
	begun, err := api.TestProvider(w.t.Context(), "default", "third")
	w.must(err)
	page := w.person().through(begun.URL)
	got, err := api.ProviderTest(w.t.Context(), "default", "third", begun.ID, 20*time.Second)
	w.must(err)
	var steps []string
	for _, s := range got.Steps {
		steps = append(steps, s.Step)
	}
	if !got.Works || outcomes(got.Steps, "skipped") != "" || !slices.Contains(steps, "refresh") || !slices.Contains(steps, "request") || !strings.Contains(page, "可以使用") {
		w.t.Errorf("the test ended with %+v", got.Steps)
	}
}

// togetherReady has many ask for a credential at once.
func (a *agent) togetherReady(scopes []string) {
	a.w.t.Helper()
	body, err := json.Marshal(map[string]any{"provider": "third", "scopes": scopes})
	a.w.must(err)
	token := a.token()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			r, err := http.NewRequestWithContext(a.w.t.Context(), http.MethodPost, a.w.URL+"/api/v1/credentials", strings.NewReader(string(body)))
			if err != nil {
				a.w.t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				a.w.t.Error(err)
				return
			}
			defer resp.Body.Close()
			var got asked
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Status != "ready" {
				a.w.t.Errorf("%d %q %v", resp.StatusCode, got.Status, err)
			}
		})
	}
	all.Wait()
}

// answers asks the third party whose account an access token opens.
func (p thirdParty) answers(t testing.TB, access string) (status int, account string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.userInfo, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+access)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&got) // a refusal need not be JSON
	account, _ = got[p.member].(string)
	return resp.StatusCode, account
}

// opens checks that an access token opens the person's account.
func (p thirdParty) opens(t testing.TB, access string) {
	t.Helper()
	if status, account := p.answers(t, access); status != http.StatusOK || account != p.account {
		t.Errorf("the token opens %q: %d", account, status)
	}
}

// refuses checks that a refresh token that was spent is dead at the third party,
// which may end everything that came of it.
func (p thirdParty) refuses(t testing.TB, refresh string) {
	t.Helper()
	resp, err := http.PostForm(p.token, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {p.settings.ClientID}, "client_secret": {p.secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.StatusCode != http.StatusBadRequest || got.Error == "invalid_client" {
		t.Errorf("a spent refresh token: %d %q %v", resp.StatusCode, got.Error, err)
	}
}

// ended has an operator end the grant, and checks what becomes of its tokens.
func (p thirdParty) ended(w *world, api *apiclient.Client, access string) {
	t := w.t
	t.Helper()
	for g, err := range api.Grants(t.Context(), "default", apiclient.HeldFilter{}) {
		w.must(err)
		if g.Account == "" {
			t.Errorf("the grant says nothing about the account: %+v", g)
		}
		w.must(api.DeleteGrant(t.Context(), "default", g.ID))
	}
	look, deadline := time.NewTicker(20*time.Millisecond), time.NewTimer(time.Minute)
	defer look.Stop()
	defer deadline.Stop()
	for {
		list, err := api.Audit(t.Context(), audit.Filter{Action: "grant.revoke-upstream"})
		w.must(err)
		if len(list) > 0 {
			if got := list[0].Entry; got.Outcome != audit.Allowed || got.Detail["outcome"] != p.outcome {
				t.Errorf("recorded: %+v", got)
			}
			break
		}
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatal("nobody dealt with the tokens of the grant")
		}
	}
	if status, _ := p.answers(t, access); (status == http.StatusUnauthorized) != (p.outcome == "revoked") {
		t.Errorf("after the end the third party answers %d", status)
	}
}

package federation_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
)

// plain is a small OAuth 2.0 server that is no OpenID provider, as GitHub is: at
// it everybody is logged in, and it tells who he is at addresses of its own.
type plain struct {
	mu     sync.Mutex
	codes  map[string]bool
	tokens map[string]bool
	answer string            // of the token endpoint, in place of a token
	says   map[string]string // by path: JSON that an access token opens
}

func (p *plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/login/oauth/authorize":
		code := name.NewToken("gc")
		p.codes[code] = true
		q := url.Values{"code": {code}, "state": {r.FormValue("state")}}
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?"+q.Encode(), http.StatusFound)
	case "/login/oauth/access_token":
		w.Header().Set("Content-Type", "application/json")
		switch {
		case p.answer != "":
			_, _ = w.Write([]byte(p.answer))
		case !p.codes[r.FormValue("code")] || r.FormValue("client_secret") != "right":
			_, _ = w.Write([]byte(`{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired."}`)) // with status 200
		default:
			delete(p.codes, r.FormValue("code"))
			token := name.NewToken("gho")
			p.tokens[token] = true
			_ = json.NewEncoder(w).Encode(map[string]string{"access_token": token, "token_type": "bearer", "scope": "read:user,user:email"})
		}
	default:
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if says := p.says[r.URL.Path]; says != "" && p.tokens[token] {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(says))
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// newPlainWorld is a Deputy with the pools staff and guests, whose provider "corp"
// is a plain OAuth 2.0 server.
func newPlainWorld(t *testing.T, kind string, says map[string]string, settings map[string]any) (*world, *plain) {
	t.Helper()
	p := &plain{codes: map[string]bool{}, tokens: map[string]bool{}, says: says}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	w := &world{t: t, Replica: servertest.Start(t, server.Config{
		Data: servertest.DataDir(t), Version: "test", Logger: slog.New(slog.DiscardHandler), AllowOutbound: []string{srv.Listener.Addr().String()},
	})}
	token, err := os.ReadFile(filepath.Join(w.Dir, "operator.token"))
	w.must(err)
	w.token = strings.TrimSpace(string(token))
	in := map[string]any{"name": "corp", "type": kind, "clientId": "Iv1.1", "clientSecret": "right", "createUsers": true, "endpoints": map[string]string{
		"authorization": srv.URL + "/login/oauth/authorize", "token": srv.URL + "/login/oauth/access_token", "userInfo": srv.URL + "/user",
	}}
	for key, value := range settings {
		in[key] = value
	}
	w.api(http.MethodPost, base, map[string]any{"name": "staff"}, http.StatusCreated)
	w.seen = w.api(http.MethodPost, base+"/staff/identity-providers", in, http.StatusCreated)
	return w, p
}

func TestGitHub(t *testing.T) {
	w, p := newPlainWorld(t, "github", map[string]string{
		"/user":        `{"id":583231,"login":"octocat","name":"The Octocat","email":null}`,
		"/user/emails": `[{"email":"old@example.com","primary":false,"verified":true},{"email":"octocat@example.com","primary":true,"verified":true}]`,
	}, map[string]any{"linkByVerifiedEmail": true})
	for range 2 {
		w.open(w.browser(), w.begin("staff"), http.StatusOK, "The Octocat")
	}
	users := w.users()
	if len(users) != 1 {
		t.Fatalf("one account, %d users", len(users))
	}
	if u := users[0].(map[string]any); u["userName"] != "octocat" || u["email"] != "octocat@example.com" || u["emailVerified"] != true {
		t.Errorf("%v", u)
	}
	// Errors come with status 200.
	p.mu.Lock()
	p.answer = `{"error":"bad_verification_code"}`
	p.mu.Unlock()
	page, err := w.browser().Get(t.Context(), w.begin("staff"), nil)
	w.must(err)
	if page.Status < 400 {
		t.Errorf("a refused code: %d\n%s", page.Status, page.Body)
	}
}

func TestAnUnverifiedAddressAtGitHub(t *testing.T) {
	w, _ := newPlainWorld(t, "github", map[string]string{
		"/user": `{"id":7,"login":"eve","name":"Eve","email":"boss@example.com"}`, "/user/emails": `[{"email":"boss@example.com","primary":true,"verified":false}]`,
	}, map[string]any{"linkByVerifiedEmail": true, "createUsers": false})
	w.api(http.MethodPost, base+"/staff/users", map[string]any{"userName": "boss", "email": "boss@example.com", "emailVerified": true}, http.StatusCreated)
	w.open(w.browser(), w.begin("staff"), http.StatusForbidden, "idp_user_unknown")
}

func TestAnOAuthServerWithAMapping(t *testing.T) {
	w, p := newPlainWorld(t, "oauth2", map[string]string{"/user": `{"data":{"id":"u-1","nick":"李四","dept":"研发","boss":{"city":"北京"}}}`}, map[string]any{
		"scopes":  []string{"basic"},
		"mapping": map[string]any{"subject": "data.id", "name": "data.nick", "department": "data.dept", "attributes": map[string]string{"city": "data.boss.city"}},
	})
	// The token endpoint wants the secret in the body, which is the dialect of GitHub; a generic server is asked with Basic.
	page, err := w.browser().Get(t.Context(), w.begin("staff"), nil)
	w.must(err)
	if page.Status < 400 {
		t.Errorf("a secret that does not arrive is taken: %d", page.Status)
	}
	p.mu.Lock()
	p.answer = `{"access_token":"fixed","token_type":"Bearer"}`
	p.tokens["fixed"] = true
	p.mu.Unlock()
	w.open(w.browser(), w.begin("staff"), http.StatusOK, "李四")
	u := w.users()[0].(map[string]any)
	attributes, _ := u["attributes"].(map[string]any)
	if attributes["department"] != "研发" || attributes["city"] != "北京" {
		t.Errorf("%v", u)
	}
	for what, says := range map[string]string{
		"nobody": `{"data":{}}`, "no object": `[]`, "no JSON": `<html>`, "a subject that is none": `{"data":{"id":{"a":1}}}`, "an empty subject": `{"data":{"id":""}}`,
		"a giant": `{"data":{"id":"` + strings.Repeat("x", 1<<20) + `"}}`,
	} {
		p.mu.Lock()
		p.says["/user"] = says
		p.mu.Unlock()
		page, err := w.browser().Get(t.Context(), w.begin("staff"), nil)
		w.must(err)
		if page.Status < 400 || page.Status == http.StatusInternalServerError {
			t.Errorf("%s: %d\n%s", what, page.Status, page.Body)
		}
	}
	if n := len(w.users()); n != 1 {
		t.Errorf("%d users", n)
	}
}

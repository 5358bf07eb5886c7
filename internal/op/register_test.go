package op_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// initialToken makes an initial access token of a pool that allows registration.
func (w *world) initialToken(pool string, uses int) string {
	w.t.Helper()
	w.settings(pool, func(s *userpool.Settings) {
		s.DynamicRegistration = true
		s.Open = userpool.OpenClients{Scopes: []string{"notes:read"}, Audiences: []string{"https://mcp.example/mcp"}}
	})
	t, value := userpool.NewInitialToken(pool, "test", uses, time.Hour, w.now())
	w.must(w.stores.CreateInitialToken(w.t.Context(), w.permit(userpool.ActionCreateInitialToken, t.Resource()), t))
	return value.RevealString()
}

// json sends a request with a bearer token.
func (w *world) json(method, target, token, body string) page {
	w.t.Helper()
	header := http.Header{"Content-Type": {"application/json"}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return w.person().send(method, target, strings.NewReader(body), header)
}

// registered is what a client that registered itself was told.
type registered struct {
	ID      string `json:"client_id"`
	Secret  string `json:"client_secret"`
	Expires *int   `json:"client_secret_expires_at"`
	Token   string `json:"registration_access_token"`
	URI     string `json:"registration_client_uri"`
	Method  string `json:"token_endpoint_auth_method"`
	Name    string `json:"client_name"`
	Scope   string `json:"scope"`
}

func (w *world) read(p page, status int) registered {
	w.t.Helper()
	var r registered
	if p.status != status || json.Unmarshal([]byte(p.body), &r) != nil || r.ID == "" || r.Token == "" || p.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("status %d, want %d: %s", p.status, status, p.body)
	}
	return r
}

const mcpClient = `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"none","client_name":"MCP 客户端","grant_types":["authorization_code","refresh_token"]}`

// TestRegistration registers a client as MCP clients do, logs in with it on a
// port of its choice, and gets tokens for the MCP server.
func TestRegistration(t *testing.T) {
	w := newWorld(t)
	initial := w.initialToken("staff", 1)
	c := w.read(w.json("POST", "/userpool/staff/register", initial, mcpClient), http.StatusCreated)
	if c.Secret != "" || c.Expires != nil || c.Method != "none" || c.Name != "MCP 客户端" || c.URI != w.url+"/userpool/staff/register/"+c.ID {
		t.Errorf("registered %+v", c)
	}
	p := w.person()
	p.logIn("staff")
	v := oauth.NewVerifier()
	const callback = "http://127.0.0.1:49152/cb"
	target := w.ask("staff", "client_id", c.ID, "redirect_uri", callback, "scope", "openid notes:read", "resource", "https://mcp.example/mcp",
		"code_challenge", oauth.Challenge(v), "code_challenge_method", "S256")
	if shown := p.get(target); !strings.Contains(shown.body, "MCP 客户端") || !strings.Contains(shown.body, "notes:read") {
		t.Errorf("the consent page: %d %s\n%s", shown.status, shown.to, shown.body)
	}
	tokens := w.good(w.person().post("/userpool/staff/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {p.code(target)}, "redirect_uri": {callback},
		"client_id": {c.ID}, "code_verifier": {v.RevealString()}}))
	if w.claims(tokens.Access)["aud"] != "https://mcp.example/mcp" {
		t.Errorf("the token is %v", w.claims(tokens.Access))
	}

	w.bad("a second client", w.json("POST", "/userpool/staff/register", initial, mcpClient), 401, "invalid_token")

	// Read, change, delete (RFC 7592).
	read := w.read(w.json("GET", c.URI, c.Token, ""), http.StatusOK)
	if read.Token != c.Token || read.Secret != "" || read.Scope == "" {
		t.Errorf("read %+v", read)
	}
	update := `{"client_id":"` + c.ID + `","redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"client_secret_post","client_name":"App","scope":"openid"}`
	changed := w.read(w.json("PUT", c.URI, c.Token, update), http.StatusOK)
	if changed.Secret == "" || changed.Expires == nil || *changed.Expires != 0 || changed.Name != "App" || changed.Scope != "openid" {
		t.Errorf("changed to %+v", changed)
	}
	again := w.read(w.json("PUT", c.URI, c.Token, strings.Replace(update, `"scope"`, `"client_secret":"`+changed.Secret+`","scope"`, 1)), http.StatusOK)
	if again.Secret != "" {
		t.Error("a client that has a secret got another one")
	}
	if p := w.person().post("/userpool/staff/oauth/revoke", url.Values{"token": {"x"}, "client_id": {c.ID}, "client_secret": {changed.Secret}}); p.status != http.StatusOK {
		t.Errorf("with the new secret: %d %s", p.status, p.body)
	}
	if p := w.json("DELETE", c.URI, c.Token, ""); p.status != http.StatusNoContent {
		t.Errorf("deleted: %d %s", p.status, p.body)
	}
	w.bad("a deleted client", w.json("GET", c.URI, c.Token, ""), 401, "invalid_token")
}

func TestHostileRegistration(t *testing.T) {
	w := newWorld(t)
	initial := w.initialToken("staff", 100)
	const at = "/userpool/staff/register"
	for what, c := range map[string]struct{ body, code string }{
		"script":         {`{"redirect_uris":["javascript:alert(1)"]}`, "invalid_redirect_uri"},
		"no URI":         {`{}`, "invalid_redirect_uri"},
		"many URIs":      {`{"redirect_uris":["https://a.example/0` + strings.Repeat(`","https://a.example/1`, 30) + `"]}`, "invalid_redirect_uri"},
		"unknown method": {`{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"tls_client_auth"}`, "invalid_client_metadata"},
		"exchange":       {`{"redirect_uris":["https://a.example/"],"grant_types":["urn:ietf:params:oauth:grant-type:token-exchange"]}`, "invalid_client_metadata"},
		"foreign scope":  {`{"redirect_uris":["https://a.example/"],"scope":"admin"}`, "invalid_client_metadata"},
		"statement":      {`{"redirect_uris":["https://a.example/"],"software_statement":"e30.e30."}`, "unapproved_software_statement"},
		"not JSON":       {`redirect_uris=x`, "invalid_client_metadata"},
		"twice":          {`{"redirect_uris":["https://a.example/"],"redirect_uris":["https://b.example/"]}`, "invalid_client_metadata"},
		"nothing":        {``, "invalid_client_metadata"},
	} {
		w.bad(what, w.json("POST", at, initial, c.body), 400, c.code)
	}
	w.bad("oversize", w.json("POST", at, initial, `{"x":"`+strings.Repeat("x", 40<<10)+`"}`), 413, "invalid_request")
	w.bad("a form", w.person().send("POST", at, strings.NewReader(mcpClient), http.Header{"Authorization": {"Bearer " + initial}, "Content-Type": {"text/plain"}}), 400, "invalid_client_metadata")
	w.bad("no token", w.json("POST", at, "", mcpClient), 401, "invalid_token")
	w.bad("another token", w.json("POST", at, "it_x", mcpClient), 401, "invalid_token")
	w.bad("off", w.json("POST", "/userpool/guests/register", initial, mcpClient), 404, "invalid_request")
	foreign := w.initialToken("guests", 1)
	w.bad("another pool's token", w.json("POST", at, foreign, mcpClient), 401, "invalid_token")

	a, b := w.read(w.json("POST", at, initial, mcpClient), 201), w.read(w.json("POST", at, initial, mcpClient), 201)
	if a.ID == b.ID {
		t.Error("one client for two registrations")
	}
	w.pass(10 * time.Minute)
	w.bad("another client's token", w.json("GET", a.URI, b.Token, ""), 401, "invalid_token")
	w.bad("the initial token", w.json("GET", a.URI, initial, ""), 401, "invalid_token")
	w.bad("an operator's client", w.json("DELETE", at+"/cli_chat_staff", a.Token, ""), 401, "invalid_token")
	w.bad("in another pool", w.json("GET", strings.ReplaceAll(a.URI, "staff", "guests"), a.Token, ""), 401, "invalid_token")
	for what, body := range map[string]string{
		"another id":    `{"client_id":"` + b.ID + `","redirect_uris":["https://a.example/"]}`,
		"no id":         `{"redirect_uris":["https://a.example/"]}`,
		"own secret":    `{"client_id":"` + a.ID + `","client_secret":"mine","redirect_uris":["https://a.example/"]}`,
		"own token":     `{"client_id":"` + a.ID + `","registration_access_token":"mine","redirect_uris":["https://a.example/"]}`,
		"more scopes":   `{"client_id":"` + a.ID + `","scope":"admin","redirect_uris":["https://a.example/"]}`,
		"no method":     `{"client_id":"` + a.ID + `","token_endpoint_auth_method":"x","redirect_uris":["https://a.example/"]}`,
		"secret a list": `{"client_id":"` + a.ID + `","client_secret":[],"redirect_uris":["https://a.example/"]}`,
	} {
		w.bad(what, w.json("PUT", a.URI, a.Token, body), 400, "invalid_client_metadata")
	}
	w.pass(time.Hour)
	w.bad("an expired token", w.json("POST", at, initial, mcpClient), 401, "invalid_token")
	if !slices.Contains(w.reasons(), "the initial access token is unknown, used up or expired") {
		t.Errorf("not in the audit log: %q", w.reasons())
	}
	slowed := 0
	for range 20 {
		if w.json("POST", at, "it_x", mcpClient).status == http.StatusTooManyRequests {
			slowed++
		}
	}
	if slowed < 10 {
		t.Errorf("%d slowed", slowed)
	}
}

// document serves a metadata document elsewhere and returns its client_id.
func (w *world) document(path, more string) string {
	id := w.away.URL + path
	w.elsewhere.HandleFunc(path, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(rw, `{"client_id":%q,"redirect_uris":["http://localhost/cb","%s/cb"]%s}`, id, w.away.URL, more)
	})
	return id
}

func TestMetadataDocuments(t *testing.T) {
	w := newWorld(t)
	w.settings("staff", func(s *userpool.Settings) { s.MetadataDocuments = true })
	id := w.document("/client.json", `,"client_name":"Friendly","grant_types":["authorization_code","refresh_token","implicit"]`)
	p := w.person()
	p.logIn("staff")
	v := oauth.NewVerifier()
	const callback = "http://localhost:1234/cb"
	target := w.ask("staff", "client_id", id, "redirect_uri", callback, "code_challenge", oauth.Challenge(v), "code_challenge_method", "S256")
	shown := p.get(target)
	if host := strings.TrimPrefix(w.away.URL, "https://"); !strings.Contains(shown.body, `<p class="who">`+host+`</p>`) || !strings.Contains(shown.body, "calls itself “Friendly”") {
		t.Fatalf("the consent page: %d %s\n%s", shown.status, shown.to, shown.body)
	}
	if all, err := w.stores.Clients(t.Context(), "staff"); err != nil || slices.ContainsFunc(all, func(c userpool.Client) bool { return c.ID == id }) {
		t.Errorf("stored before anybody let it in: %v", err)
	}
	tokens := w.good(w.person().post("/userpool/staff/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {p.code(target)}, "redirect_uri": {callback},
		"client_id": {id}, "code_verifier": {v.RevealString()}}))
	if w.claims(tokens.Access)["client_id"] != id || tokens.Refresh == "" {
		t.Errorf("the tokens are %+v", tokens)
	}
	w.good(w.person().post("/userpool/staff/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}, "client_id": {id}}))
	stored, err := w.stores.Client(t.Context(), "staff", id)
	if err != nil || stored.Origin != userpool.ByDocument || stored.Title() != "Friendly" {
		t.Errorf("stored: %+v, %v", stored, err)
	}
	// Nobody else's pool, and no pool that does not want it.
	if shown := p.get(strings.ReplaceAll(target, "staff", "guests")); shown.status != 400 || !strings.Contains(shown.body, "client_unknown") {
		t.Errorf("a pool without documents: %d", shown.status)
	}
}

// TestADocumentWithKeys: a client that is a document authenticates with the keys in it.
func TestADocumentWithKeys(t *testing.T) {
	w := newWorld(t)
	w.settings("staff", func(s *userpool.Settings) { s.MetadataDocuments = true })
	r := w.robot()
	id := w.document("/robot", `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"`+w.away.URL+`/robot-keys"`)
	w.elsewhere.HandleFunc("/robot-keys", func(rw http.ResponseWriter, _ *http.Request) {
		c, err := w.stores.Client(t.Context(), "staff", robotID)
		w.must(err)
		_, _ = rw.Write([]byte(c.Keys))
	})
	push := func(assertion string) page {
		return w.person().post("/userpool/staff/par", url.Values{"client_assertion_type": {oauth.AssertionJWT}, "client_assertion": {assertion}, "response_type": {"code"},
			"scope": {"openid"}, "redirect_uri": {w.away.URL + "/cb"}})
	}
	if p := push(r.sign("iss", id, "sub", id)); p.status != http.StatusCreated {
		t.Errorf("pushed: %d %s", p.status, p.body)
	}
	w.bad("another's key", push((&robot{w: w, key: newKey(t, "ES256")}).sign("iss", id, "sub", id)), 401, "invalid_client")
	w.bad("no key", w.person().post("/userpool/staff/par", url.Values{"client_id": {id}}), 401, "invalid_client")
}

func TestHostileDocuments(t *testing.T) {
	w := newWorld(t)
	w.settings("staff", func(s *userpool.Settings) { s.MetadataDocuments = true })
	p := w.person()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	good := `{"client_id":"%s","redirect_uris":["%s/cb"]}`
	serve := func(path string, answer func(rw http.ResponseWriter, id string)) string {
		id := w.away.URL + path
		w.elsewhere.HandleFunc("GET "+path, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			answer(rw, id)
		})
		return id
	}
	text := func(path, body string) string {
		return serve(path, func(rw http.ResponseWriter, id string) {
			_, _ = rw.Write([]byte(strings.NewReplacer("ID", id, "HERE", w.away.URL).Replace(body)))
		})
	}
	w.document("/target", "")
	for what, id := range map[string]string{
		"lies":             text("/lies", `{"client_id":"https://claude.ai/client.json","redirect_uris":["HERE/cb"]}`),
		"no client_id":     text("/none", `{"redirect_uris":["HERE/cb"]}`),
		"foreign redirect": text("/foreign", `{"client_id":"ID","redirect_uris":["https://evil.example/cb"]}`),
		"foreign keys":     text("/keys-elsewhere", `{"client_id":"ID","redirect_uris":["HERE/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://evil.example/"}`),
		"script":           text("/script", `{"client_id":"ID","redirect_uris":["javascript:alert(1)"]}`),
		"secret":           text("/secret", `{"client_id":"ID","redirect_uris":["HERE/cb"],"client_secret":"x"}`),
		"secret method":    text("/post", `{"client_id":"ID","redirect_uris":["HERE/cb"],"token_endpoint_auth_method":"client_secret_post"}`),
		"no redirect":      text("/empty", `{"client_id":"ID"}`),
		"not JSON":         text("/html", `<html>`),
		"huge":             text("/huge", `{"client_id":"ID","redirect_uris":["HERE/cb"],"x":"`+strings.Repeat("x", 20<<10)+`"}`),
		"HTML type": serve("/type", func(rw http.ResponseWriter, id string) {
			rw.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(rw, good, id, w.away.URL)
		}),
		"redirects": serve("/redirects", func(rw http.ResponseWriter, _ string) {
			rw.Header().Set("Location", w.away.URL+"/target")
			rw.WriteHeader(http.StatusFound)
		}),
		"missing":         serve("/missing", func(rw http.ResponseWriter, _ string) { rw.WriteHeader(http.StatusNotFound) }),
		"slow":            serve("/slow", func(http.ResponseWriter, string) { <-release }),
		"private address": "https://127.0.0.1:1/client.json",
		"metadata server": "https://169.254.169.254/latest/meta-data",
		"private network": "https://10.0.0.1/client.json",
		"no path":         w.away.URL,
		"root":            w.away.URL + "/",
		"dots":            w.away.URL + "/a/../target",
		"escaped dots":    w.away.URL + "/a/%2e%2e/target",
		"fragment":        w.away.URL + "/target#x",
		"user":            strings.Replace(w.away.URL, "https://", "https://user@", 1) + "/target",
		"long":            w.away.URL + "/" + strings.Repeat("a", 600),
		"plain http":      strings.Replace(w.away.URL, "https", "http", 1) + "/target",
	} {
		shown := p.get(w.ask("staff", "client_id", id, "redirect_uri", w.away.URL+"/cb"))
		if shown.status < 400 || shown.to != "" || !strings.Contains(shown.body, "<h1>") || strings.Contains(shown.body, "/login") {
			t.Errorf("%s: %d %s\n%s", what, shown.status, shown.to, shown.body)
		}
		if answer := w.person().post("/userpool/staff/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "client_id": {id}}); answer.status < 400 {
			t.Errorf("%s: token endpoint %d %s", what, answer.status, answer.body)
		}
	}
}

// TestDocumentsAreKept: for as long as HTTP says, in bounds.
func TestDocumentsAreKept(t *testing.T) {
	w := newWorld(t)
	w.settings("staff", func(s *userpool.Settings) { s.MetadataDocuments = true })
	p := w.person()
	for control, c := range map[string]struct{ within, after time.Duration }{
		"":                         {4 * time.Minute, 6 * time.Minute},
		"no-store":                 {50 * time.Second, 70 * time.Second},
		"max-age=0":                {50 * time.Second, 70 * time.Second},
		"public, max-age=600":      {9 * time.Minute, 11 * time.Minute},
		"max-age=99999999":         {59 * time.Minute, 61 * time.Minute},
		"max-age=-1":               {50 * time.Second, 70 * time.Second},
		"max-age=9999999999999999": {50 * time.Second, 70 * time.Second},
	} {
		fetched := 0
		path := fmt.Sprintf("/kept/%x", control)
		id := w.away.URL + path
		w.elsewhere.HandleFunc(path, func(rw http.ResponseWriter, _ *http.Request) {
			fetched++
			rw.Header().Set("Content-Type", "application/json; charset=utf-8")
			if control != "" {
				rw.Header().Set("Cache-Control", control)
			}
			_, _ = fmt.Fprintf(rw, `{"client_id":%q,"redirect_uris":["http://localhost/cb"]}`, id)
		})
		target := w.ask("staff", "client_id", id, "redirect_uri", "http://localhost/cb")
		p.get(target)
		w.pass(c.within)
		p.get(target)
		before := fetched
		w.pass(c.after - c.within)
		p.get(target)
		if before != 1 || fetched != 2 {
			t.Errorf("%q: fetched %d, then %d times", control, before, fetched)
		}
	}
}

package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
)

// mcp is an MCP server, as far as its door goes: it lets in who has a token for it
// of the issuer that it names, and tells others where tokens are (RFC 9728).
type mcp struct {
	*httptest.Server
	w        *world
	mu       sync.Mutex
	issuers  []string
	resource string // what it calls itself; empty: its address
}

func newMCP(t *testing.T) *mcp {
	t.Helper()
	m := &mcp{}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *mcp) address() string { return m.URL + "/mcp" }

func (m *mcp) serve(rw http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	self := m.resource
	if self == "" {
		self = m.address()
	}
	switch r.URL.Path {
	case "/meta":
		_ = json.NewEncoder(rw).Encode(map[string]any{"resource": self, "authorization_servers": m.issuers, "scopes_supported": []string{"docs.read", "docs.write"}})
	case "/mcp":
		switch scope := m.letIn(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")); {
		case r.Method != http.MethodPost:
			rw.WriteHeader(http.StatusMethodNotAllowed)
		case scope == "":
			rw.Header().Set("WWW-Authenticate", `Basic realm="a, b", Bearer error="invalid_token", resource_metadata="`+m.URL+`/meta", scope="docs.read"`)
			rw.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = rw.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}`))
		}
	default:
		http.NotFound(rw, r)
	}
}

// letIn returns the scope of a token that is for m, and "" for others.
func (m *mcp) letIn(token string) string {
	answer := send(m.w.t, noRedirects, "GET", m.w.issuer()+"/keys", nil, nil)
	set, err := jwt.ParseSet([]byte(answer.body))
	must(m.w.t, err)
	claims, err := set.Verify(token, jwt.Expect{Issuer: m.w.issuer(), Audience: m.address(), Types: []string{"at+jwt"}, Algorithms: []string{jwt.ES256}, Now: m.w.clock.now})
	if err != nil {
		return ""
	}
	return claims.Scope
}

// pool makes the pool of the people the authorization server of m, and returns
// an initial access token of it.
func (m *mcp) pool() string {
	w := m.w
	w.t.Helper()
	m.issuers = []string{w.issuer()}
	if a := w.api("PATCH", "/user-pools/people", w.operator, fmt.Sprintf(`{"settings":{"dynamicRegistration":true,"openScopes":["docs.read","docs.write"],"openAudiences":[%q]}}`, m.address())); a.status != http.StatusOK {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	var initial struct{ Token string }
	w.make("/user-pools/people/initial-tokens", `{"uses":5}`, &initial)
	return initial.Token
}

// newMCPWorld starts a world that reaches everything on this machine at 127.0.0.1.
func newMCPWorld(t *testing.T) (*world, *mcp) {
	t.Helper()
	m := newMCP(t)
	m.w = newWorld(t, func(c *server.Config) { c.AllowOutbound = append(c.AllowOutbound, "127.0.0.1") })
	return m.w, m
}

// madeMCP is a credential provider of an MCP server.
type madeMCP struct {
	ClientID, CallbackURL, Issuer, AuthMethod string
	Scopes                                    []string
	OwnCallback                               bool
	MCP                                       struct{ Resource, Client string }
	Checks                                    []struct{ Step, Outcome, Code string }
}

func (m madeMCP) outcome(step string) string {
	for _, c := range m.Checks {
		if c.Step == step {
			return c.Outcome
		}
	}
	return ""
}

// allow goes from a link to its result, where the person is asked by his own pool.
func (p *person) allow(link string) answer {
	p.t.Helper()
	at := p.location(p.get(link))
	if got := parameter(p.t, at, "resource"); got == "" {
		p.t.Errorf("the authorization request names no resource: %s", at)
	}
	action, form := p.fill(p.get(at), "decision", "decision", "allow")
	return p.finish(p.location(p.post(action, form)))
}

// TestMCP has people give agents what an MCP server takes tokens for, with a pool
// as its authorization server, at which Deputy registers itself.
func TestMCP(t *testing.T) {
	w, m := newMCPWorld(t)
	initial := m.pool()
	const providers = "/workload-pools/default/providers"
	var made madeMCP
	w.make(providers, fmt.Sprintf(`{"name":"docs","mcpServer":%q,"initialAccessToken":%q}`, m.address(), initial), &made)
	if made.Issuer != w.issuer() || made.MCP.Resource != m.address() || made.MCP.Client != "registered" || !slices.Equal(made.Scopes, []string{"docs.read", "offline_access"}) || !made.OwnCallback {
		t.Errorf("made %+v", made)
	}
	if made.outcome("discovery") != "passed" || made.outcome("client") != "passed" {
		t.Errorf("checks %+v", made.Checks)
	}
	zhangsan := w.person("zhangsan").logIn()
	wat := w.wat("a", "zhangsan")
	if done := zhangsan.allow(w.ask(wat, "docs").Authorization.URL); done.status != http.StatusOK || !strings.Contains(done.body, "Authorized") {
		t.Fatalf("status %d:\n%s", done.status, done.body)
	}
	first := w.ask(wat, "docs").Credential.AccessToken
	if scope := m.letIn(first); !strings.Contains(scope, "docs.read") || strings.Contains(scope, "docs.write") {
		t.Errorf("the MCP server reads %q", scope)
	}
	w.clock.pass(12 * time.Hour)
	wat = w.wat("a", "zhangsan")
	if next := w.ask(wat, "docs").Credential.AccessToken; next == first || m.letIn(next) == "" {
		t.Error("the refreshed token is not for the MCP server")
	}
	// The MCP server wants more (insufficient_scope), and the agent asks for it.
	more := w.ask(wat, "docs", "docs.write")
	if more.Status != "authorization_required" {
		t.Fatalf("for another scope: %+v", more)
	}
	if done := w.person("zhangsan").logIn().allow(more.Authorization.URL); done.status != http.StatusOK {
		t.Fatalf("status %d:\n%s", done.status, done.body)
	}
	if scope := m.letIn(w.ask(wat, "docs", "docs.write").Credential.AccessToken); !strings.Contains(scope, "docs.write") {
		t.Errorf("the MCP server reads %q", scope)
	}
	m.changed(made)
	m.deleted(made)
}

// changed tries what may be changed about a provider of an MCP server.
func (m *mcp) changed(made madeMCP) {
	w, t := m.w, m.w.t
	t.Helper()
	const docs = "/workload-pools/default/providers/docs"
	put := func(more string) answer {
		return w.api("PUT", docs, w.operator, fmt.Sprintf(`{"mcpServer":%q,"scopes":["docs.read","offline_access"]%s}`, m.address(), more))
	}
	var kept madeMCP
	if got := put(""); got.status != http.StatusOK || json.Unmarshal([]byte(got.body), &kept) != nil || kept.ClientID != made.ClientID || kept.AuthMethod != made.AuthMethod || kept.outcome("client") != "passed" {
		t.Errorf("saved again: %d %s", got.status, got.body)
	}
	for what, more := range map[string]string{
		"another authorization server": `,"authorizationServer":"https://other.example"`, "another client": `,"clientId":"other"`, "another secret": `,"clientSecret":"other"`, "another way": `,"authMethod":"none"`,
	} {
		if got := put(more); got.status != http.StatusBadRequest || !strings.Contains(got.body, `"mcp_fixed"`) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	for what, body := range map[string]string{"another MCP server": `{"mcpServer":"https://other.example/mcp"}`, "none": `{"vendor":"custom","endpoints":{}}`} {
		if got := w.api("PUT", docs, w.operator, body); got.status != http.StatusBadRequest || !strings.Contains(got.body, `"mcp`) && !strings.Contains(got.body, `field_not_for_mcp`) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	// It names another authorization server from now on: that is seen, and changes nothing.
	m.mu.Lock()
	m.issuers = []string{"https://other.example"}
	m.mu.Unlock()
	var checked madeMCP
	if got := w.api("POST", docs+"/check", w.operator, ""); json.Unmarshal([]byte(got.body), &checked) != nil || checked.outcome("discovery") != "failed" || !strings.Contains(got.body, "authorization_server_changed") || checked.Issuer != w.issuer() {
		t.Errorf("checked: %d %s", got.status, got.body)
	}
	if got := put(`,"rediscover":true`); !strings.Contains(got.body, `"authorization_server_changed"`) {
		t.Errorf("asked again: %d %s", got.status, got.body)
	}
	m.mu.Lock()
	m.issuers, m.resource = []string{"https://other.example", w.issuer()}, m.address()+"/"
	m.mu.Unlock()
	if got := put(`,"rediscover":true`); got.status != http.StatusOK || !strings.Contains(got.body, `"resource":"`+m.address()+`/"`) || !strings.Contains(got.body, made.ClientID) {
		t.Errorf("asked again: %d %s", got.status, got.body)
	}
}

// deleted deletes the provider, and its client follows when the tokens are revoked.
func (m *mcp) deleted(made madeMCP) {
	w, t := m.w, m.w.t
	t.Helper()
	client := "/user-pools/people/clients/" + made.ClientID
	if got := w.api("GET", client, w.operator, ""); got.status != http.StatusOK {
		t.Fatalf("the client: %d", got.status)
	}
	if got := w.api("DELETE", "/workload-pools/default/providers/docs", w.operator, ""); got.status != http.StatusNoContent {
		t.Fatalf("deleted: %d %s", got.status, got.body)
	}
	w.upstream(1)
	ring, db := w.ring()
	out, err := outbound.New(outbound.Config{Allow: []string{"127.0.0.1"}})
	must(t, err)
	defer out.Close()
	registry := &provider.Registry{Store: store.Providers{DB: db}, Guard: w.ownGuard(db), Sealer: ring, Metadata: &discovery.Client{Outbound: out}, Now: w.clock.now}
	must(t, registry.Sweep(t.Context()))
	if got := w.api("GET", client, w.operator, ""); got.status != http.StatusNotFound {
		t.Errorf("the client is still there: %d", got.status)
	}
	entries := w.entries(url.Values{"action": {string(provider.ActionUnregister)}})
	if len(entries) != 1 || entries[0].Outcome != "allowed" || entries[0].Detail["client"] != made.ClientID {
		t.Errorf("recorded: %+v", entries)
	}
	must(t, registry.Sweep(t.Context())) // there is nothing left to do
}

// stranger is an MCP server with its own authorization server, which says what a
// test puts there; {self} stands for its address.
type stranger struct {
	*httptest.Server
	mu      sync.Mutex
	pages   map[string]string
	answer  string // to a registration
	made    int
	deleted int
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	s := &stranger{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	s.behave(nil)
	return s
}

const (
	resourcePage = "/.well-known/oauth-protected-resource/mcp"
	serverPage   = "/.well-known/oauth-authorization-server"
)

// behave makes s honest, but for the given pages.
func (s *stranger) behave(pages map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = map[string]string{
		resourcePage: `{"resource":"{self}/mcp","authorization_servers":["{self}"]}`,
		serverPage: `{"issuer":"{self}","authorization_endpoint":"{self}/authorize","token_endpoint":"{self}/token","registration_endpoint":"{self}/register",
			"token_endpoint_auth_methods_supported":["none"],"code_challenge_methods_supported":["S256"]}`,
	}
	maps.Copy(s.pages, pages)
	s.answer = `{"client_id":"c1","redirect_uris":["{callback}"],"registration_client_uri":"{self}/register/c1","registration_access_token":"manage-SECRET"}`
}

func (s *stranger) serve(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fill := func(page, callback string) []byte {
		return []byte(strings.NewReplacer("{self}", "http://"+r.Host, "{callback}", callback).Replace(page))
	}
	page, ok := s.pages[r.URL.Path]
	switch {
	case page == "redirect":
		http.Redirect(rw, r, "/elsewhere", http.StatusFound)
	case ok:
		_, _ = rw.Write(fill(page, ""))
	case r.URL.Path == "/mcp":
		rw.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/register":
		var said struct {
			RedirectURIs []string `json:"redirect_uris"`
		}
		_ = json.NewDecoder(r.Body).Decode(&said)
		s.made++
		rw.WriteHeader(http.StatusCreated)
		_, _ = rw.Write(fill(s.answer, said.RedirectURIs[0]))
	case r.Method == http.MethodDelete && r.Header.Get("Authorization") == "Bearer manage-SECRET":
		s.deleted++
		rw.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(rw, r)
	}
}

// counts returns how many clients were made and deleted at s.
func (s *stranger) counts() (made, deleted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made, s.deleted
}

// TestHostileMCP: what a stranger says about somebody else does not count, and
// nothing is left at him when a provider is not saved.
func TestHostileMCP(t *testing.T) {
	s := newStranger(t)
	w := newWorld(t, func(c *server.Config) { c.AllowOutbound = append(c.AllowOutbound, s.Listener.Addr().String()) })
	server := func(from, to string) map[string]string {
		s.behave(nil)
		return map[string]string{serverPage: strings.Replace(s.pages[serverPage], from, to, 1)}
	}
	resource := func(page string) map[string]string { return map[string]string{resourcePage: page} }
	create := func(name, more string) answer {
		return w.api("POST", "/workload-pools/default/providers", w.operator, fmt.Sprintf(`{"name":%q,"mcpServer":%q%s}`, name, s.URL+"/mcp", more))
	}
	several := `{"resource":"{self}/mcp","authorization_servers":["https://first.example","{self}"]}`
	for what, c := range map[string]struct {
		pages      map[string]string
		more, code string
	}{
		"another resource":                   {resource(`{"resource":"{self}/other","authorization_servers":["{self}"]}`), "", "discovery_invalid"},
		"another host's resource":            {resource(`{"resource":"https://mcp.example/mcp","authorization_servers":["{self}"]}`), "", "discovery_invalid"},
		"another issuer":                     {server(`"issuer":"{self}"`, `"issuer":"https://other.example"`), "", "discovery_invalid"},
		"no PKCE":                            {server(`"code_challenge_methods_supported":["S256"]`, `"x":1`), "", "discovery_invalid"},
		"plain PKCE":                         {server(`"S256"`, `"plain"`), "", "discovery_invalid"},
		"registration elsewhere":             {server(`{self}/register`, `https://other.example/register`), "", "discovery_invalid"},
		"registration in a private network":  {server(`"{self}/token","registration_endpoint":"{self}/`, `"https://10.0.0.1/token","registration_endpoint":"https://10.0.0.1/`), "", "outbound_address_refused"},
		"an issuer in a private network":     {resource(`{"resource":"{self}/mcp","authorization_servers":["https://10.0.0.1"]}`), "", "outbound_address_refused"},
		"a huge document":                    {resource(`{"resource":"` + strings.Repeat(" ", 256<<10) + `"}`), "", "discovery_unreachable"},
		"a redirect":                         {resource("redirect"), "", "discovery_missing"},
		"a redirecting authorization server": {map[string]string{serverPage: "redirect"}, "", "discovery_missing"},
		"no way to be a client":              {server(`"registration_endpoint"`, `"x"`), "", "registration_missing"},
		"documents, without https":           {server(`"registration_endpoint"`, `"client_id_metadata_document_supported":true,"x"`), "", "client_document_unreachable"},
		"several authorization servers":      {resource(several), "", "authorization_server_ambiguous"},
		"one that it does not name":          {resource(several), `,"authorizationServer":"https://other.example"`, "authorization_server_changed"},
		"with endpoints":                     {nil, `,"endpoints":{"token":"https://other.example/token"}`, "field_not_for_mcp"},
		"by a code":                          {nil, `,"device":true`, "field_not_for_mcp"},
		"for machines":                       {nil, `,"flow":"M2M"`, "field_not_for_mcp"},
		"for keys":                           {nil, `,"type":"api_key","apiKey":{"key":"k"}`, "field_not_for_type"},
	} {
		s.behave(c.pages)
		got := create("bad", c.more)
		if got.status/100 == 2 || !strings.Contains(got.body, `"code":"`+c.code+`"`) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
		if what == "several authorization servers" && !strings.Contains(got.body, "https://first.example, "+s.URL) {
			t.Errorf("they are not listed: %s", got.body)
		}
	}
	if made, _ := s.counts(); made != 0 {
		t.Errorf("%d clients were registered", made)
	}

	s.behave(nil)
	s.mu.Lock()
	s.answer = strings.Replace(s.answer, "{callback}", "https://thief.example/callback", 1)
	s.mu.Unlock()
	if got := create("bad", ""); !strings.Contains(got.body, `"code":"registration_refused"`) {
		t.Errorf("another redirect URI: %d %s", got.status, got.body)
	}
	s.behave(resource(several))
	if got := create("good", `,"authorizationServer":"`+s.URL+`"`); got.status != http.StatusCreated {
		t.Errorf("a good one: %d %s", got.status, got.body)
	}
	if got := create("good", `,"authorizationServer":"`+s.URL+`"`); got.status != http.StatusConflict {
		t.Errorf("the same name: %d %s", got.status, got.body)
	}
	if made, deleted := s.counts(); made != 3 || deleted != 2 {
		t.Errorf("%d clients were registered, and %d deleted", made, deleted)
	}
	// Without a grant there is nothing to wait for.
	if got := w.api("DELETE", "/workload-pools/default/providers/good", w.operator, ""); got.status != http.StatusNoContent {
		t.Errorf("deleted: %d %s", got.status, got.body)
	}
	if _, deleted := s.counts(); deleted != 3 {
		t.Error("the client of the deleted provider is left")
	}
}

// TestClientDocument has Deputy known by the address of a document, which an
// authorization server reads as our own pools do.
func TestClientDocument(t *testing.T) {
	s := newStranger(t)
	r := start(t, server.Config{Data: servertest.DataDir(t), Version: "test", PublicURL: "https://id.example", Logger: slog.New(slog.DiscardHandler), AllowOutbound: []string{s.Listener.Addr().String()}})
	token, err := os.ReadFile(filepath.Join(r.dir, "operator.token"))
	must(t, err)
	s.behave(map[string]string{serverPage: strings.Replace(s.pages[serverPage], `"registration_endpoint"`, `"client_id_metadata_document_supported":true,"registration_endpoint"`, 1)})
	header := http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(token))}, "Content-Type": {"application/json"}}
	for _, method := range []string{"none", "private_key_jwt"} {
		got := send(t, noRedirects, "POST", r.direct+"/api/v1/workload-pools/default/providers", strings.NewReader(fmt.Sprintf(`{"name":%q,"mcpServer":%q,"authMethod":%q}`, strings.ReplaceAll(method, "_", "-"), s.URL+"/mcp", method)), header)
		var made madeMCP
		must(t, json.Unmarshal([]byte(got.body), &made))
		path, ok := strings.CutPrefix(made.ClientID, "https://id.example")
		if got.status != http.StatusCreated || !ok || made.MCP.Client != "document" {
			t.Fatalf("%d %s", got.status, got.body)
		}
		shown := send(t, noRedirects, "GET", r.direct+path, nil, nil)
		said, err := registration.Parse([]byte(shown.body))
		must(t, err)
		client, err := said.Client(userpool.Pool{Name: "p"}, time.Now())
		must(t, err)
		if shown.header.Get("Content-Type") != "application/json" || !strings.Contains(shown.body, `"client_id":"`+made.ClientID+`"`) ||
			!slices.Equal(client.RedirectURIs, []string{made.CallbackURL}) || client.AuthMethod != method || (client.KeysURI != "") != (method == "private_key_jwt") {
			t.Errorf("%s: %s", method, shown.body)
		}
	}
	if made, _ := s.counts(); made != 0 {
		t.Error("a client was registered although a document is enough")
	}
	if got := send(t, noRedirects, "GET", r.direct+"/provider-client/prv_nobody", nil, nil); got.status != http.StatusNotFound {
		t.Errorf("nobody's document: %d", got.status)
	}
}

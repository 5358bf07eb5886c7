package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	testClient = "chat-client"
	testSecret = "the-client-secret"
)

// pool is a small OpenID provider that agrees to everything.
type pool struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	user   string            // who logs in next
	claims map[string]any    // put over those of the next id_token
	codes  map[string]asked  // outstanding codes
	query  url.Values        // of the last authorization request
	tokens map[string]string // access token → user
	down   bool
}

type asked struct{ user, nonce, challenge string }

func newPool(t *testing.T) *pool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &pool{key: key, user: "zhang", codes: map[string]asked{}, tokens: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /userpool/demo/.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /userpool/demo/authorize", p.authorize)
	mux.HandleFunc("POST /userpool/demo/oauth/token", p.token)
	mux.HandleFunc("GET /userpool/demo/keys", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *pool) issuer() string { return p.URL + "/userpool/demo" }

func (p *pool) discovery(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, 200, map[string]any{
		"issuer": p.issuer(), "authorization_endpoint": p.issuer() + "/authorize", "token_endpoint": p.issuer() + "/oauth/token",
		"jwks_uri": p.issuer() + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	})
}

func (p *pool) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	p.query = q
	if q.Get("code_challenge_method") != "S256" || len(q.Get("state")) < 43 || len(q.Get("nonce")) < 43 || q.Get("client_id") != testClient {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	code := randomToken().reveal()
	p.codes[code] = asked{p.user, q.Get("nonce"), q.Get("code_challenge")}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.issuer()}}.Encode(), http.StatusFound)
}

func (p *pool) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	if id != testClient || secret != testSecret {
		writeJSON(w, 401, map[string]string{"error": "invalid_client"})
		return
	}
	a, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != a.challenge {
		writeJSON(w, 400, map[string]string{"error": "invalid_grant"})
		return
	}
	access := "access-" + randomToken().reveal()
	p.tokens[access] = a.user
	half := sha256.Sum256([]byte(access))
	claims := map[string]any{
		"iss": p.issuer(), "aud": testClient, "sub": "user-" + a.user, "name": a.user, "nonce": a.nonce,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
	}
	for k, v := range p.claims {
		claims[k] = v
	}
	writeJSON(w, 200, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 36000, "id_token": p.sign(claims)})
}

func (p *pool) sign(claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, nil)
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return compact
}

// set changes p under its lock.
func (p *pool) set(change func(*pool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// userOf returns whose access token is in the Authorization header of r.
func (p *pool) userOf(r *http.Request) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
}

// rig is the application, its provider and an agent, on real sockets.
type rig struct {
	*httptest.Server
	app  *app
	pool *pool
	log  *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig starts everything; agent answers POST /invoke.
func newRig(t *testing.T, agent func(p *pool, w http.ResponseWriter, r *http.Request)) *rig {
	t.Helper()
	p := newPool(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /agents/default/doc/invoke", func(w http.ResponseWriter, r *http.Request) { agent(p, w, r) })
	agents := httptest.NewServer(mux)
	server := httptest.NewUnstartedServer(nil)
	log := &lockedBuffer{}
	env := map[string]string{
		setIssuer: p.issuer(), setClientID: testClient, setSecret: testSecret,
		setRedirect: "http://" + server.Listener.Addr().String() + "/callback", setScopes: "openid profile email",
		setAgentName: "feishu-doc-agent", setEndpoint: agents.URL + "/agents/default/doc",
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	set, err := loadSettings("", func(k string) (string, bool) { v, ok := env[k]; return v, ok }, logger)
	if err != nil {
		t.Fatal(err)
	}
	app, err := newApp(set, logger, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = app.handler()
	server.Start()
	// The application first: its streams hold requests to the agent open.
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		agents.CloseClientConnections()
		agents.Close()
	})
	return &rig{server, app, p, log}
}

// browser keeps cookies and follows redirects, as a browser does.
type browser struct {
	*http.Client
	t   *testing.T
	rig *rig
}

func (r *rig) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{&http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}, t, r}
}

// get returns the final response's status, URL and body.
func (b *browser) get(path string) (int, string, string) {
	b.t.Helper()
	resp, err := b.Get(b.rig.URL + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimPrefix(resp.Request.URL.String(), b.rig.URL), string(body)
}

func (b *browser) login(user string) *browser {
	b.t.Helper()
	b.rig.pool.set(func(p *pool) { p.user = user })
	if status, at, _ := b.get("/login"); status != 200 || at != "/" {
		b.t.Fatalf("login ended with %d at %s", status, at)
	}
	if got := b.whoAmI(); got != user {
		b.t.Fatalf("logged in as %q, want %q", got, user)
	}
	return b
}

func (b *browser) whoAmI() string {
	b.t.Helper()
	_, _, body := b.get("/api/session")
	var who struct{ Name string }
	if err := json.Unmarshal([]byte(body), &who); err != nil {
		b.t.Fatal(err)
	}
	return who.Name
}

// post sends a request the way the page does. The caller closes the body.
func (b *browser) post(ctx context.Context, path, body string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.rig.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

// say sends one message and returns what the page would receive.
func (b *browser) say(text string) []message {
	b.t.Helper()
	body, err := json.Marshal(map[string]string{"message": text})
	if err != nil {
		b.t.Fatal(err)
	}
	resp := b.post(b.t.Context(), "/api/chat", string(body))
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		text, _ := io.ReadAll(resp.Body)
		b.t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	return readMessages(b.t, resp.Body, nil)
}

// readMessages reads the page's events up to the end; each sees every one as it
// comes and may be nil.
func readMessages(t *testing.T, r io.Reader, each func(message)) []message {
	t.Helper()
	var all []message
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var m message
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		all = append(all, m)
		if each != nil {
			each(m)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// stream begins an agent's answer and returns how to send events of it.
func stream(w http.ResponseWriter) (send func(events ...string)) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(200)
	_ = http.NewResponseController(w).Flush()
	return func(events ...string) {
		for _, e := range events {
			fmt.Fprintf(w, "data: %s\n\n", e)
		}
		_ = http.NewResponseController(w).Flush()
	}
}

// piece is a partial text event, whole the one that ends an answer.
func piece(text string) string { return textEvent(text, `"partial":true`) }
func whole(text string) string { return textEvent(text, `"partial":false,"turnComplete":true`) }

func textEvent(text, more string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return `{"content":{"role":"model","parts":[{"text":` + string(quoted) + `}]},` + more +
		`,"invocationId":"e-1","author":"feishu_doc_agent","actions":{},"id":"1","timestamp":1764000000.5}`
}

// needs is the event of a pending authorization.
func needs(link string) string {
	quoted, err := json.Marshal(link)
	if err != nil {
		panic(err)
	}
	credential := `{"authType":"oauth2","resourceRef":"auth_1","oauth2":{"authUri":` + string(quoted) + `}}`
	return `{"content":{"role":"user","parts":[{"functionCall":{"id":"adk-1","name":"adk_request_credential","args":{"functionCallId":"c-1","authConfig":{` +
		`"authScheme":{"type":"oauth2","flows":{"authorizationCode":{"authorizationUrl":"__EMPTY__","tokenUrl":"__EMPTY__","scopes":{}}}},` +
		`"rawAuthCredential":` + credential + `,"exchangedAuthCredential":` + credential + `,"credentialKey":"oauth_access_token:doc:user-1:feishu_oauth"}}}}]},` +
		`"longRunningToolIds":["adk-1"],"invocationId":"e-1","author":"feishu_doc_agent","actions":{},"id":"2","timestamp":1764000001.5}`
}

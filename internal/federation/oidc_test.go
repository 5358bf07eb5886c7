package federation_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
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
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
)

const upstreamSecret = "upstream-secret"

// upstream is a small OpenID provider at which everybody is logged in as
// somebody. It says what a test wants it to say.
type upstream struct {
	url    string
	key    jwt.Key
	mu     sync.Mutex
	nonces map[string]string                                 // by code
	claims func(claims map[string]any)                       // changes the ID token's
	token  func(claims map[string]any) string                // makes the ID token; nil: signed with key
	info   map[string]any                                    // the user info answer; nil: the ID token's subject
	answer func(w http.ResponseWriter, r *http.Request) bool // answers a token request in place of it
	params func(q url.Values)                                // changes the authorization answer
	mux    *http.ServeMux                                    // all of its addresses

	loggedOut []string // client ids that sent somebody to log out
}

func newUpstream(t *testing.T) (*upstream, *httptest.Server) {
	t.Helper()
	u := &upstream{nonces: map[string]string{}}
	var err error
	if u.key, err = jwt.Generate(jwt.ES256); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	u.url, u.mux = srv.URL, mux
	show := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		show(w, map[string]any{
			"issuer": u.url, "authorization_endpoint": u.url + "/authorize", "token_endpoint": u.url + "/token", "userinfo_endpoint": u.url + "/userinfo",
			"jwks_uri": u.url + "/keys", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}, "response_types_supported": []string{"code"}, "end_session_endpoint": u.url + "/logout",
			"subject_types_supported": []string{"public"}, "authorization_response_iss_parameter_supported": true, "code_challenge_methods_supported": []string{"S256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwt.NewSet(u.key).JWKS()) })
	mux.HandleFunc("/authorize", u.authorize)
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.loggedOut = append(u.loggedOut, r.URL.Query().Get("client_id"))
		u.mu.Unlock()
		http.Redirect(w, r, r.URL.Query().Get("post_logout_redirect_uri"), http.StatusSeeOther)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.answer != nil && u.answer(w, r) {
			return
		}
		nonce, ok := u.nonces[r.FormValue("code")]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			show(w, map[string]string{"error": "invalid_grant"})
			return
		}
		access := name.NewToken("at")
		show(w, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600, "id_token": u.idToken(t, nonce)})
	})
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, _ *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.info == nil {
			show(w, map[string]any{"sub": "up_1"})
			return
		}
		show(w, u.info)
	})
	return u, srv
}

func (u *upstream) authorize(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	in, code := r.URL.Query(), name.NewToken("uc")
	u.nonces[code] = in.Get("nonce")
	q := url.Values{"code": {code}, "state": {in.Get("state")}, "iss": {u.url}}
	if u.params != nil {
		u.params(q)
	}
	http.Redirect(w, r, in.Get("redirect_uri")+"?"+q.Encode(), http.StatusSeeOther)
}

func (u *upstream) idToken(t *testing.T, nonce string) string {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": u.url, "sub": "up_1", "aud": "deputy", "iat": now, "exp": now + 600, "nonce": nonce, "name": "张三", "email": "zhang@example.com", "email_verified": true,
		"preferred_username": "zhang",
	}
	if u.claims != nil {
		u.claims(claims)
	}
	if u.token != nil {
		return u.token(claims)
	}
	signed, err := jwt.Sign(u.key, "JWT", claims)
	if err != nil {
		t.Error(err)
	}
	return signed
}

// forged is a token with that header and signature.
func forged(header map[string]string, claims map[string]any, sign func(input string) []byte) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	input := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// newOIDCWorld is a Deputy with the pools staff and guests, whose provider "corp"
// is the upstream.
func newOIDCWorld(t *testing.T, settings map[string]any) (*world, *upstream) {
	t.Helper()
	u, srv := newUpstream(t)
	w := &world{t: t, Replica: servertest.Start(t, server.Config{
		Data: servertest.DataDir(t), Version: "test", Logger: slog.New(slog.DiscardHandler), AllowOutbound: []string{srv.Listener.Addr().String()},
	})}
	token, err := os.ReadFile(filepath.Join(w.Dir, "operator.token"))
	w.must(err)
	w.token = strings.TrimSpace(string(token))
	in := map[string]any{"name": "corp", "type": "oidc", "clientId": "deputy", "clientSecret": upstreamSecret, "issuer": u.url, "createUsers": true}
	for key, value := range settings {
		in[key] = value
	}
	for _, pool := range []string{"staff", "guests"} {
		w.api(http.MethodPost, base, map[string]any{"name": pool}, http.StatusCreated)
		w.seen = w.api(http.MethodPost, base+"/"+pool+"/identity-providers", in, http.StatusCreated)
	}
	return w, u
}

// begin is where a login at the upstream begins.
func (w *world) begin(pool string) string { return w.URL + "/userpool/" + pool + "/login/corp/begin" }

func TestAnOpenIDProvider(t *testing.T) {
	w, _ := newOIDCWorld(t, nil)
	for _, c := range w.seen["checks"].([]any) {
		if c.(map[string]any)["ok"] != true {
			t.Errorf("the settings are right, and the test says %v", c)
		}
	}
	for range 2 {
		w.open(w.browser(), w.begin("staff"), http.StatusOK, "张三")
	}
	users := w.users()
	if len(users) != 1 {
		t.Fatalf("one account, %d users", len(users))
	}
	// What the provider says of an address counts only where it is trusted about addresses.
	if u := users[0].(map[string]any); u["email"] != "zhang@example.com" || u["emailVerified"] != false || u["userName"] != "zhang" {
		t.Errorf("%v", u)
	}
	// The other pool's user is another one.
	w.open(w.browser(), w.begin("guests"), http.StatusOK, "张三")
	others, _ := w.api(http.MethodGet, base+"/guests/users", nil, http.StatusOK)["items"].([]any)
	if len(others) != 1 || others[0].(map[string]any)["id"] == users[0].(map[string]any)["id"] {
		t.Errorf("%v", others)
	}
}

func TestHostileUpstreams(t *testing.T) {
	hmacWith := func(key []byte) func(string) []byte {
		return func(input string) []byte {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(input))
			return m.Sum(nil)
		}
	}
	stranger, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(key string, value any) func(*upstream) {
		return func(u *upstream) { u.claims = func(c map[string]any) { c[key] = value } }
	}
	without := func(key string) func(*upstream) {
		return func(u *upstream) { u.claims = func(c map[string]any) { delete(c, key) } }
	}
	w, u := newOIDCWorld(t, nil)
	for what, edit := range map[string]func(*upstream){
		"alg none": func(u *upstream) {
			u.token = func(c map[string]any) string {
				return forged(map[string]string{"alg": "none"}, c, func(string) []byte { return nil })
			}
		},
		"alg HS256 with the client secret": func(u *upstream) {
			u.token = func(c map[string]any) string {
				return forged(map[string]string{"alg": "HS256"}, c, hmacWith([]byte(upstreamSecret)))
			}
		},
		"alg HS256 with the public keys": func(u *upstream) {
			u.token = func(c map[string]any) string {
				return forged(map[string]string{"alg": "HS256", "kid": u.key.ID}, c, hmacWith(jwt.NewSet(u.key).JWKS()))
			}
		},
		"a stranger's key": func(u *upstream) {
			u.token = func(c map[string]any) string {
				signed, _ := jwt.Sign(stranger, "JWT", c)
				return signed
			}
		},
		"a stranger's key under our id": func(u *upstream) {
			u.token = func(c map[string]any) string {
				bad := stranger
				bad.ID = u.key.ID
				signed, _ := jwt.Sign(bad, "JWT", c)
				return signed
			}
		},
		"no ID token":      func(u *upstream) { u.token = func(map[string]any) string { return "" } },
		"not a token":      func(u *upstream) { u.token = func(map[string]any) string { return "a.b.c" } },
		"another audience": claim("aud", "somebody"),
		"no audience":      without("aud"),
		"audiences, and another's azp": func(u *upstream) {
			u.claims = func(c map[string]any) { c["aud"], c["azp"] = []string{"deputy", "x"}, "x" }
		},
		"another issuer":              claim("iss", "https://evil.example"),
		"another nonce":               claim("nonce", "made-up"),
		"no nonce":                    without("nonce"),
		"expired":                     claim("exp", time.Now().Add(-time.Hour).Unix()),
		"no expiry":                   without("exp"),
		"no subject":                  without("sub"),
		"another access token":        claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"another's user info":         func(u *upstream) { u.info = map[string]any{"sub": "up_2", "name": "李四"} },
		"another issuer answers":      func(u *upstream) { u.params = func(q url.Values) { q.Set("iss", "https://evil.example") } },
		"no issuer, though announced": func(u *upstream) { u.params = func(q url.Values) { q.Del("iss") } },
		"no code":                     func(u *upstream) { u.params = func(q url.Values) { q.Del("code") } },
		"an unknown code":             func(u *upstream) { u.params = func(q url.Values) { q.Set("code", "made-up") } },
		"another state":               func(u *upstream) { u.params = func(q url.Values) { q.Set("state", "made-up") } },
		"a giant answer": func(u *upstream) {
			u.answer = func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("x", 2<<20) + `"}`))
				return true
			}
		},
		"no JSON": func(u *upstream) {
			u.answer = func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("<html>")); return true }
		},
		"a redirect": func(u *upstream) {
			u.answer = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, "/keys", http.StatusTemporaryRedirect)
				return true
			}
		},
		"success and an error": func(u *upstream) {
			u.answer = func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte(`{"error":"server_error"}`))
				return true
			}
		},
	} {
		u.mu.Lock()
		u.claims, u.token, u.info, u.answer, u.params = nil, nil, nil, nil, nil
		edit(u)
		u.mu.Unlock()
		v := w.browser()
		page, err := v.Get(t.Context(), w.begin("staff"), nil)
		w.must(err)
		if page.Status < 400 || page.Status == http.StatusInternalServerError || strings.Contains(page.Body, upstreamSecret) {
			t.Errorf("%s: %d at %s\n%s", what, page.Status, page.URL.Path, page.Body)
		}
		if n := len(w.users()); n != 0 {
			t.Fatalf("%s: it made %d users", what, n)
		}
	}
}

// TestHostileDiscovery: a document counts for the issuer that it was asked for
// alone, and only with what an answer can be trusted by (OpenID Connect Discovery
// 1.0, section 4.3).
func TestHostileDiscovery(t *testing.T) {
	w, u := newOIDCWorld(t, nil)
	for path, edit := range map[string]func(doc map[string]any){
		"another":  func(doc map[string]any) { doc["issuer"] = u.url },
		"slash":    func(doc map[string]any) { doc["issuer"] = u.url + "/slash/" },
		"none":     func(doc map[string]any) { delete(doc, "issuer") },
		"nowhere":  func(doc map[string]any) { delete(doc, "authorization_endpoint") },
		"tokens":   func(doc map[string]any) { delete(doc, "token_endpoint") },
		"unsigned": func(doc map[string]any) { doc["id_token_signing_alg_values_supported"] = []string{"none"} },
		"shared":   func(doc map[string]any) { doc["id_token_signing_alg_values_supported"] = []string{"HS256"} },
	} {
		issuer := u.url + "/" + path
		doc := map[string]any{
			"issuer": issuer, "authorization_endpoint": u.url + "/authorize", "token_endpoint": u.url + "/token", "jwks_uri": u.url + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		}
		edit(doc)
		u.mux.HandleFunc("/"+path+"/.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(rw).Encode(doc) })
		made := w.api(http.MethodPost, base+"/staff/identity-providers",
			map[string]any{"name": path, "type": "oidc", "clientId": "deputy", "clientSecret": upstreamSecret, "issuer": issuer, "createUsers": true}, http.StatusCreated)
		checks, _ := made["checks"].([]any)
		if len(checks) == 0 || checks[0].(map[string]any)["ok"] != false {
			t.Errorf("%s: whoever saves it is told %v", path, checks)
		}
		w.open(w.browser(), w.URL+"/userpool/staff/login/"+path+"/begin", http.StatusBadGateway, "idp_discovery_invalid")
	}
	w.open(w.browser(), w.begin("staff"), http.StatusOK, "张三")
}

// TestAnAddressIsNoIdentity has an account at the upstream with the address of a
// user here: only if both sides have verified it, and the provider is trusted
// about addresses, is it his.
func TestAnAddressIsNoIdentity(t *testing.T) {
	for what, c := range map[string]struct {
		trusted, there, here, links bool
	}{
		"trusted, both verified":        {true, true, true, true},
		"trusted, not verified there":   {true, false, true, false},
		"trusted, not verified here":    {true, true, false, false},
		"not trusted, both verified":    {false, true, true, false},
		"not trusted, nothing verified": {false, false, false, false},
	} {
		t.Run(what, func(t *testing.T) {
			w, u := newOIDCWorld(t, map[string]any{"linkByVerifiedEmail": c.trusted, "createUsers": false})
			u.claims = func(claims map[string]any) { claims["email_verified"] = c.there }
			w.api(http.MethodPost, base+"/staff/users", map[string]any{"userName": "boss", "displayName": "总裁", "email": "zhang@example.com", "emailVerified": c.here}, http.StatusCreated)
			if c.links {
				w.open(w.browser(), w.begin("staff"), http.StatusOK, "用户名：boss")
				return
			}
			w.open(w.browser(), w.begin("staff"), http.StatusForbidden, "idp_user_unknown")
		})
	}
}

func TestWhoMayNotComeIn(t *testing.T) {
	w, _ := newOIDCWorld(t, nil)
	w.open(w.browser(), w.begin("staff"), http.StatusOK, "张三")
	id, _ := w.users()[0].(map[string]any)["id"].(string)
	w.api(http.MethodPatch, base+"/staff/users/"+id, map[string]any{"disabled": true}, http.StatusOK)
	page, err := w.browser().Get(t.Context(), w.begin("staff"), nil)
	w.must(err)
	if page.Status < 400 || strings.Contains(page.Body, "张三") {
		t.Errorf("a disabled user: %d\n%s", page.Status, page.Body)
	}
}

// TestAnAnswerIsOfItsProvider has the answer of one provider come to the callback
// of another (mix-up), and to another pool's.
func TestAnAnswerIsOfItsProvider(t *testing.T) {
	w, u := newOIDCWorld(t, nil)
	w.api(http.MethodPost, base+"/staff/identity-providers",
		map[string]any{"name": "evil", "type": "oidc", "clientId": "deputy", "clientSecret": upstreamSecret, "issuer": u.url, "createUsers": true}, http.StatusCreated)
	for _, to := range []string{"/userpool/staff/login/evil/callback", "/userpool/guests/login/corp/callback", "/userpool/staff/signup/evil/callback"} {
		v := w.browser()
		var back string
		_, err := v.Get(t.Context(), w.begin("staff"), func(next *url.URL) bool {
			if strings.HasSuffix(next.Path, "/login/corp/callback") {
				back = next.RawQuery
			}
			return back == ""
		})
		w.must(err)
		w.open(v, w.URL+to+"?"+back, http.StatusGone, "idp_login_gone")
	}
	if n := len(w.users()); n != 0 {
		t.Errorf("%d users", n)
	}
	// The callback of sign-ups is the same as that of logins.
	v := w.browser()
	var back string
	_, err := v.Get(t.Context(), w.begin("staff"), func(next *url.URL) bool {
		if strings.HasSuffix(next.Path, "/login/corp/callback") {
			back = next.RawQuery
		}
		return back == ""
	})
	w.must(err)
	w.open(v, w.URL+"/userpool/staff/signup/corp/callback?"+back, http.StatusOK, "张三")
}

// TestARequiredFactorIsAskedForAfterwards: somebody else's login is one factor.
func TestARequiredFactorIsAskedForAfterwards(t *testing.T) {
	w, _ := newOIDCWorld(t, nil)
	w.api(http.MethodPatch, base+"/staff", map[string]any{"settings": map[string]any{"secondFactor": "required"}}, http.StatusOK)
	page, err := w.browser().Get(t.Context(), w.begin("staff"), nil)
	w.must(err)
	if !strings.HasSuffix(page.URL.Path, "/login/step") {
		t.Errorf("%d at %s, want the step of the second factor", page.Status, page.URL)
	}
}

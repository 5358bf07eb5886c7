package op_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

func newKey(t testing.TB, algorithm string) jwt.Key {
	t.Helper()
	k, err := jwt.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// robot is the client mail of the pool staff, pinned to private_key_jwt with one key.
type robot struct {
	w   *world
	key jwt.Key
	n   int
}

func (w *world) robot() *robot {
	w.t.Helper()
	r := &robot{w: w, key: newKey(w.t, jwt.ES256)}
	w.edit("staff", "mail", func(c *userpool.Client) {
		c.AuthMethod, c.SecretHash, c.Keys = oauth.PrivateKeyJWT, "", string(jwt.NewSet(r.key).JWKS())
		c.Grants, c.Scopes = append(c.Grants, oauth.GrantClientCredentials), w.scopes("openid events.read")
	})
	return r
}

const robotID = "cli_mail_staff"

// claims are those of a fresh good assertion, with changes.
func (r *robot) claims(changes ...any) map[string]any {
	r.n++
	c := map[string]any{
		"iss": robotID, "sub": robotID, "aud": r.w.url + "/userpool/staff", "jti": fmt.Sprint("jti-", r.n), "exp": r.w.now().Add(time.Minute).Unix(),
	}
	for i := 0; i < len(changes); i += 2 {
		if c[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
			delete(c, changes[i].(string))
		}
	}
	return c
}

func (r *robot) sign(changes ...any) string {
	r.w.t.Helper()
	token, err := jwt.Sign(r.key, "JWT", r.claims(changes...))
	r.w.must(err)
	return token
}

// sign signs with any algorithm and header that go-jose has.
func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ask asks for a token with an assertion.
func (r *robot) ask(assertion string, params ...string) page {
	form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_assertion_type": {oauth.AssertionJWT}, "client_assertion": {assertion}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	return r.w.person().post("/userpool/staff/oauth/token", form)
}

func TestAssertions(t *testing.T) {
	w := newWorld(t)
	r := w.robot()
	issuer := w.url + "/userpool/staff"
	for what, assertion := range map[string]string{
		"issuer":         r.sign(),
		"token endpoint": r.sign("aud", issuer+"/oauth/token"),
		"both":           r.sign("aud", []string{issuer, issuer + "/oauth/token"}),
		"without typ":    sign(t, jose.ES256, r.key.Private, nil, r.claims()),
		"new typ":        sign(t, jose.ES256, r.key.Private, map[jose.HeaderKey]any{"typ": "client-authentication+jwt"}, r.claims()),
		"five minutes":   r.sign("exp", w.now().Add(5*time.Minute).Unix()),
	} {
		if a := w.good(r.ask(assertion)); w.claims(a.Access)["sub"] != robotID {
			t.Errorf("%s: %v", what, w.claims(a.Access))
		}
	}
	w.good(r.ask(r.sign(), "client_id", robotID))
	// The other endpoints take it, too, also under their own address.
	for _, endpoint := range []string{"/oauth/introspect", "/oauth/revoke"} {
		for _, audience := range []string{issuer, issuer + endpoint} {
			p := w.person().post("/userpool/staff"+endpoint, url.Values{"token": {"x"}, "client_assertion_type": {oauth.AssertionJWT}, "client_assertion": {r.sign("aud", audience)}})
			if p.status != http.StatusOK {
				t.Errorf("%s: %d %s", endpoint, p.status, p.body)
			}
		}
	}
}

func TestHostileAssertions(t *testing.T) {
	w := newWorld(t)
	r := w.robot()
	issuer := w.url + "/userpool/staff"
	used := r.sign()
	w.good(r.ask(used))
	public, err := json.Marshal(jose.JSONWebKey{Key: r.key.Private.Public()})
	w.must(err)
	bare := strings.Split(r.sign(), ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	stranger := newKey(t, jwt.ES256)
	for what, assertion := range map[string]string{
		"used before":          used,
		"foreign iss":          r.sign("iss", "cli_chat_staff"),
		"no iss":               r.sign("iss", nil),
		"our iss":              r.sign("iss", issuer),
		"foreign sub":          r.sign("sub", "cli_chat_staff"),
		"unknown sub":          r.sign("sub", "cli_x", "iss", "cli_x"),
		"no sub":               r.sign("sub", nil),
		"no aud":               r.sign("aud", nil),
		"foreign aud":          r.sign("aud", "https://other.example/"),
		"another pool's aud":   r.sign("aud", w.url+"/userpool/guests"),
		"aud of the userinfo":  r.sign("aud", issuer+"/userinfo"),
		"aud with a slash":     r.sign("aud", issuer+"/"),
		"aud with another":     r.sign("aud", []string{issuer, "https://other.example/"}),
		"empty aud":            r.sign("aud", []string{}),
		"no exp":               r.sign("exp", nil),
		"expired":              r.sign("exp", w.now().Add(-time.Minute).Unix()),
		"long-lived":           r.sign("exp", w.now().Add(6*time.Minute).Unix()),
		"for ever":             r.sign("exp", int64(253402300799)),
		"not yet":              r.sign("nbf", w.now().Add(2*time.Minute).Unix()),
		"issued in the future": r.sign("iat", w.now().Add(2*time.Minute).Unix()),
		"no jti":               r.sign("jti", nil),
		"jti a number":         r.sign("jti", 7),
		"HS256, public key":    sign(t, jose.HS256, public, nil, r.claims()),
		"HS256, our secret":    sign(t, jose.HS256, []byte(strings.Repeat("k", 32)), nil, r.claims()),
		"none":                 none + "." + bare[1] + ".",
		"none, signed":         none + "." + bare[1] + "." + bare[2],
		"no signature":         bare[0] + "." + bare[1] + ".",
		"another's key":        sign(t, jose.ES256, stranger.Private, nil, r.claims()),
		"key in the header":    sign(t, jose.ES256, stranger.Private, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: stranger.Private.Public()}}, r.claims()),
		"another algorithm":    sign(t, jose.EdDSA, newKey(t, jwt.EdDSA).Private, nil, r.claims()),
		"an access token":      sign(t, jose.ES256, r.key.Private, map[jose.HeaderKey]any{"typ": "at+jwt"}, r.claims()),
		"oversize":             r.sign("x", strings.Repeat("x", 9000)) + strings.Repeat("A", 9000),
		"nonsense":             "a.b.c",
		"empty":                "",
	} {
		w.bad(what, r.ask(assertion), 401, "invalid_client")
		w.pass(10 * time.Minute) // what is tested is not the throttle
	}
	w.bad("two ways", r.ask(r.sign(), "client_secret", "cs_x"), 400, "invalid_request")
	w.bad("type alone", w.person().post("/userpool/staff/oauth/token", url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {robotID}, "client_assertion_type": {oauth.AssertionJWT}}), 401, "invalid_client")
	w.bad("unknown type", r.ask(r.sign(), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), 400, "invalid_request")
	w.bad("another's client_id", r.ask(r.sign(), "client_id", "cli_chat_staff"), 401, "invalid_client")
	w.bad("in another pool", w.person().post("/userpool/guests/oauth/token", url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_assertion_type": {oauth.AssertionJWT},
		"client_assertion": {r.sign("aud", w.url+"/userpool/guests")}}), 401, "invalid_client")
	w.good(r.ask(r.sign()))
}

// TestOneAssertionAtOnce sends one assertion many times at the same moment.
func TestOneAssertionAtOnce(t *testing.T) {
	w := newWorld(t)
	r := w.robot()
	assertion := r.sign()
	var won atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if r.ask(assertion).status == http.StatusOK {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d tokens for one assertion", won.Load())
	}
}

// TestPinnedMethods: a client is let in by the way that it is registered for,
// and by no other, however right what it sends may be.
func TestPinnedMethods(t *testing.T) {
	w := newWorld(t)
	key := newKey(t, jwt.ES256)
	w.edit("staff", "chat", func(c *userpool.Client) { c.Keys = string(jwt.NewSet(key).JWKS()) })
	id := "cli_chat_staff"
	send := func(method string) page {
		w.pass(10 * time.Minute)
		form, header := url.Values{"token": {"x"}}, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		switch method {
		case oauth.ClientSecretPost:
			form.Set("client_id", id)
			form.Set("client_secret", w.secrets[id].RevealString())
		case oauth.ClientSecretBasic:
			header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+w.secrets[id].RevealString())))
		case oauth.PrivateKeyJWT:
			token, err := jwt.Sign(key, "JWT", map[string]any{"iss": id, "sub": id, "aud": w.url + "/userpool/staff", "jti": w.now().String(), "exp": w.now().Add(time.Minute).Unix()})
			w.must(err)
			form.Set("client_assertion_type", oauth.AssertionJWT)
			form.Set("client_assertion", token)
		default:
			form.Set("client_id", id)
		}
		return w.person().send("POST", "/userpool/staff/oauth/revoke", strings.NewReader(form.Encode()), header)
	}
	all := []string{oauth.ClientSecretBasic, oauth.ClientSecretPost, oauth.PrivateKeyJWT, oauth.ClientAuthNone}
	for pinned, let := range map[string][]string{
		userpool.ClientSecret:   {oauth.ClientSecretBasic, oauth.ClientSecretPost},
		oauth.ClientSecretBasic: {oauth.ClientSecretBasic},
		oauth.ClientSecretPost:  {oauth.ClientSecretPost},
		oauth.PrivateKeyJWT:     {oauth.PrivateKeyJWT},
	} {
		w.edit("staff", "chat", func(c *userpool.Client) {
			if c.AuthMethod, c.SecretHash = pinned, userpool.HashSecret(w.secrets[id]); pinned == oauth.PrivateKeyJWT {
				c.SecretHash = ""
			}
		})
		for _, method := range all {
			if p := send(method); (p.status == http.StatusOK) != slices.Contains(let, method) || (p.status != http.StatusOK && p.status != http.StatusUnauthorized) {
				t.Errorf("pinned to %s, sent by %s: %d %s", pinned, method, p.status, p.body)
			}
		}
	}
	if !slices.Contains(w.reasons(), "the client is registered for another way to authenticate") {
		t.Errorf("not in the audit log: %q", w.reasons())
	}
}

// TestWrongSecretsAreSlowed: who sends wrong secrets again and again is told to
// wait and costs no more entries in the log; the client itself goes on.
func TestWrongSecretsAreSlowed(t *testing.T) {
	w := newWorld(t)
	try := func(secret string) page {
		return w.person().post("/userpool/staff/oauth/revoke", url.Values{"token": {"x"}, "client_id": {"cli_chat_staff"}, "client_secret": {secret}})
	}
	slowed := 0
	for range 20 {
		p := try("cs_wrong")
		if p.status == http.StatusTooManyRequests && p.header.Get("Retry-After") != "" {
			slowed++
		}
	}
	if n := len(w.reasons()); slowed < 10 || n+slowed != 20 {
		t.Errorf("%d slowed, %d recorded", slowed, n)
	}
	if p := try(w.secrets["cli_chat_staff"].RevealString()); p.status != http.StatusOK {
		t.Errorf("the client itself: %d %s", p.status, p.body)
	}
}

// TestKeysAtAnAddress: a client's keys are fetched, kept, fetched again for a new
// key, and not fetched for everybody who makes one up.
func TestKeysAtAnAddress(t *testing.T) {
	w := newWorld(t)
	r := w.robot()
	var mu sync.Mutex
	set, fetched, down := jwt.NewSet(r.key), 0, false
	w.elsewhere.HandleFunc("/keys", func(rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fetched++
		if down {
			http.Error(rw, "down", http.StatusBadGateway)
			return
		}
		_, _ = rw.Write(set.JWKS())
	})
	w.edit("staff", "mail", func(c *userpool.Client) { c.Keys, c.KeysURI = "", w.away.URL+"/keys" })
	w.good(r.ask(r.sign()))
	w.good(r.ask(r.sign()))
	if fetched != 1 {
		t.Errorf("fetched %d times", fetched)
	}
	w.pass(time.Minute)
	for range 4 {
		stranger := robot{w: w, key: newKey(t, jwt.ES256), n: 1000}
		w.bad("a key that is not there", r.ask(stranger.sign()), 401, "invalid_client")
	}
	if fetched != 2 {
		t.Errorf("fetched %d times for unknown keys", fetched)
	}
	w.pass(10 * time.Minute)
	mu.Lock()
	r.key = newKey(t, jwt.EdDSA)
	set = jwt.NewSet(r.key)
	mu.Unlock()
	w.good(r.ask(r.sign()))
	mu.Lock()
	down = true
	mu.Unlock()
	w.pass(time.Hour)
	w.good(r.ask(r.sign()))
	// An address that is not reached at all is our trouble to tell, not the client's fault.
	w.edit("staff", "mail", func(c *userpool.Client) { c.KeysURI = "https://127.0.0.1:1/keys" })
	p := r.ask(r.sign())
	if p.status != http.StatusServiceUnavailable || !strings.Contains(p.body, "temporarily_unavailable") {
		t.Errorf("a private address: %d %s", p.status, p.body)
	}
}

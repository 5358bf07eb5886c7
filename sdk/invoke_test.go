package deputy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// echo is an agent that says who is asking.
func echo(d *deputytest.Server) *deputy.Agent {
	return &deputy.Agent{Name: "echo", Deputy: d.Client(), Log: slog.New(slog.DiscardHandler), MaxPrompt: 1000,
		Respond: func(_ context.Context, t *deputy.Turn) error {
			if t.Prompt == "panic" {
				panic("secret of the house")
			}
			if t.Prompt == "fail" {
				return errors.New("secret of the house")
			}
			t.Say(fmt.Sprintf("%s|%s|%s|%s", t.Prompt, t.Session.User.Subject, t.Session.ID, t.RequestID))
			return nil
		}}
}

func handler(t testing.TB, a *deputy.Agent) http.Handler {
	t.Helper()
	h, err := a.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRequests(t *testing.T) {
	d := deputytest.Start(t)
	h := handler(t, echo(d))
	good := d.Mint(alice).Reveal()
	tests := map[string]struct {
		method, path, body string
		header             map[string]string
		status             int
		want               string // in the body
	}{
		"ping":               {"GET", "/ping", "", nil, 200, `{"status":"Healthy"}`},
		"health":             {"GET", "/health", "", nil, 200, `"status":"healthy"`},
		"no such route":      {"GET", "/admin", "", nil, 404, `"type":"NotFound"`},
		"invoke with GET":    {"GET", "/invoke", "", nil, 404, `"type":"NotFound"`},
		"no token":           {"POST", "/invoke", `{"prompt":"hi"}`, map[string]string{"WorkloadAccessToken": ""}, 401, `"type":"Unauthorized","code":"token_missing"`},
		"user_id is nothing": {"POST", "/invoke", `{"prompt":"hi"}`, map[string]string{"WorkloadAccessToken": "", "user_id": "u_alice"}, 401, "token_missing"},
		"agent's own token":  {"POST", "/invoke", `{"prompt":"hi"}`, map[string]string{"WorkloadAccessToken": d.Mint(deputy.User{}).Reveal()}, 401, "token_without_user"},
		"not JSON":           {"POST", "/invoke", `{"prompt":`, nil, 400, `{"error":{"message":"Invalid JSON payload. Please provide a valid JSON object in the request body.","type":"BadRequest","code":"json_invalid"}}`},
		"not an object":      {"POST", "/invoke", `["prompt"]`, nil, 400, "json_invalid"},
		"null":               {"POST", "/invoke", `null`, nil, 400, "json_invalid"},
		"two values":         {"POST", "/invoke", `{"prompt":"a"}{"prompt":"b"}`, nil, 400, "json_invalid"},
		"empty":              {"POST", "/invoke", ``, nil, 400, "json_invalid"},
		"no prompt":          {"POST", "/invoke", `{}`, nil, 400, "prompt_missing"},
		"blank prompt":       {"POST", "/invoke", `{"prompt":" \n"}`, nil, 400, "prompt_missing"},
		"prompt is a number": {"POST", "/invoke", `{"prompt":7}`, nil, 400, "prompt_missing"},
		"too large":          {"POST", "/invoke", `{"prompt":"` + strings.Repeat("x", 1000) + `"}`, nil, 413, `"type":"PayloadTooLarge"`},
		"good":               {"POST", "/invoke", `{"prompt":"hi"}`, map[string]string{"session_id": "s-1", "user_id": "u_bob", "X-Request-Id": "req_7"}, 200, `"hi|u_alice|s-1|req_7"`},
		"hostile session":    {"POST", "/invoke", `{"prompt":"hi"}`, map[string]string{"session_id": "../s", "X-Request-Id": "a b"}, 200, `"hi|u_alice||req_`},
		"panic":              {"POST", "/invoke", `{"prompt":"panic"}`, nil, 200, `data: {"error":"the agent could not finish this request","error_type":"failed","message":"An error occurred during streaming"}`},
		"failure":            {"POST", "/invoke", `{"prompt":"fail"}`, nil, 200, `"error":"the agent could not finish this request"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
			r.Header.Set("WorkloadAccessToken", good)
			for k, v := range test.header {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			body := w.Body.String()
			if w.Code != test.status || !strings.Contains(body, test.want) || strings.Contains(body, "secret of the house") {
				t.Errorf("%d %s", w.Code, body)
			}
			if w.Code == 401 && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), `Bearer realm="deputy", error="invalid_token"`) {
				t.Errorf("WWW-Authenticate = %q", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

// Each of these tokens lacks one thing.
func TestTokensThatProveNothing(t *testing.T) {
	d := deputytest.Start(t)
	now := time.Now()
	claims := func(change func(map[string]any)) map[string]any {
		c := map[string]any{
			"iss": d.URL, "aud": d.URL, "sub": "u", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
			"sub_id": map[string]string{"format": "iss_sub", "iss": "i", "sub": "u"}, "act": map[string]any{"sub": deputytest.Workload},
		}
		change(c)
		return c
	}
	set := func(key string, value any) map[string]any {
		return claims(func(c map[string]any) { c[key] = value })
	}
	sign := func(c map[string]any) string { return d.Sign("wat+jwt", c).Reveal() }
	good := sign(claims(func(map[string]any) {}))
	parts := strings.Split(good, ".")
	header := func(h string) string { return base64.RawURLEncoding.EncodeToString([]byte(h)) }
	var chain any
	for range 10 {
		chain = map[string]any{"sub": "spiffe://x/y/z", "act": chain}
	}
	other := deputytest.New(d.URL) // another key, same kid
	tests := map[string]struct{ token, code string }{
		"good":                {good, ""},
		"audience as a list":  {sign(set("aud", []string{d.URL})), ""},
		"clock skew":          {sign(set("exp", now.Add(-20*time.Second).Unix())), ""},
		"expired":             {sign(set("exp", now.Add(-time.Minute).Unix())), "token_expired"},
		"from the future":     {sign(set("iat", now.Add(time.Minute).Unix())), "token_not_yet_valid"},
		"no expiry":           {sign(claims(func(c map[string]any) { delete(c, "exp") })), "token_malformed"},
		"expiry out of range": {sign(set("exp", 1e300)), "token_malformed"},
		"other issuer":        {sign(set("iss", "http://evil.test")), "token_issuer"},
		"other audience":      {sign(set("aud", "http://evil.test")), "token_audience"},
		"two audiences":       {sign(set("aud", []string{d.URL, "x"})), "token_audience"},
		"other workload":      {sign(set("act", map[string]any{"sub": "spiffe://deputy.test/default/other"})), "token_workload"},
		"subject mismatch":    {sign(set("sub", "u_alice")), "token_malformed"},
		"no actor":            {sign(claims(func(c map[string]any) { delete(c, "act") })), "token_malformed"},
		"no issuer of user":   {sign(set("sub_id", map[string]string{"format": "iss_sub", "sub": "u"})), "token_malformed"},
		"other format":        {sign(set("sub_id", map[string]string{"format": "email", "iss": "i", "sub": "u"})), "token_malformed"},
		"endless chain":       {sign(set("act", map[string]any{"sub": deputytest.Workload, "act": chain})), "token_malformed"},
		"user's access token": {d.Sign("at+jwt", claims(func(map[string]any) {})).Reveal(), "token_type"},
		"launch token":        {d.Sign("launch+jwt", claims(func(map[string]any) {})).Reveal(), "token_type"},
		"forged key":          {other.Sign("wat+jwt", claims(func(map[string]any) {})).Reveal(), "token_signature"},
		"alg none":            {header(`{"alg":"none","typ":"wat+jwt","kid":"key-1"}`) + "." + parts[1] + ".AA", "token_algorithm"},
		"alg HS256":           {header(`{"alg":"HS256","typ":"wat+jwt","kid":"key-1"}`) + "." + parts[1] + "." + parts[2], "token_algorithm"},
		"critical header":     {header(`{"alg":"ES256","typ":"wat+jwt","kid":"key-1","crit":["x"]}`) + "." + parts[1] + "." + parts[2], "token_algorithm"},
		"no key id":           {header(`{"alg":"ES256","typ":"wat+jwt"}`) + "." + parts[1] + "." + parts[2], "token_unknown_key"},
		"unknown key":         {header(`{"alg":"ES256","typ":"wat+jwt","kid":"k"}`) + "." + parts[1] + "." + parts[2], "token_unknown_key"},
		"no signature":        {parts[0] + "." + parts[1] + ".", "token_malformed"},
		"short signature":     {parts[0] + "." + parts[1] + ".AAAA", "token_signature"},
		"zero signature":      {parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86), "token_signature"},
		"nonsense":            {"nonsense", "token_malformed"},
		"too long":            {strings.Repeat("A", 20000), "token_malformed"},
	}
	c := d.Client()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			id, err := c.Verify(t.Context(), deputy.NewSecret(test.token))
			var e *deputy.Error
			switch {
			case test.code == "" && (err != nil || id.User != deputy.User{Issuer: "i", Subject: "u"}):
				t.Errorf("refused: %v", err)
			case test.code != "" && (!errors.As(err, &e) || e.Code != test.code):
				t.Errorf("error = %v, want %s", err, test.code)
			case err != nil && strings.Contains(err.Error(), "eyJ"):
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// Keys are cached; a new one is found at once; strangers who invent key ids
// cannot make the agent ask more often than twice a minute; an outage of a day
// is survived.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		c := s.client()
		verify := func() error {
			_, err := c.Verify(t.Context(), s.deputy.Mint(alice))
			return err
		}
		asked := func() int { return s.deputy.Requests("GET /.well-known/jwks.json") }
		for range 10 {
			if err := verify(); err != nil {
				t.Fatal(err)
			}
		}
		if asked() != 1 {
			t.Errorf("asked %d times for ten tokens", asked())
		}
		foreign := deputytest.New("http://deputy.test")
		foreign.RotateKey() // "key-2": unknown to Deputy
		for range 60 {
			if _, err := c.Verify(t.Context(), foreign.Mint(alice)); err == nil {
				t.Fatal("a foreign token was believed")
			}
			time.Sleep(time.Second)
		}
		if n := asked(); n > 3 {
			t.Errorf("asked %d times in a minute of foreign tokens", n)
		}
		time.Sleep(time.Minute)
		s.deputy.RotateKey()
		if err := verify(); err != nil {
			t.Errorf("after rotation: %v", err)
		}
		s.deputy.Fail(func(*http.Request) int { return http.StatusInternalServerError })
		time.Sleep(23 * time.Hour)
		if err := verify(); err != nil {
			t.Errorf("in an outage: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if err := verify(); err == nil {
			t.Error("keys of yesterday were believed")
		}
	})
}

func TestKeysThatCannotBeRead(t *testing.T) {
	d := deputytest.Start(t)
	h := handler(t, echo(d))
	d.Fail(func(*http.Request) int { return http.StatusInternalServerError })
	r := httptest.NewRequest("POST", "/invoke", strings.NewReader(`{"prompt":"hi"}`))
	r.Header.Set("WorkloadAccessToken", d.Mint(alice).Reveal())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "keys_unavailable") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWorkloadToken(t *testing.T) {
	d := deputytest.Start(t)
	c := d.Client()
	c.TokenFile = filepath.Join(t.TempDir(), "launch")
	exchange := func(user string) (deputy.Identity, error) {
		token, expires, err := c.WorkloadToken(t.Context(), deputy.NewSecret(user))
		if err != nil {
			return deputy.Identity{}, err
		}
		id, err := c.Verify(t.Context(), token)
		if !id.Expires.Equal(expires) {
			t.Errorf("expires %v, said %v", id.Expires, expires)
		}
		return id, err
	}
	var e *deputy.Error
	if _, err := exchange(""); !errors.As(err, &e) || e.Code != "launch_file_unreadable" {
		t.Errorf("without a file: %v", err)
	}
	for content, code := range map[string]string{"\n": "launch_file_unreadable", "stale\n": "proof_unknown", strings.Repeat("x", 1<<20): "launch_file_unreadable"} {
		if err := os.WriteFile(c.TokenFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := exchange(""); !errors.As(err, &e) || e.Code != code {
			t.Errorf("error = %v, want %s", err, code)
		}
	}
	if err := os.WriteFile(c.TokenFile, []byte(deputytest.LaunchToken+"\n"), 0o600); err != nil { // the runtime replaced it
		t.Fatal(err)
	}
	if id, err := exchange(""); err != nil || id.Workload != deputytest.Workload || id.User != (deputy.User{}) {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := exchange(d.UserToken(alice).Reveal()); err != nil || id.User != alice {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := exchange("nonsense"); !errors.As(err, &e) || e.Code != "token_malformed" || e.Source != "userToken" {
		t.Errorf("for a token that is none: %#v", err)
	}
}

func TestFromEnvironment(t *testing.T) {
	env := map[string]string{"DEPUTY_URL": "http://localhost:8080", "DEPUTY_WORKLOAD": "spiffe://d/default/a", "DEPUTY_WORKLOAD_TOKEN_FILE": "/nowhere"}
	for missing := range env {
		for name, value := range env {
			t.Setenv(name, value)
		}
		t.Setenv(missing, "")
		if _, err := deputy.FromEnvironment(); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	if c, err := deputy.FromEnvironment(); err != nil || c.URL != env["DEPUTY_URL"] {
		t.Errorf("%v", err)
	}
	t.Setenv("DEPUTY_URL", "localhost:8080")
	if _, err := deputy.FromEnvironment(); err == nil {
		t.Error("a URL without scheme was taken")
	}
}

// A secret does not print, in whatever it is nested and however it is printed.
func TestSecretsDoNotPrint(t *testing.T) {
	const plain = "hunter2-hunter2"
	s := deputy.NewSecret(plain)
	type nested struct {
		Token  deputy.AccessToken
		Map    map[string]deputy.Secret
		hidden deputy.Secret
		Any    any
	}
	n := nested{deputy.AccessToken{Value: s}, map[string]deputy.Secret{"k": s}, s, &s}
	var out bytes.Buffer
	for _, v := range []any{s, &s, n, &n, []deputy.Secret{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		_ = json.NewEncoder(&out).Encode(v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	for _, form := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), "104 117 110"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("printed as %s", form)
		}
	}
	if _, err := s.MarshalBinary(); err == nil || n.hidden.Reveal() != plain || s.Empty() || !(deputy.Secret{}).Empty() {
		t.Error("a secret is not what it should be")
	}
}

// The tool's client sends the credential where it was declared for, and nowhere else.
func TestWhereCredentialsGo(t *testing.T) {
	d := deputytest.Start(t)
	token := d.Grant(alice, "mail")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a request came elsewhere, with %d bytes of authorization", len(r.Header.Get("Authorization")))
	}))
	defer elsewhere.Close()
	third := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			t.Error("the credential is missing")
		}
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/near":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			_, _ = io.WriteString(w, r.URL.Path)
		}
	}))
	defer third.Close()
	cred := deputy.OAuth2("mail").At(third.URL)
	get := deputy.NewTool("get", "", func(ctx context.Context, call *deputy.Call, in struct{ URL string }) (string, error) {
		req, err := http.NewRequestWithContext(ctx, "GET", in.URL, nil)
		if err != nil {
			return "", err
		}
		resp, err := call.HTTP.Do(req)
		if err != nil {
			var e *deputy.Error
			if errors.As(err, &e) {
				return e.Code, nil
			}
			return "", err
		}
		defer resp.Body.Close()
		if req.Header.Get("Authorization")+resp.Request.Header.Get("Authorization") != "" {
			t.Error("the tool can read the token")
		}
		b, err := io.ReadAll(resp.Body)
		if strings.Contains(string(b), "href") {
			b = nil
		}
		return fmt.Sprint(resp.StatusCode, " ", string(b)), err
	}, cred)
	h := handler(t, &deputy.Agent{Name: "a", Deputy: d.Client(), Log: slog.New(slog.DiscardHandler), Tools: []deputy.Tool{get},
		Respond: func(ctx context.Context, turn *deputy.Turn) error {
			return respondWith("get", map[string]string{"URL": turn.Prompt})(ctx, turn)
		}})
	for url, want := range map[string]string{
		third.URL + "/there": "200 /there",
		third.URL + "/near":  "200 /there",
		third.URL + "/away":  "302 ",
		third.URL + "/loop":  "302 ",
		elsewhere.URL:        "origin_not_declared",
		strings.Replace(third.URL, "http:", "https:", 1):               "origin_not_declared",
		strings.Replace(third.URL, "127.0.0.1", "127.0.0.1.nip.io", 1): "origin_not_declared",
	} {
		body, _ := json.Marshal(map[string]string{"prompt": url})
		r := httptest.NewRequest("POST", "/invoke", bytes.NewReader(body))
		r.Header.Set("WorkloadAccessToken", d.Mint(alice).Reveal())
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `"text":"`+want+`"`) {
			t.Errorf("%s: want %q in %s", url, want, w.Body)
		}
		if strings.Contains(w.Body.String(), token) {
			t.Error("the stream shows the token")
		}
	}
}

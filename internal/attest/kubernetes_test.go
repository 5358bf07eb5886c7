package attest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/kube/kubetest"
	"github.com/deputy-id/deputy/internal/secret"
)

// cluster is a cluster as Deputy asks it, with the account agents/doc and its pod.
type cluster struct {
	*kubetest.Server
	t *testing.T
}

func newCluster(t *testing.T) cluster {
	s := kubetest.New(t)
	s.Account("agents", "doc", "doc-1")
	return cluster{s, t}
}

// ask sends a request with the token that the cluster knows.
func (c cluster) ask(method, path string, body []byte) ([]byte, error) {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+c.Config().Token.RevealString())
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if w.Code/100 != 2 {
		return nil, fault.New(fault.Unavailable, "status", "%s %s: %d", method, path, w.Code)
	}
	return io.ReadAll(w.Body)
}

func (c cluster) post(_ context.Context, path string, body []byte) ([]byte, error) {
	return c.ask(http.MethodPost, path, body)
}

func (c cluster) verifier(now func() time.Time) attest.Kubernetes {
	c.t.Helper()
	keys, err := jwt.NewIssuer(jwt.IssuerConfig{KeysURL: "https://cluster.example/openid/v1/jwks", Now: now, Fetch: func(context.Context, string) ([]byte, error) {
		return c.ask(http.MethodGet, "/openid/v1/jwks", nil)
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	return attest.Kubernetes{Keys: keys, Issuer: kubetest.Issuer, Audience: issuer, Now: now}
}

// token is one that is taken.
func token(now time.Time) kubetest.Token {
	return kubetest.Token{Namespace: "agents", Account: "doc", Pod: "doc-1", Audiences: []string{issuer}, Issued: now, Life: time.Hour}
}

func TestProjectedTokens(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	c := newCluster(t)
	k := c.verifier(func() time.Time { return now })
	good := c.Issue(token(now))
	want := attest.Account{Namespace: "agents", Name: "doc", UID: "uid-1", Pod: "doc-1"}
	got, err := k.Verify(t.Context(), secret.FromString(good))
	if got.UID = "uid-1"; err != nil || got != want || got.Subject() != "agents/doc" {
		t.Fatalf("%+v, %v", got, err)
	}
	changed := func(change func(claims map[string]any)) string {
		claims := c.Claims(token(now))
		change(claims)
		return c.Sign(claims)
	}
	own := func(claims map[string]any) map[string]any { return claims["kubernetes.io"].(map[string]any) }
	stranger := newCluster(t)
	for what, bad := range map[string]struct{ token, code string }{
		"nothing":                  {"", "token_malformed"},
		"another cluster":          {stranger.Issue(token(now)), "token_unknown_key"},
		"another issuer, our keys": {changed(func(c map[string]any) { c["iss"] = "https://elsewhere" }), "token_issuer"},
		"the API server's own":     {changed(func(c map[string]any) { c["aud"] = []string{kubetest.Issuer} }), "token_audience"},
		"ours and another's":       {changed(func(c map[string]any) { c["aud"] = []string{issuer, "vault"} }), "token_audience"},
		"expired":                  {changed(func(c map[string]any) { c["exp"] = now.Add(-2 * time.Minute).Unix() }), "token_expired"},
		"without end":              {changed(func(c map[string]any) { delete(c, "exp") }), "token_malformed"},
		"of the future":            {changed(func(c map[string]any) { c["iat"], c["nbf"] = now.Add(time.Hour).Unix(), now.Add(time.Hour).Unix() }), "token_not_yet_valid"},
		"for a year":               {changed(func(c map[string]any) { c["exp"] = now.AddDate(1, 0, 0).Unix() }), "token_lifetime"},
		"of a Secret":              {changed(func(c map[string]any) { delete(c, "kubernetes.io") }), "token_malformed"},
		"of another namespace":     {changed(func(c map[string]any) { own(c)["namespace"] = "other" }), "token_malformed"},
		"of another account":       {changed(func(c map[string]any) { own(c)["serviceaccount"] = map[string]any{"name": "other", "uid": "u"} }), "token_malformed"},
		"of no account":            {changed(func(c map[string]any) { own(c)["serviceaccount"] = map[string]any{"name": "doc"} }), "token_malformed"},
		"of wrong types":           {changed(func(c map[string]any) { own(c)["serviceaccount"] = "doc" }), "token_malformed"},
		"of a person":              {changed(func(c map[string]any) { c["sub"] = "admin" }), "token_malformed"},
		"of too many parts":        {changed(func(c map[string]any) { c["sub"] = "system:serviceaccount:agents:doc:x" }), "token_malformed"},
	} {
		if _, err := k.Verify(t.Context(), secret.FromString(bad.token)); !fault.HasCode(err, bad.code) || !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v, want %s", what, err, bad.code)
		}
	}
}

func TestReview(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	c := newCluster(t)
	review := func(token string) (attest.Account, error) {
		return attest.Review(t.Context(), c.post, secret.FromString(token), issuer)
	}
	good := c.Issue(token(now))
	account, err := review(good)
	if err != nil || account.Subject() != "agents/doc" || account.Pod != "doc-1" || account.UID == "" {
		t.Fatalf("%+v, %v", account, err)
	}
	free := token(now)
	free.Pod = ""
	if account, err = review(c.Issue(free)); err != nil || account.Pod != "" {
		t.Errorf("of no pod: %+v, %v", account, err)
	}
	elsewhere, past := token(now), token(now.Add(-2*time.Hour))
	elsewhere.Audiences = []string{"vault"}
	person := c.Claims(token(now))
	person["sub"] = "admin"
	for what, bad := range map[string]string{
		"nonsense": "none", "another cluster": newCluster(t).Issue(token(now)), "another audience": c.Issue(elsewhere), "expired": c.Issue(past), "of a person": c.Sign(person),
	} {
		if _, err := review(bad); !fault.HasCode(err, "token_reviewed") || !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := c.Do(http.MethodDelete, "/api/v1/namespaces/agents/pods/doc-1", "application/json", `{}`); err != nil {
		t.Fatal(err)
	}
	if _, err := review(good); !fault.HasCode(err, "token_reviewed") {
		t.Errorf("of a pod that is gone: %v", err)
	}
	c.NoAudiences = true
	if _, err := review(c.Issue(free)); !fault.HasCode(err, "token_reviewed") {
		t.Errorf("by an authenticator that knows no audiences: %v", err)
	}
}

func TestReviewsThatAreNone(t *testing.T) {
	broken := errors.New("broken")
	for what, post := range map[string]attest.Post{
		"no answer":      func(context.Context, string, []byte) ([]byte, error) { return nil, broken },
		"a page":         func(context.Context, string, []byte) ([]byte, error) { return []byte("<html>"), nil },
		"another object": func(context.Context, string, []byte) ([]byte, error) { return []byte(`{"kind":"Status"}`), nil },
	} {
		if account, err := attest.Review(t.Context(), post, secret.FromString("x"), issuer); !errors.Is(err, broken) && !fault.HasCode(err, "review_invalid") || account != (attest.Account{}) {
			t.Errorf("%s: %+v, %v", what, account, err)
		}
	}
}

// FuzzReview: whatever an API server answers, an account comes of it only if it is
// authenticated, for us, and well-formed.
func FuzzReview(f *testing.F) {
	f.Add([]byte(`{"kind":"TokenReview","status":{"authenticated":true,"user":{"username":"system:serviceaccount:a:b","uid":"u","extra":{"authentication.kubernetes.io/pod-name":["p"]}},"audiences":["https://id.example"]}}`))
	f.Add([]byte(`{"kind":"TokenReview","metadata":{"creationTimestamp":null},"spec":{"token":"x"},"status":{"user":{},"error":"[invalid bearer token]"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		account, err := attest.Review(t.Context(), func(context.Context, string, []byte) ([]byte, error) { return answer, nil }, secret.FromString("x"), issuer)
		if err != nil {
			return
		}
		var said struct {
			Status struct {
				Authenticated bool
				Audiences     []string
			}
		}
		if err := json.Unmarshal(answer, &said); err != nil || !said.Status.Authenticated || len(said.Status.Audiences) == 0 {
			t.Errorf("%s is %+v", answer, account)
		}
		if namespace, name, ok := attest.ParseAccount("system:serviceaccount:" + account.Namespace + ":" + account.Name); !ok || namespace != account.Namespace || name != account.Name {
			t.Errorf("%+v is no account", account)
		}
	})
}

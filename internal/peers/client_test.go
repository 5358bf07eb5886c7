package peers_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// task is a scenario of openid-client for a client of the pool.
func (w *world) task(scenario string, c userpool.Client, method string, s secret.Text) map[string]any {
	return map[string]any{
		"scenario": scenario, "issuer": w.issuer(), "redirectUri": redirectURI, "afterLogout": afterLogout, "resource": resource, "algorithm": jwt.ES256,
		"client": map[string]any{"id": c.ID, "method": method, "secret": s.RevealString()},
	}
}

// want compares a scenario's result with JSON.
func want(t testing.TB, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// codeFlow is what a whole login gets.
func (w *world) codeFlow(c userpool.Client) string {
	return fmt.Sprintf(`{"sub":%[1]q, "scope":"email openid profile", "lifetime":36000, "audience":%[2]q,
		"info":{"sub":%[1]q, "name":"张三", "preferred_username":"zhangsan", "email":"zhangsan@example.com", "email_verified":true}}`, w.user.ID, c.ID)
}

func TestCodeFlow(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	for _, method := range []string{oauth.ClientAuthNone, oauth.ClientSecretBasic, oauth.ClientSecretPost} {
		t.Run(method, func(t *testing.T) {
			kind := userpool.Web
			if method == oauth.ClientAuthNone {
				kind = userpool.Public
			}
			c, s := w.client(kind, nil)
			want(t, w.person().run(w.task("codeFlow", c, method, s)), w.codeFlow(c))
		})
	}
}

func TestBinding(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Public, nil)
	want(t, w.person().run(w.task("binding", c, oauth.ClientAuthNone, s)), `{
		"mixUp":"OAUTH_INVALID_RESPONSE", "otherState":"OAUTH_INVALID_RESPONSE", "otherVerifier":"invalid_grant", "secondTime":"invalid_grant"}`)
}

func TestSession(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Web, nil)
	want(t, w.person().run(w.task("session", c, oauth.ClientSecretBasic, s)), fmt.Sprintf(`{"nobody":"login_required", "same":true, "newer":true, "sub":%q}`, w.user.ID))
}

func TestLogOut(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Web, nil)
	want(t, w.person().run(w.task("logOut", c, oauth.ClientSecretPost, s)), fmt.Sprintf(`{"at":%q, "afterwards":"login_required"}`, afterLogout))
}

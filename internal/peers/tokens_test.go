package peers_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// TestTokens plays what openid-client does with tokens once it has some.
func TestTokens(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Web, func(c *userpool.Client) {
		c.Grants = append(c.Grants, oauth.GrantTokenExchange)
		c.Audiences = []string{resource}
	})
	for scenario, result := range map[string]string{
		"refresh":    fmt.Sprintf(`{"sub":%q, "reuse":"invalid_grant", "family":"invalid_grant"}`, w.user.ID),
		"introspect": fmt.Sprintf(`{"sub":%q, "unknown":{"active":false}}`, w.user.ID),
		"revoke":     `{"refresh":"invalid_grant", "seen":{"active":false}}`,
		"resources":  fmt.Sprintf(`{"audience":%q, "elsewhere":"invalid_target"}`, resource),
		"exchange":   fmt.Sprintf(`{"same":true, "audience":%q, "actor":%q}`, resource, c.ID),
	} {
		t.Run(scenario, func(t *testing.T) {
			want(t, w.person().run(w.task(scenario, c, oauth.ClientSecretBasic, s)), result)
		})
	}
	if !slices.Contains(w.refusals(), "the tokens were revoked: a refresh token was used a second time") {
		t.Errorf("the reuse is not on record: %q", w.refusals())
	}
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Web, func(c *userpool.Client) {
		var err error
		c.Scopes, err = name.NewScopes("openid", "documents.read", "documents.write")
		w.must(err)
		c.Grants, c.RedirectURIs = []string{oauth.GrantClientCredentials}, nil
	})
	want(t, w.person().run(w.task("clientCredentials", c, oauth.ClientSecretPost, s)),
		fmt.Sprintf(`{"sub":%[1]q, "client":%[1]q, "audience":%[1]q, "scope":"documents.read", "refresh":null, "more":"invalid_scope"}`, c.ID))
}

// TestMetadata finds the pool at the addresses of both specifications.
func TestMetadata(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Public, nil)
	task := w.task("metadata", c, oauth.ClientAuthNone, s)
	discovered := w.person().run(task)
	task["oauth2"] = true
	want(t, w.person().run(task), discovered)
}

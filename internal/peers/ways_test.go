package peers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// TestPrivateKeyJWT: a client proves itself with a key of its own.
func TestPrivateKeyJWT(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	key := jose.JSONWebKey{Key: private, KeyID: "k1", Algorithm: jwt.ES256, Use: "sig"}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	w.must(err)
	c, s := w.client(userpool.Web, func(c *userpool.Client) { c.AuthMethod, c.SecretHash, c.Keys = oauth.PrivateKeyJWT, "", string(set) })
	task := w.task("codeFlow", c, oauth.PrivateKeyJWT, s)
	task["client"].(map[string]any)["key"] = key
	want(t, w.person().run(task), w.codeFlow(c))
}

// TestPushed: a client that must push its requests (RFC 9126), and one that
// tries without.
func TestPushed(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Web, func(c *userpool.Client) { c.RequirePushed = true })
	want(t, w.person().run(w.task("pushed", c, oauth.ClientSecretBasic, s)), fmt.Sprintf(`{"sub":%q, "plain":"invalid_request"}`, w.user.ID))
}

func TestDevice(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, s := w.client(userpool.Public, func(c *userpool.Client) {
		c.Grants, c.RedirectURIs = []string{oauth.GrantDeviceCode, oauth.GrantRefreshToken}, nil
	})
	want(t, w.person().run(w.task("device", c, oauth.ClientAuthNone, s)), fmt.Sprintf(`{"sub":%q, "name":"张三"}`, w.user.ID))
}

// TestRegistration: a client makes itself known (RFC 7591) and logs somebody in.
func TestRegistration(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	p, err := w.pools.Pool(t.Context(), pool)
	w.must(err)
	p.Settings.DynamicRegistration = true
	w.must(w.pools.UpdatePool(t.Context(), w.permit(userpool.ActionUpdatePool, p.Resource()), p))
	token, value := userpool.NewInitialToken(pool, "", 1, time.Hour, w.now())
	w.must(token.Check())
	w.must(w.pools.CreateInitialToken(t.Context(), w.permit(userpool.ActionCreateInitialToken, token.Resource()), token))
	task := map[string]any{"scenario": "register", "issuer": w.issuer(), "redirectUri": redirectURI, "initialAccessToken": value.RevealString(), "client": map[string]any{}}
	want(t, w.person().run(task), fmt.Sprintf(`{"sub":%q, "audience":true}`, w.user.ID))
}

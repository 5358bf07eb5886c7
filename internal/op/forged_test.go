package op_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/go-jose/go-jose/v4"
)

// TestTokensThatAreNotAccessTokens: a signature of the pool's own key is not enough, and one by anything else is none.
func TestTokensThatAreNotAccessTokens(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	good := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	list, err := w.keys.Signing(t.Context(), userpool.KeyOwner("staff"), jwt.ES256)
	w.must(err)
	key := list[len(list)-1]
	stranger, err := jwt.Generate(jwt.ES256)
	w.must(err)
	stranger.ID = key.ID
	foreign, err := w.keys.Signing(t.Context(), userpool.KeyOwner("guests"), jwt.ES256)
	w.must(err)
	public, err := json.Marshal(jose.JSONWebKey{Key: key.Private.Public(), KeyID: key.ID})
	w.must(err)
	sign := func(k jwt.Key, typ string, changes ...any) string {
		claims := maps.Clone(w.claims(good.Access))
		for i := 0; i < len(changes); i += 2 {
			claims[changes[i].(string)] = changes[i+1]
		}
		token, err := jwt.Sign(k, typ, claims)
		w.must(err)
		return token
	}
	symmetric := func() string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public},
			(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", key.ID))
		w.must(err)
		payload, err := json.Marshal(w.claims(good.Access))
		w.must(err)
		signed, err := signer.Sign(payload)
		w.must(err)
		token, err := signed.CompactSerialize()
		w.must(err)
		return token
	}
	family := strings.Split(w.claims(good.Access)["jti"].(string), ".")[0]
	for what, c := range map[string]struct {
		token string
		holds bool
	}{
		"made as Deputy makes them":            {sign(key, "at+jwt"), true},
		"a workload access token's type":       {sign(key, "wat+jwt"), false},
		"an ID token's type":                   {sign(key, "JWT"), false},
		"a logout token's type":                {sign(key, "logout+jwt"), false},
		"another pool's issuer":                {sign(key, "at+jwt", "iss", w.url+"/userpool/guests"), false},
		"another pool's key":                   {sign(foreign[0], "at+jwt"), false},
		"a stranger's key of the same id":      {sign(stranger, "at+jwt"), false},
		"the public key as a secret (HS256)":   {symmetric(), false},
		"a family that there is not":           {sign(key, "at+jwt", "jti", "fam_x.at_x"), false},
		"no family, about a user":              {sign(key, "at+jwt", "jti", "at_x"), false},
		"no id":                                {sign(key, "at+jwt", "jti", ""), false},
		"a user that there is not":             {sign(key, "at+jwt", "sub", "usr_x"), false},
		"a client that there is not":           {sign(key, "at+jwt", "client_id", "cli_x", "aud", []string{"cli_x", "cli_chat_staff"}), false},
		"a client's own, with a user's family": {sign(key, "at+jwt", "sub", "cli_chat_staff", "jti", family+".at_x"), false},
		"a chain that is none":                 {sign(key, "at+jwt", "act", "cli_x"), false},
	} {
		if active, _ := w.active("staff", "chat", c.token); active != c.holds {
			t.Errorf("%s: told to hold: %v", what, active)
		}
		if shown := userInfo(p, "staff", c.token); (shown.status == 200) != c.holds {
			t.Errorf("%s: userinfo %d", what, shown.status)
		}
	}
}

// TestClaimsByScope: groups and attributes go where they are asked for.
func TestClaimsByScope(t *testing.T) {
	w := newWorld(t)
	w.edit("staff", "chat", func(c *userpool.Client) { c.Scopes = w.scopes("openid profile groups") })
	w.editUser(func(u *userpool.User) { u.Attributes = map[string]string{"department": "研发"} })
	g := userpool.Group{ID: "grp_1", Pool: "staff", Name: "writers", CreatedAt: w.now()}
	w.must(w.stores.CreateGroup(t.Context(), w.permit(userpool.ActionCreateGroup, g.Resource()), g))
	w.must(w.stores.ChangeMembers(t.Context(), w.permit(userpool.ActionUpdateGroup, g.Resource()), "staff", g.ID, []string{"usr_zhang_staff"}, nil))
	p := w.person()
	p.logIn("staff")
	bare := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid"))))
	full := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid profile groups"))))
	for what, c := range map[string]struct {
		token              string
		groups, attributes bool
	}{
		"bare access": {bare.Access, false, false}, "bare ID": {bare.ID, false, false},
		"full access": {full.Access, true, false}, "full ID": {full.ID, true, true},
	} {
		claims := w.claims(c.token)
		if (claims["groups"] != nil) != c.groups || (claims["attributes"] != nil) != c.attributes {
			t.Errorf("%s token: %v", what, claims)
		}
	}
	if shown := userInfo(p, "staff", full.Access); !strings.Contains(shown.body, `"groups":["writers"]`) || !strings.Contains(shown.body, `"attributes":{"department":"研发"}`) {
		t.Errorf("userinfo %s", shown.body)
	}
}

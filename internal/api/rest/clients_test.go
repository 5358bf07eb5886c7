package rest_test

import (
	"strings"
	"testing"
)

// TestClientsChange: what is named changes, a secret is shown when it is made, and
// an old version changes nothing.
func TestClientsChange(t *testing.T) {
	w := newWorld(t)
	w.create("/user-pools", `{"name":"apps"}`, nil)
	const clients = "/user-pools/apps/clients"
	type shown struct {
		ID, Secret, Name, DisplayName, AuthMethod string
		Version                                   int64
		Audiences                                 []string
	}
	var made, changed shown
	w.create(clients, `{"name":"chat","redirectUris":["https://chat.example/callback"],"displayName":"Chat"}`, &made)
	w.expect(200, "PATCH", clients+"/"+made.ID, `{"version":1,"audiences":["https://api.example/"],"name":"talk"}`, &changed)
	if changed.Secret != "" || changed.Name != "talk" || changed.DisplayName != "Chat" || changed.Version != 2 || len(changed.Audiences) != 1 {
		t.Errorf("changed to %+v", changed)
	}
	w.expect(409, "PATCH", clients+"/"+made.ID, `{"version":1,"name":"late"}`, nil)
	w.expect(400, "PATCH", clients+"/"+made.ID, `{"type":"public"}`, nil)
	w.expect(400, "PATCH", clients+"/"+made.ID, `{"authMethod":"private_key_jwt"}`, nil)
	w.expect(400, "PATCH", clients+"/"+made.ID, `{"keys":{"keys":[{"kty":"oct","k":"eA"}]}}`, nil)
	w.expect(400, "PATCH", clients+"/"+made.ID, `{"secret":"mine"}`, nil)
	w.expect(200, "PATCH", clients+"/"+made.ID, `{"authMethod":"private_key_jwt","keysUri":"https://chat.example/keys"}`, nil)
	w.expect(400, "POST", clients+"/"+made.ID+"/secret", "", nil)
	var again shown
	w.expect(200, "PATCH", clients+"/"+made.ID, `{"authMethod":"client_secret_post","keysUri":""}`, &again)
	if !strings.HasPrefix(again.Secret, "cs_") {
		t.Errorf("a client that needs a secret again: %+v", again)
	}
}

func TestInitialTokens(t *testing.T) {
	w := newWorld(t)
	w.create("/user-pools", `{"name":"apps"}`, nil)
	const tokens = "/user-pools/apps/initial-tokens"
	w.expect(409, "POST", tokens, `{}`, nil)
	w.expect(404, "POST", "/user-pools/nobody/initial-tokens", `{}`, nil)
	w.expect(404, "DELETE", tokens+"/iat_x", "", nil)
	var list struct {
		Items []struct{ ID, Token string }
	}
	w.expect(200, "GET", tokens, "", &list)
	if len(list.Items) != 0 {
		t.Errorf("got %+v", list)
	}
}

package userpool_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func TestIssuers(t *testing.T) {
	const public = "https://id.example"
	if pool, ok := userpool.PoolOfIssuer(public, userpool.Issuer(public, "staff")); !ok || pool != "staff" {
		t.Errorf("got %q, %v", pool, ok)
	}
	for _, foreign := range []string{"", public, public + "/userpool/", public + "/userpool/a/b", public + "/userpool/a?x",
		"https://id.example.evil/userpool/staff", "http://id.example/userpool/staff", public + "/userpool/../x"} {
		if pool, ok := userpool.PoolOfIssuer(public, foreign); ok {
			t.Errorf("%q is taken for pool %q", foreign, pool)
		}
	}
}

func TestCheckUser(t *testing.T) {
	good := userpool.User{UserName: "zhang.san", DisplayName: "张三", Email: "zhang@example.com", Phone: "+86 10 1234 5678"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for what, edit := range map[string]func(*userpool.User){
		"no name":           func(u *userpool.User) { u.UserName = "" },
		"name with space":   func(u *userpool.User) { u.UserName = "zhang san" },
		"email with name":   func(u *userpool.User) { u.Email = "Zhang <zhang@example.com>" },
		"email with header": func(u *userpool.User) { u.Email = "a@b.c\r\nBcc: x@y.z" },
		"email, no at":      func(u *userpool.User) { u.Email = "zhang" },
		"phone with letter": func(u *userpool.User) { u.Phone = "+86 call me" },
		"control character": func(u *userpool.User) { u.DisplayName = "a\x00b" },
		"bidi override":     func(u *userpool.User) { u.DisplayName = "a\u202eb" },
		"not UTF-8":         func(u *userpool.User) { u.DisplayName = "a\xff" },
		"too long":          func(u *userpool.User) { u.DisplayName = strings.Repeat("x", 201) },
	} {
		u := good
		edit(&u)
		if u.Check() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestCheckClient(t *testing.T) {
	scopes, err := name.ParseScopes("openid profile")
	if err != nil {
		t.Fatal(err)
	}
	clientSecret := userpool.NewSecret()
	good := userpool.NewClient("staff", "chat", userpool.Web, time.Now())
	good.SecretHash, good.Scopes, good.RedirectURIs = userpool.HashSecret(clientSecret), scopes, []string{"http://127.0.0.1:8082/callback"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	if !good.SecretIs(clientSecret) || good.SecretIs(userpool.NewSecret()) || good.SecretIs(secret.Text{}) {
		t.Error("the secret is told wrongly")
	}
	if (userpool.Client{}).SecretIs(secret.Text{}) {
		t.Error("no secret matched no secret")
	}
	for what, edit := range map[string]func(*userpool.Client){
		"name":                func(c *userpool.Client) { c.Name = "a/b" },
		"type":                func(c *userpool.Client) { c.Type = "spa" },
		"web without secret":  func(c *userpool.Client) { c.SecretHash = "" },
		"public with secret":  func(c *userpool.Client) { c.Type = userpool.Public },
		"no redirect URI":     func(c *userpool.Client) { c.RedirectURIs = nil },
		"relative URI":        func(c *userpool.Client) { c.RedirectURIs = []string{"/callback"} },
		"URI with fragment":   func(c *userpool.Client) { c.RedirectURIs = []string{"https://a.example/cb#x"} },
		"plain http, public":  func(c *userpool.Client) { c.RedirectURIs = []string{"http://a.example/cb"} },
		"script URI":          func(c *userpool.Client) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		"logout URI":          func(c *userpool.Client) { c.PostLogoutRedirectURIs = []string{"data:text/html,x"} },
		"too many URIs":       func(c *userpool.Client) { c.RedirectURIs = make([]string, 21) },
		"no scope":            func(c *userpool.Client) { c.Scopes = name.Scopes{} },
		"lifetime too short":  func(c *userpool.Client) { c.AccessTokenLifetime = time.Second },
		"display name":        func(c *userpool.Client) { c.DisplayName = "a\u202eb" },
		"method not known":    func(c *userpool.Client) { c.AuthMethod = "client_secret_jwt" },
		"no method":           func(c *userpool.Client) { c.AuthMethod = "" },
		"keys missing":        func(c *userpool.Client) { c.AuthMethod, c.SecretHash = oauth.PrivateKeyJWT, "" },
		"keys twice":          func(c *userpool.Client) { c.Keys, c.KeysURI = publicKeys(t), "https://a.example/keys" },
		"no key among keys":   func(c *userpool.Client) { c.Keys = `{"keys":[]}` },
		"keys not JSON":       func(c *userpool.Client) { c.Keys = "{" },
		"symmetric key":       func(c *userpool.Client) { c.Keys = `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}` },
		"keys at plain http":  func(c *userpool.Client) { c.KeysURI = "http://a.example/keys" },
		"no grant":            func(c *userpool.Client) { c.Grants = nil },
		"unknown grant":       func(c *userpool.Client) { c.Grants = []string{"password"} },
		"grant twice":         func(c *userpool.Client) { c.Grants = []string{"authorization_code", "authorization_code"} },
		"refresh alone":       func(c *userpool.Client) { c.Grants = []string{"refresh_token"} },
		"logout by ftp":       func(c *userpool.Client) { c.BackchannelLogoutURI = "ftp://a.example/" },
		"audience with space": func(c *userpool.Client) { c.Audiences = []string{"a b"} },
		"audience twice":      func(c *userpool.Client) { c.Audiences = []string{"a", "a"} },
		"too many audiences":  func(c *userpool.Client) { c.Audiences = manyNames(51) },
		"public for itself": func(c *userpool.Client) {
			c.Type, c.AuthMethod, c.SecretHash, c.Grants = userpool.Public, oauth.ClientAuthNone, "", []string{"client_credentials"}
		},
		"lifetime not stated": func(c *userpool.Client) { c.AccessTokenLifetime = 0 },
	} {
		c := good
		edit(&c)
		if c.Check() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestAClientWithKeys(t *testing.T) {
	c := userpool.NewClient("staff", "robot", userpool.Web, time.Now())
	c.AuthMethod, c.Grants, c.Keys = oauth.PrivateKeyJWT, []string{oauth.GrantClientCredentials}, publicKeys(t)
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.Keys, c.KeysURI, c.Audiences = "", "https://robot.example/keys", manyNames(50)
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestInitialTokens(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	good, value := userpool.NewInitialToken("staff", "CI", 3, time.Hour, now)
	if err := good.Check(); err != nil || good.Hash != userpool.HashInitialToken(value) {
		t.Error(err)
	}
	for what, edit := range map[string]func(*userpool.InitialToken){
		"no uses":       func(v *userpool.InitialToken) { v.Uses = 0 },
		"too many uses": func(v *userpool.InitialToken) { v.Uses = userpool.MaxInitialUses + 1 },
		"too short":     func(v *userpool.InitialToken) { v.ExpiresAt = now.Add(time.Second) },
		"too long":      func(v *userpool.InitialToken) { v.ExpiresAt = now.Add(userpool.MaxInitialLifetime + 1) },
		"strange note":  func(v *userpool.InitialToken) { v.Note = "a\nb" },
	} {
		v := good
		edit(&v)
		if v.Check() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	c := userpool.Client{}
	if c.RegistrationTokenIs(secret.Text{}) || c.RegistrationTokenIs(value) {
		t.Error("a client that did not register itself has a registration token")
	}
	mine := userpool.NewRegistrationToken()
	if c.RegistrationHash = userpool.HashRegistrationToken(mine); !c.RegistrationTokenIs(mine) || c.RegistrationTokenIs(value) || c.RegistrationTokenIs(secret.Text{}) {
		t.Error("the registration token is told wrongly")
	}
}

// publicKeys returns a key set of one public key.
func publicKeys(t *testing.T) string {
	t.Helper()
	k, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	return string(jwt.NewSet(k).JWKS())
}

func manyNames(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("https://api.example/%d", i)
	}
	return list
}

func TestSessionsDie(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	user := userpool.User{ID: "usr_1", Pool: "staff", PasswordChangedAt: start.Add(-time.Hour)}
	session, token := userpool.NewSession("staff", "usr_1", []string{"pwd"}, start)
	if session.TokenHash != userpool.HashSession(token) || strings.Contains(fmt.Sprintf("%+v", session), token.RevealString()) {
		t.Error("the session is not stored under the hash of its token alone")
	}
	for what, c := range map[string]struct {
		edit  func(*userpool.Session, *userpool.User)
		after time.Duration
		alive bool
	}{
		"at once":          {nil, 0, true},
		"in use":           {func(s *userpool.Session, _ *userpool.User) { s.LastUsedAt = start.Add(11 * time.Hour) }, 12*time.Hour - 1, true},
		"idle":             {nil, userpool.SessionIdle, false},
		"at its end":       {func(s *userpool.Session, _ *userpool.User) { s.LastUsedAt = start.Add(12 * time.Hour) }, 12 * time.Hour, false},
		"user disabled":    {func(_ *userpool.Session, u *userpool.User) { u.Disabled = true }, 0, false},
		"password changed": {func(_ *userpool.Session, u *userpool.User) { u.PasswordChangedAt = start.Add(time.Second) }, time.Minute, false},
		"other user":       {func(_ *userpool.Session, u *userpool.User) { u.ID = "usr_2" }, 0, false},
		"other pool":       {func(_ *userpool.Session, u *userpool.User) { u.Pool = "guests" }, 0, false},
	} {
		s, u := session, user
		if c.edit != nil {
			c.edit(&s, &u)
		}
		if got := s.Alive(u, start.Add(c.after)); got != c.alive {
			t.Errorf("%s: alive = %v", what, got)
		}
	}
}

func TestAUserNeverPrintsHisPassword(t *testing.T) {
	u := userpool.User{UserName: "zhang", PasswordHash: secret.FromString("$argon2id$hash")}
	j, err := json.Marshal(u)
	if err != nil || strings.Contains(string(j)+fmt.Sprintf("%+v %#v", u, u), "argon2id") {
		t.Errorf("printed: %s %+v, %v", j, u, err)
	}
}

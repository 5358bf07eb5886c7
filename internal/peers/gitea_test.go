package peers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/callback"
	"github.com/deputy-id/deputy/internal/freeport"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/secret"
)

const (
	giteaUser     = "lisi"
	giteaPassword = "correct horse battery staple"
)

// giteaConfig has a Gitea that knows one person, and lets each refresh token be
// used once.
const giteaConfig = `APP_NAME = Gitea
RUN_MODE = prod
RUN_USER = %[1]s
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = %[2]s

[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[3]s
ROOT_URL = http://127.0.0.1:%[3]s/
DISABLE_SSH = true
OFFLINE_MODE = true
STATIC_ROOT_PATH = %[4]s

[database]
DB_TYPE = sqlite3
PATH = %[2]s/gitea.db

[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2

[oauth2]
INVALIDATE_REFRESH_TOKENS = true

[log]
MODE = file

[service]
DISABLE_REGISTRATION = true
`

// startGitea starts a Gitea and returns its address.
func startGitea(t testing.TB) string {
	t.Helper()
	dir := testdata(t, "gitea")
	program := filepath.Join(dir, "gitea")
	if _, err := os.Stat(program); err != nil {
		missing(t, "Gitea is not built; run: go build -C internal/peers/testdata/gitea -tags 'sqlite sqlite_unlock_notify' -o gitea .")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "code.gitea.io/gitea") // its templates are there
	list.Dir = dir
	static, err := list.Output()
	must(err)
	me, err := user.Current()
	must(err)
	ports, err := freeport.Find(1)
	must(err)
	work := t.TempDir()
	config := filepath.Join(work, "app.ini")
	must(os.WriteFile(config, fmt.Appendf(nil, giteaConfig, me.Username, work, ports[0], strings.TrimSpace(string(static))), 0o600))
	for _, arguments := range [][]string{
		{"migrate"},
		{"admin", "user", "create", "--username", giteaUser, "--password", giteaPassword, "--email", "li.si@example.com", "--must-change-password=false"},
	} {
		cmd := exec.Command(program, append(arguments, "--config", config)...)
		if _, err := cmd.StdinPipe(); err != nil { // that stays open until it ends by itself
			t.Fatal(err)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gitea %s: %v\n%s", arguments[0], err, out)
		}
	}
	address := "http://127.0.0.1:" + ports[0]
	begin(t, work, program, "web", "--config", config)
	serving(t, address+"/api/healthz")
	return address
}

// serving returns when an address answers.
func serving(t testing.TB, address string) {
	t.Helper()
	look, deadline := time.NewTicker(50*time.Millisecond), time.NewTimer(time.Minute)
	defer look.Stop()
	defer deadline.Stop()
	for {
		if resp, err := http.Get(address); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("%s does not answer", address)
		}
	}
}

// giteaApp registers an OAuth2 application of the person's at a Gitea.
func giteaApp(t testing.TB, address, callback string) (id, secret string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"name": "Deputy", "redirect_uris": []string{callback}, "confidential_client": true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/api/v1/user/applications/oauth2", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(giteaUser, giteaPassword)
	r.Header.Set("Content-Type", "application/json")
	var made struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	return made.ClientID, made.ClientSecret
}

var giteaRevocation = regexp.MustCompile(`/user/settings/applications/oauth2/\d+/revoke/\d+`)

// takeBack has a person take back at Gitea, in the account settings, what the
// application was granted.
func (p *person) takeBack(address string) {
	p.w.t.Helper()
	page, err := p.Get(p.w.t.Context(), address+"/user/settings/applications", nil)
	p.w.must(err)
	path := giteaRevocation.FindString(page.Body)
	if path == "" {
		p.w.t.Fatalf("there is nothing to take back at %s\n%s", page.URL, page.Body)
	}
	resp, err := p.HTTP.Post(address+path, "application/x-www-form-urlencoded", nil)
	p.w.must(err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.w.t.Fatalf("%s answers %d", path, resp.StatusCode)
	}
}

// TestGiteaKeepsItsFirstScopes: Gitea gives a person's first scopes again to
// whoever asks for more, and does not say so with the token. Deputy finds out, and
// takes it for what it is; once the person took the first ones back, more can be
// granted.
func TestGiteaKeepsItsFirstScopes(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	third := thirdParties()["gitea"](t, w.URL+callback.Path)
	api, doc, zhangsan := w.api(), w.agent(), w.person()
	wrong, err := api.CreateProvider(t.Context(), "default", "wrong", third.settings, secret.FromString("another"))
	w.must(err)
	if got := outcomes(wrong.Checks, "failed"); got != "client unauthorized_client" {
		t.Errorf("of a wrong secret was found out: %s", got)
	}
	_, err = api.CreateProvider(t.Context(), "default", "third", third.settings, secret.FromString(third.secret))
	w.must(err)
	authorize := func(scopes ...string) string {
		t.Helper()
		got := doc.authorize(zhangsan, doc.link(scopes...)).Authorization
		return strings.TrimSpace(got.State + " " + got.Reason)
	}
	if got := authorize("openid", "read:user"); got != "completed" {
		t.Fatal(got)
	}
	third.opens(t, doc.ready("openid", "read:user"))
	if got := authorize("openid", "read:user", "read:repository"); got != "failed scopes_not_granted" {
		t.Errorf("more than was granted first: %s", got)
	}
	third.opens(t, doc.ready("openid", "read:user"))
	zhangsan.takeBack(third.settings.Endpoints.Base)
	w.pass(long)
	if got := authorize("openid", "read:user", "read:repository"); got != "completed" {
		t.Errorf("after the person took the first grant back: %s", got)
	}
	third.opens(t, doc.ready("openid", "read:user", "read:repository"))
	zhangsan.takeBack(third.settings.Endpoints.Base)
	w.pass(long)
	doc.link("openid", "read:user")
	var reasons []string
	for g, err := range api.Grants(t.Context(), "default", apiclient.HeldFilter{State: "reauthorize"}) {
		w.must(err)
		reasons = append(reasons, g.Reason)
	}
	if len(reasons) != 1 || !strings.Contains(reasons[0], "took the access away") {
		t.Errorf("why the grant ended: %q", reasons)
	}
}

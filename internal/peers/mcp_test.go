package peers_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/userpool"
)

// TestMCP sets the official MCP client before the ingress and the official
// server behind it. The client finds out by itself where to log in, and a
// session is its user's only.
func TestMCP(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	const agent = "/agents/default/tools"
	c, _ := w.client(userpool.Public, func(c *userpool.Client) { c.Audiences = []string{w.Ingress + agent} })
	w.deploy("tools", "mcp-agent.mjs", c, "{mcp: }")
	second := &world{Replica: w.Replica, t: w.t, pools: w.pools, guard: w.guard}
	second.user = userpool.User{ID: "usr_lisi", Pool: pool, UserName: "lisi", PasswordHash: w.user.PasswordHash, CreatedAt: w.now()}
	w.must(w.pools.CreateUser(t.Context(), w.permit(userpool.ActionCreateUser, second.user.Resource()), second.user))

	s := node(t, "mcp-client.mjs")
	s.say(t, map[string]string{"url": w.Ingress + agent + "/mcp", "clientId": c.ID, "redirectUri": redirectURI, "other": second.person().accessToken(c)})
	zhangsan := w.person()
	var l line
	for l = s.hear(t); l.Visit != ""; l = s.hear(t) {
		s.say(t, map[string]string{"at": zhangsan.visit(l.Visit)})
	}
	if l.Done == nil {
		t.Fatalf("%s\nrefused: %q", l.Failed, w.refusals())
	}
	want(t, string(l.Done), fmt.Sprintf(`{"resource":%q, "scope":"profile", "tools":["whoami"], "user":%q, "stolen":404, "other":"usr_lisi", "ended":404}`, w.Ingress+agent, w.user.ID))
	if got := strings.Join(w.refusals(), "; "); !strings.Contains(got, "there is no such session of yours") || !strings.Contains(got, "there is no bearer token") {
		t.Errorf("the log tells of %q", got)
	}
}

// deploy has the runtime run a program of testdata/node as an agent, for users of
// the client, that is reached by paths.
func (w *world) deploy(agent, script string, c userpool.Client, paths string) {
	w.t.Helper()
	token, err := apiclient.ReadToken(filepath.Join(w.Dir, "operator.token"))
	w.must(err)
	api, err := apiclient.New(apiclient.Config{URL: w.URL, Token: token})
	w.must(err)
	// A copy: whoever runs an agent may write into its directory.
	dir, from := w.t.TempDir(), testdata(w.t, "node")
	program, err := os.ReadFile(filepath.Join(from, script))
	w.must(err)
	w.must(os.WriteFile(filepath.Join(dir, script), program, 0o700)) //nolint:gosec // a program is executable
	w.must(os.Symlink(filepath.Join(from, "node_modules"), filepath.Join(dir, "node_modules")))
	ctx, cancel := context.WithTimeout(w.t.Context(), scriptTime)
	defer cancel()
	_, err = api.LaunchAgent(ctx, "default", dir, fmt.Sprintf("common: {agent_name: %s, entry_point: %s, launch_type: local}\n"+
		"launch_types: {local: {runtime_auth_type: custom_jwt, runtime_jwt_discovery_url: '%s/.well-known/openid-configuration', runtime_jwt_allowed_clients: [%s],"+
		" runtime_jwt_required_scopes: [profile], runtime_paths: %s}}\n", agent, script, w.issuer(), c.ID, paths))
	w.must(err)
	_, err = api.AwaitAgent(ctx, "default", agent, func(apiclient.Agent) {})
	w.must(err)
}

// accessToken logs the person in at a public client.
func (p *person) accessToken(c userpool.Client) string {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(p.w.t.Context(), time.Minute)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, p.w.issuer())
	p.w.must(err)
	app := oauth2.Config{ClientID: c.ID, RedirectURL: redirectURI, Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile"}}
	verifier := oauth2.GenerateVerifier()
	at, err := url.Parse(p.visit(app.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier))))
	p.w.must(err)
	token, err := app.Exchange(ctx, at.Query().Get("code"), oauth2.VerifierOption(verifier))
	p.w.must(err)
	return token.AccessToken
}

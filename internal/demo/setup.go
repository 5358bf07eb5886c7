package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// What the demo makes.
const (
	userPool     = "people"
	clientName   = "feishu-chat"
	workloadPool = name.DefaultPool
	providerName = "feishu_oauth"
	agentName    = "feishu-doc-agent"
	appID        = "cli_sandbox0000000001" // at the sandbox

	launchTime = 6 * time.Minute // a first build compiles everything
)

func providerScopes() []string {
	return []string{"docx:document:readonly", "docs:document.content:read", "offline_access"}
}

// demoUser is a person of the demo's user pool, and his account at the sandbox.
type demoUser struct{ userName, displayName string }

func demoUsers() []demoUser { return []demoUser{{"zhangsan", "张三"}, {"lisi", "李四"}} }

// setup makes what the demo needs through the public API, as a user would:
// create what is missing, update what is there.
type setup struct {
	api   *apiclient.Client
	state *state
	urls  urls
	// examples is the directory of the examples.
	examples string
	// told is called at the beginning of each step that takes time.
	told func(format string, args ...any)
}

// urls are the addresses of the parts.
type urls struct{ identity, ingress, chat, sandbox string }

func (u urls) callback() string     { return u.identity + "/api/v1/oauth2callback" }
func (u urls) chatCallback() string { return u.chat + "/callback" }

// world is what setup made.
type world struct {
	urls
	issuer, discovery, clientID string
	agent                       apiclient.Agent
	talk                        string            // redirect URI of an example's own page
	subjects                    map[string]string // user name → id, the subject in tokens
	fresh                       bool              // the users were made in this run
}

func (s *setup) run(ctx context.Context) (world, error) {
	w := world{urls: s.urls}
	pool, err := s.pool(ctx)
	if err != nil {
		return w, err
	}
	w.issuer, w.discovery = pool.Issuer, pool.DiscoveryURL
	if w.subjects, w.fresh, err = s.users(ctx); err != nil {
		return w, err
	}
	if w.clientID, err = s.client(ctx); err != nil {
		return w, err
	}
	if err := s.provider(ctx); err != nil {
		return w, err
	}
	w.agent, err = s.launch(ctx, agentDirectory, ownValues(w))
	return w, err
}

func (s *setup) pool(ctx context.Context) (apiclient.UserPool, error) {
	pools, err := s.api.UserPools(ctx)
	if err != nil {
		return apiclient.UserPool{}, err
	}
	if i := slices.IndexFunc(pools, func(p apiclient.UserPool) bool { return p.Name == userPool }); i >= 0 {
		return pools[i], nil
	}
	return s.api.CreateUserPool(ctx, userPool, "Deputy Demo", nil)
}

// users makes the demo's users and returns their ids. It reports whether they
// are new.
func (s *setup) users(ctx context.Context) (subjects map[string]string, fresh bool, err error) {
	subjects = map[string]string{}
	for u, err := range s.api.Users(ctx, userPool) {
		if err != nil {
			return nil, false, err
		}
		subjects[u.UserName] = u.ID
	}
	for _, u := range demoUsers() {
		if subjects[u.userName] != "" && s.state.Users[u.userName] == "" {
			return nil, false, fault.New(fault.Conflict, "demo_password_lost", "the password of %s is not in the demo's state", u.userName).WithSource(s.state.path).
				WithFix("use another --data directory")
		}
		if subjects[u.userName] != "" {
			continue
		}
		if s.state.Users[u.userName] == "" {
			s.state.Users[u.userName] = newPassword()
			if err := s.state.save(); err != nil {
				return nil, false, err
			}
		}
		made, err := s.api.CreateUser(ctx, userPool, apiclient.NewUser{
			UserName: u.userName, DisplayName: u.displayName, Email: u.userName + "@example.com",
			Password: secret.FromString(s.state.Users[u.userName]),
		})
		if err != nil {
			return nil, false, err
		}
		subjects[u.userName], fresh = made.ID, true
	}
	return subjects, fresh, nil
}

// client makes the chat application's client, or gives it a new secret when the
// old one is lost.
func (s *setup) client(ctx context.Context) (id string, err error) {
	existing, err := s.api.OAuthClients(ctx, userPool)
	if err != nil {
		return "", err
	}
	var shown secret.Text
	i := slices.IndexFunc(existing, func(c apiclient.OAuthClient) bool { return c.Name == clientName })
	switch {
	case i < 0:
		var made apiclient.OAuthClient
		made, shown, err = s.api.CreateOAuthClient(ctx, userPool, apiclient.ClientSettings{
			Name: clientName, Type: "web", RedirectURIs: []string{s.urls.chatCallback()}, Scopes: []string{"openid", "profile", "email"},
		})
		id = made.ID
	case !slices.Contains(existing[i].RedirectURIs, s.urls.chatCallback()):
		return "", fault.New(fault.Conflict, "demo_ports_changed", "the chat application's client was made for %s", strings.Join(existing[i].RedirectURIs, ", ")).
			WithSource("--chat-listen").WithFix("use the same ports as before, or another --data directory")
	case s.state.ClientSecret == "":
		id = existing[i].ID
		shown, err = s.api.ReplaceSecret(ctx, userPool, id)
	default:
		return existing[i].ID, nil
	}
	if err != nil {
		return "", err
	}
	s.state.ClientSecret = shown.RevealString()
	return id, s.state.save()
}

// provider points the credential provider at the sandbox.
func (s *setup) provider(ctx context.Context) error {
	settings := feishuSettings(s.urls.sandbox)
	settings.ClientID = appID
	return s.put(ctx, providerName, settings, secret.FromString(s.state.AppSecret))
}

// put creates a credential provider, or gives it other settings.
func (s *setup) put(ctx context.Context, provider string, settings apiclient.ProviderSettings, own secret.Text) error {
	pools, err := s.api.WorkloadPools(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(pools, func(p apiclient.WorkloadPool) bool { return p.Name == workloadPool }) {
		return fault.New(fault.Internal, "pool_missing", "the workload pool %q does not exist, and it always should", workloadPool)
	}
	create := func() error {
		_, err := s.api.CreateProvider(ctx, workloadPool, provider, settings, own)
		return err
	}
	if _, err = s.api.Provider(ctx, workloadPool, provider); fault.Is(err, fault.NotFound) {
		return create()
	}
	if err != nil {
		return err
	}
	_, err = s.api.UpdateProvider(ctx, workloadPool, provider, settings, own)
	if err == nil || fault.As(err).Code != "provider_has_grants" {
		return err
	}
	// The sandbox was at another port: it is another third party now.
	if err := s.api.DeleteProvider(ctx, workloadPool, provider); err != nil {
		return err
	}
	return create()
}

// launch deploys an example, whose variables have these values, and waits until it
// is ready.
func (s *setup) launch(ctx context.Context, example string, values map[string]string) (apiclient.Agent, error) {
	directory := filepath.Join(s.examples, example)
	text, err := definition(directory, values)
	if err != nil {
		return apiclient.Agent{}, err
	}
	s.told("building the agent %s (the first time takes a while) …", example)
	ctx, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	if a, err := s.api.LaunchAgent(ctx, workloadPool, directory, string(text)); err != nil {
		return a, err
	}
	return s.api.AwaitAgent(ctx, workloadPool, example, func(a apiclient.Agent) { s.told("the agent is %s …", a.State) })
}

// ownValues are the demo's own values in the sample agent's definition: whose users
// may talk to it, and where Feishu is.
func ownValues(w world) map[string]string {
	return map[string]string{"OAUTH2_ISSUER_URI": w.issuer, "OAUTH2_CLIENT_ID": w.clientID, "FEISHU_API_BASE": w.sandbox}
}

// dotEnv is the chat application's settings file, in the tutorial's form.
func dotEnv(w world, clientSecret string) []byte {
	return fmt.Appendf(nil, `OAUTH2_ISSUER_URI=%s
OAUTH2_CLIENT_ID=%s
OAUTH2_CLIENT_SECRET=%s
OAUTH2_REDIRECT_URI=%s
OAUTH2_SCOPES=openid profile email
AGENT_NAME=%s
AGENT_ENDPOINT=%s
CHAT_EXAMPLES=%s
`, w.issuer, w.clientID, clientSecret, w.chatCallback(), agentName, w.agent.Endpoint, strings.Join(exampleDocuments(), ", "))
}

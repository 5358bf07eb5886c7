package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// example is an agent in the directory of the examples, with the third party that
// it works at and what can be asked of it.
type example struct {
	name     string
	party    string // of deputy sandbox
	provider string // name of the credential provider
	settings func(sandbox string) apiclient.ProviderSettings
	api      string // variable with the third party's address
	turns    []turn
	asked    string // another example that it asks, which is launched, too; may be empty
}

// turn is something to ask, and what must be in the answer.
type turn struct {
	prompt string
	asks   bool // for the user's consent
	want   string
}

// examples are all but the tutorial's own agent, which the demo is about without one.
func examples() []example {
	return []example{
		{"github-agent", "github", "github", func(at string) apiclient.ProviderSettings {
			return apiclient.ProviderSettings{Vendor: "github", Scopes: []string{"repo"}, Endpoints: vendor.Endpoints{
				Authorization: at + "/login/oauth/authorize", Token: at + "/login/oauth/access_token", UserInfo: at + "/user", Revocation: at + "/applications/{client_id}/token", API: at,
			}}
		}, "GITHUB_API_BASE", []turn{
			{"Which repositories do I have?", true, "zhangsan/notes (private)"},
			{"new issue in zhangsan/website: The footer is gone", false, `I opened #2`},
			{"issues of zhangsan/website", false, "The footer is gone"},
		}, ""},
		{"calendar-agent", "google", "google", func(at string) apiclient.ProviderSettings {
			return apiclient.ProviderSettings{Vendor: "google", Scopes: []string{"https://www.googleapis.com/auth/calendar.readonly", "https://www.googleapis.com/auth/calendar.events"}, Endpoints: vendor.Endpoints{
				Authorization: at + "/o/oauth2/v2/auth", Token: at + "/token", UserInfo: at + "/v1/userinfo", Revocation: at + "/revoke", API: at,
			}}
		}, "GOOGLE_API_BASE", []turn{
			{"What is on today?", true, "Stand-up of the team of 张三"},
			{"Add Lunch from 12:00 to 13:00", true, `I added "Lunch"`}, // writing is another scope
			{"And what is on today now?", false, "12:00 to 13:00 Lunch"},
		}, ""},
		{"notion-agent", "notion", "notion", func(at string) apiclient.ProviderSettings {
			return apiclient.ProviderSettings{Vendor: "notion", Endpoints: vendor.Endpoints{
				Authorization: at + "/v1/oauth/authorize", Token: at + "/v1/oauth/token", UserInfo: at + "/v1/users/me", Revocation: at + "/v1/oauth/revoke", Introspection: at + "/v1/oauth/introspect", API: at + "/v1",
			}}
		}, "NOTION_API_BASE", []turn{
			{"Please find Meeting notes", true, "the new warehouse opens in May"},
			{"find Goals", false, "Fewer steps for customers."},
		}, ""},
		{"slack-agent", "slack", "slack", func(at string) apiclient.ProviderSettings {
			return apiclient.ProviderSettings{Vendor: "slack-user", Scopes: []string{"channels:read", "channels:history", "chat:write"}, Endpoints: vendor.Endpoints{
				Authorization: at + "/oauth/v2/authorize", Token: at + "/api/oauth.v2.access", UserInfo: at + "/api/auth.test", Revocation: at + "/api/auth.revoke", API: at + "/api",
			}}
		}, "SLACK_API_BASE", []turn{
			{"read #general", true, "joined."},
			{`say "Good morning" in #general`, true, "I said so in #general."}, // writing is another scope
			{"read #general", false, "UZHANGSAN: Good morning"},
		}, ""},
		{"m2m-agent", "depot", "depot", func(at string) apiclient.ProviderSettings {
			return apiclient.ProviderSettings{Vendor: "custom", Flow: "M2M", Scopes: []string{"stock.read"}, Endpoints: vendor.Endpoints{Token: at + "/oauth/token", API: at}}
		}, "DEPOT_API_BASE", []turn{
			{"Tell me the stock of bolts", false, "There are 1200 bolts."},
			{"Tell me the stock of wheels", false, "The depot knows no wheels."},
		}, ""},
		{"python-agent", "feishu", providerName, feishuSettings, "FEISHU_API_BASE", []turn{
			{askZhangsan, true, "It begins: "},
			{askZhangsanSecond, false, "It begins: "},
		}, ""},
		{"agent-to-agent", "feishu", providerName, feishuSettings, "FEISHU_API_BASE", []turn{
			{askZhangsan, true, "It begins: "}, // to the other agent reading it
			{askZhangsanSecond, false, "I ask python-agent."},
		}, "python-agent"},
	}
}

// feishuSettings are those of the provider that the tutorial's agent has, too.
func feishuSettings(at string) apiclient.ProviderSettings {
	return apiclient.ProviderSettings{
		Vendor: "feishu", Scopes: providerScopes(),
		Endpoints: vendor.Endpoints{
			Authorization: at + "/open-apis/authen/v1/authorize", Token: at + "/open-apis/authen/v2/oauth/token", UserInfo: at + "/open-apis/authen/v1/user_info", API: at,
		},
	}
}

// ExampleNames returns the names of the examples that [Config.Example] takes.
func ExampleNames() []string {
	var names []string
	for _, e := range examples() {
		names = append(names, e.name)
	}
	return names
}

func findExample(called string) (example, error) {
	all := examples()
	if i := slices.IndexFunc(all, func(e example) bool { return e.name == called }); i >= 0 {
		return all[i], nil
	}
	return example{}, fault.New(fault.NotFound, "example_unknown", "there is no example %q", name.Clip(called, 80)).WithSource("--example").
		WithFix("%s", name.DidYouMean(called, ExampleNames(), "see the directory examples"))
}

// talkName is the client through which people log in to talk to an example, on
// its own page.
const talkName = "talk"

// startExample starts and sets up everything that an example needs: its third party,
// Deputy, users, a credential provider and the agent itself, which has a page of its
// own in place of a chat application.
func (d *demo) startExample(ctx context.Context, e example) (w world, err error) {
	if d.state, err = loadState(d.Data); err != nil {
		return w, err
	}
	u, err := d.urls()
	if err != nil {
		return w, err
	}
	d.told("data is in %s", d.Data)
	if err := d.startParty(ctx, u, e.party); err != nil {
		return w, err
	}
	if err := d.startDeputy(ctx, u); err != nil {
		return w, err
	}
	d.told("creating users, a client and the credential provider %s …", e.provider)
	s := setup{api: d.api, state: d.state, urls: u, examples: d.Examples, told: d.told}
	w, err = s.runExample(ctx, e)
	if err == nil {
		d.told("the agent runs: Launch Successfully")
	}
	return w, err
}

func (s *setup) runExample(ctx context.Context, e example) (world, error) {
	w := world{urls: s.urls}
	pool, err := s.pool(ctx)
	if err != nil {
		return w, err
	}
	w.issuer, w.discovery = pool.Issuer, pool.DiscoveryURL
	if w.subjects, w.fresh, err = s.users(ctx); err != nil {
		return w, err
	}
	w.talk = s.urls.ingress + "/agents/" + workloadPool + "/" + e.name + "/callback"
	if w.clientID, err = s.talkClient(ctx, w.talk); err != nil {
		return w, err
	}
	settings := e.settings(s.urls.sandbox)
	settings.ClientID = appID
	if err := s.put(ctx, e.provider, settings, secret.FromString(s.state.AppSecret)); err != nil {
		return w, err
	}
	values := map[string]string{"OAUTH2_ISSUER_URI": w.issuer, "OAUTH2_CLIENT_ID": w.clientID, e.api: w.sandbox, "ASKED_AGENT": e.asked}
	if e.asked != "" {
		if _, err := s.launch(ctx, e.asked, values); err != nil {
			return w, err
		}
	}
	if w.agent, err = s.launch(ctx, e.name, values); err != nil || e.asked == "" {
		return w, err
	}
	asked, err := s.api.Workload(ctx, workloadPool, e.asked)
	if err == nil && !slices.Contains(asked.Callers, e.name) {
		asked.Callers = append(asked.Callers, e.name)
		_, err = s.api.UpdateWorkload(ctx, workloadPool, e.asked, asked.WorkloadSettings)
	}
	return w, err
}

// talkClient returns the public client of agents' own pages.
func (s *setup) talkClient(ctx context.Context, redirect string) (string, error) {
	settings := apiclient.ClientSettings{Name: talkName, Type: "public", RedirectURIs: []string{redirect}, Scopes: []string{"openid", "profile", "email"}}
	found, err := s.api.OAuthClient(ctx, userPool, talkName)
	switch {
	case fault.Is(err, fault.NotFound):
		made, _, err := s.api.CreateOAuthClient(ctx, userPool, settings)
		return made.ID, err
	case err == nil && !slices.Contains(found.RedirectURIs, redirect):
		_, _, err = s.api.ChangeOAuthClient(ctx, userPool, found.ID, apiclient.ClientSettings{RedirectURIs: settings.RedirectURIs})
	}
	return found.ID, err
}

// welcomeExample tells a person what to do now.
func (d *demo) welcomeExample(w world, e example) {
	d.printf("\nEverything runs. Talk to the agent:\n\n  ➜  %s/\n\n  Log in as one of these users of the pool %q:\n\n", w.agent.Endpoint, userPool)
	for _, u := range demoUsers() {
		d.printf("       %-10s password  %s   (%s)\n", u.userName, d.state.Users[u.userName], u.displayName)
	}
	d.printf("\n  Say, as zhangsan:\n\n")
	for _, t := range e.turns {
		d.printf("       %s\n", t.prompt)
	}
	if e.turns[0].asks {
		d.printf("\n  Where it needs your consent it shows a link. The sandbox has the same users, each with the password %q.\n", sandboxPassword)
	}
	d.printf("\n  Service endpoint    %s\n  Sandbox             %s\n  Audit log           %s audit list --follow --url %s --data %s\n  Logs                %s\n\nPress Ctrl-C to stop.\n",
		w.agent.Endpoint, w.sandbox, program(d.Executable), w.identity, filepath.Join(d.Data, "deputy"), filepath.Join(d.Data, "logs"))
}

// definition reads an example's agentkit.yaml with variables filled in. Nothing of
// the environment has a part.
func definition(directory string, values map[string]string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(directory, "agentkit.yaml"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Invalid, "examples_missing", "there is no %s", filepath.Join(directory, "agentkit.yaml")).WithSource("--examples").
			WithFix("name the directory examples of Deputy's source")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "examples_missing", "the sample agent's definition cannot be read").WithSource("--examples")
	}
	expanded, _, err := agent.Expand(text, func(variable string) (string, bool) {
		value, ok := values[variable]
		return value, ok
	})
	return expanded, err
}

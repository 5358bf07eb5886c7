package peers_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/secret"
)

// TestMCPProvider makes a credential provider of an MCP server that the official SDK runs,
// and tries it out as operators do: the tokens of the pool open it.
func TestMCPProvider(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	s := node(t, "mcp-server.mjs", w.issuer())
	address := s.hear(t).Ready
	token, err := os.ReadFile(filepath.Join(w.Dir, "operator.token"))
	w.must(err)
	api, err := apiclient.New(apiclient.Config{URL: w.URL, Token: secret.FromString(strings.TrimSpace(string(token)))})
	w.must(err)
	_, err = api.UpdateUserPool(t.Context(), pool, nil, map[string]any{"dynamicRegistration": true, "openScopes": []string{"notes.read", "notes.write"}, "openAudiences": []string{address}})
	w.must(err)
	_, initial, err := api.CreateInitialToken(t.Context(), pool, "", 1, time.Hour)
	w.must(err)

	made, err := api.CreateProvider(t.Context(), "default", "notes", apiclient.ProviderSettings{MCPServer: address, InitialAccessToken: initial}, secret.Text{})
	w.must(err)
	if made.MCP == nil || made.MCP.Resource != address || made.MCP.Client != "registered" || made.Issuer != w.issuer() || !slices.Contains(made.Scopes, "notes.read") {
		t.Fatalf("made %+v with %+v", made, made.MCP)
	}
	trial, err := api.TestProvider(t.Context(), "default", "notes")
	w.must(err)
	w.person().visit(trial.URL)
	trial, err = api.ProviderTest(t.Context(), "default", "notes", trial.ID, 20*time.Second)
	w.must(err)
	passed := []string{}
	for _, step := range trial.Steps {
		if step.Outcome == "passed" {
			passed = append(passed, step.Step)
		}
	}
	if want := []string{"discovery", "endpoints", "client", "authorization", "consent", "exchange", "refresh", "request"}; !trial.Works || !slices.Equal(passed, want) {
		t.Errorf("passed %q: %+v", passed, trial.Steps)
	}
}

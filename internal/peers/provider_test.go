package peers_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
)

// provider starts somebody else's OpenID provider and returns its issuer. It
// has one client, "deputy", with that secret and callback.
type provider func(t testing.TB, clientSecret, callback string) (issuer string)

func providers() map[string]provider {
	return map[string]provider{
		"oidc-provider": func(t testing.TB, clientSecret, callback string) string {
			return node(t, "provider.mjs", clientSecret, callback).hear(t).Ready
		},
		"dex": func(t testing.TB, clientSecret, callback string) string {
			dir := testdata(t, "dex")
			program := filepath.Join(dir, "dex")
			if _, err := os.Stat(program); err != nil {
				missing(t, "Dex is not built; run: go build -C internal/peers/testdata/dex -o dex .")
			}
			return begin(t, dir, program, "-secret", clientSecret, "-callback", callback).hear(t).Ready
		},
	}
}

// TestProvidersAnswer: the peers that a pool may log people in at are there, and
// can do what Deputy asks of an external provider.
func TestProvidersAnswer(t *testing.T) {
	for what, start := range providers() {
		t.Run(what, func(t *testing.T) {
			found, err := oidc.NewProvider(t.Context(), start(t, "secret", redirectURI))
			if err != nil {
				t.Fatal(err)
			}
			var says struct {
				Challenges []string `json:"code_challenge_methods_supported"`
				Scopes     []string `json:"scopes_supported"`
			}
			if err := found.Claims(&says); err != nil || !slices.Contains(says.Challenges, "S256") || !slices.Contains(says.Scopes, "openid") {
				t.Errorf("%+v %v", says, err)
			}
		})
	}
}

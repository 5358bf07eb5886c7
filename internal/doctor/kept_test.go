package doctor_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/doctor"
	"github.com/deputy-id/deputy/internal/secret"
)

// TestKeysAndGrants looks at a service that answers about these only.
func TestKeysAndGrants(t *testing.T) {
	for what, c := range map[string]struct {
		keys, grants string
		want         []string // findings of the two areas, but for their fixes
	}{
		"all is well": {
			`{"items":[{"pool":"default","version":1,"createdAt":"2026-11-01T09:00:00Z","newest":true,"records":3,"root":"local:1"}]}`, `{"items":[]}`,
			[]string{"ok one root key wraps all data keys", "ok no grant waits"},
		},
		"in the midst": {
			`{"items":[{"pool":"default","version":1,"createdAt":"2026-11-01T09:00:00Z","newest":false,"records":3,"root":"local:1","formerRoot":true},` +
				`{"pool":"default","version":2,"createdAt":"2026-11-01T09:00:00Z","newest":true,"records":1,"root":"transit:v:8200/transit/keys/d#2"},` +
				`{"pool":"p","version":1,"createdAt":"2026-11-01T09:00:00Z","newest":true,"records":1,"formerRoot":true}]}`,
			`{"items":[{"id":"g1","provider":"feishu","state":"reauthorize"},{"id":"g2","provider":"github","state":"reauthorize"},{"id":"g3","provider":"feishu","state":"reauthorize"}]}`,
			[]string{"warning 1 data keys do not say", "warning 1 data keys are wrapped by local:1, which is not", "note 3 records are sealed with former", "warning grants of default wait for their users to authorize again: feishu (2), github (1)"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
			for path, body := range map[string]string{
				"/api/v1/data-keys": c.keys, "/api/v1/workload-pools": `{"items":[{"name":"default","createdAt":"2026-11-01T09:00:00Z"}]}`, "/api/v1/workload-pools/default/grants": c.grants,
			} {
				mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(path, "grants") && r.URL.Query().Get("state") != "reauthorize" {
						t.Errorf("asked for grants with %s", r.URL.RawQuery)
					}
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(body))
				})
			}
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			client, err := apiclient.New(apiclient.Config{URL: server.URL, Token: secret.FromString("x")})
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			err = doctor.Service{URL: server.URL, API: client, Now: time.Now}.Examine(t.Context(), func(f doctor.Finding) error {
				if f.Area == "keys" || f.Area == "grants" {
					found = append(found, string(f.State)+" "+f.Text)
				}
				return nil
			})
			if err != nil || len(found) != len(c.want) {
				t.Fatalf("found %q, %v", found, err)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(found[i], want) {
					t.Errorf("found %q, want %q", found[i], want)
				}
			}
		})
	}
}

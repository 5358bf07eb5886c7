package rest_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/api/rest"
)

// document is what the test looks at of /openapi.json.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Security    []map[string][]string
		Parameters  []struct{ Name, In string }
		RequestBody *struct{ Required bool }
		Responses   map[string]struct{ Content map[string]any }
	}
	Components struct {
		Schemas         map[string]any
		SecuritySchemes map[string]any
	}
}

var parameter = regexp.MustCompile(`\{([a-z]+)\}`)

// TestTheDocumentIsTheAPI asks for every operation that is documented, without a
// token: all are there, and none is open.
func TestTheDocumentIsTheAPI(t *testing.T) {
	mux := http.NewServeMux()
	api := &rest.API{PublicURL: "https://id.example", Version: "test"}
	api.Logger = slog.New(slog.DiscardHandler)
	api.Mount(mux)
	answer := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}")))
		return w
	}
	shown := answer("GET", "/openapi.json")
	var d document
	if err := json.Unmarshal(shown.Body.Bytes(), &d); err != nil || shown.Header().Get("Content-Type") != "application/json" || d.OpenAPI != "3.1.0" {
		t.Fatalf("%d %s, %v", shown.Code, shown.Header(), err)
	}
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for method, o := range item {
			if o.OperationID == "" || ids[o.OperationID] {
				t.Errorf("%s %s: operation id %q", method, path, o.OperationID)
			}
			ids[o.OperationID] = true
			if len(o.Security) == 0 || o.Responses["default"].Content["application/problem+json"] == nil || len(o.Responses) != 2 {
				t.Errorf("%s: security %v, %d responses", o.OperationID, o.Security, len(o.Responses))
			}
			for _, s := range o.Security {
				for scheme := range s {
					if d.Components.SecuritySchemes[scheme] == nil {
						t.Errorf("%s: the security scheme %q is not described", o.OperationID, scheme)
					}
				}
			}
			for _, m := range parameter.FindAllStringSubmatch(path, -1) {
				if !strings.Contains(jsonOf(t, o.Parameters), `"Name":"`+m[1]+`"`) {
					t.Errorf("%s: the parameter %s is not described", o.OperationID, m[1])
				}
			}
			got := answer(strings.ToUpper(method), "/api/v1"+parameter.ReplaceAllString(path, "x"))
			if got.Code != http.StatusUnauthorized || !strings.Contains(got.Body.String(), `"token_missing"`) || got.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s without a token: %d %s", o.OperationID, got.Code, got.Body)
			}
		}
		if got := answer("BREW", "/api/v1"+parameter.ReplaceAllString(path, "x")); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") == "" {
			t.Errorf("BREW %s: %d, Allow %q", path, got.Code, got.Header().Get("Allow"))
		}
	}
	if len(ids) < 40 {
		t.Errorf("only %d operations", len(ids))
	}
	// Every reference leads somewhere.
	for _, m := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(shown.Body.String(), -1) {
		if d.Components.Schemas[m[1]] == nil {
			t.Errorf("the schema %s is not there", m[1])
		}
	}
	for name := range d.Components.Schemas {
		if !regexp.MustCompile(`^[A-Z][A-Za-z]*$`).MatchString(name) {
			t.Errorf("a schema is called %q", name)
		}
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

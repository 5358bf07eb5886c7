package deputy_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	deputy "github.com/deputy-id/deputy/sdk"
)

func rawJSON(s string) json.RawMessage { return json.RawMessage(s) }

// startAgent serves an agent on loopback and returns its address.
func startAgent(t testing.TB, a *deputy.Agent) string {
	t.Helper()
	a.Log = slog.New(slog.DiscardHandler)
	srv := httptest.NewServer(handler(t, a))
	t.Cleanup(srv.Close)
	return srv.URL
}

// prompt sends a prompt and returns the whole stream.
func prompt(t testing.TB, base string, wat deputy.Secret, text string) string {
	body, _ := json.Marshal(map[string]string{"prompt": text})
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/invoke", strings.NewReader(string(body)))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("WorkloadAccessToken", wat.Reveal())
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

package ingress_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/ingress"
)

// FuzzPaths asks for any path: what is not in the agent's definition is not
// reached, however it is written.
func FuzzPaths(f *testing.F) {
	for _, path := range []string{"/agents/default/doc/invoke", "/agents/default/doc/mcp", "/agents/default/doc/.well-known/agent-card.json",
		"/.well-known/oauth-protected-resource/agents/default/doc", "/agents/default/doc/../doc/invoke", "/agents/default%2fdoc/invoke", "//", "/agents/default/doc/invoke%00"} {
		f.Add("POST", path)
	}
	w := newWorld(f, func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.RequestURI != "/invoke" {
			f.Errorf("reached: %s %s", r.Method, r.RequestURI)
		}
	}, func(c *ingress.Config) { c.Limits.Rate, c.Limits.Burst = 1<<30, 1<<30 })
	h, token := ingress.New(w.config), "Bearer "+w.good()
	f.Fuzz(func(t *testing.T, method, path string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://ingress.test"+path, http.NoBody)
		if err != nil {
			return // no request that could come over the wire
		}
		r.Header.Set("Authorization", token)
		out := httptest.NewRecorder()
		h.ServeHTTP(out, r)
		if out.Code == http.StatusInternalServerError {
			t.Errorf("%s %q: %s", method, path, out.Body)
		}
	})
}

// FuzzHandshake offers any subprotocols: nobody comes in without a token, and no
// part of one is in the log.
func FuzzHandshake(f *testing.F) {
	f.Add("base64UrlBearerAuthorization.YWJj, base64UrlBearerAuthorization")
	f.Add("chat,,base64UrlBearerAuthorization.,base64UrlBearerAuthorization.%")
	w := newWorld(f, func(http.ResponseWriter, *http.Request) { f.Error("reached") }, func(c *ingress.Config) { c.Limits.Rate, c.Limits.Burst = 1<<30, 1<<30 })
	w.fleet.paths = agent.Paths{agent.WebSocket: "/ws"}
	h := ingress.New(w.config)
	f.Fuzz(func(t *testing.T, protocols string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/agents/default/doc/ws", http.NoBody)
		r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {protocols}}
		out := httptest.NewRecorder()
		h.ServeHTTP(out, r)
		if out.Code != http.StatusUnauthorized {
			t.Errorf("%q: %d", protocols, out.Code)
		}
	})
}

// FuzzCard has an agent answer anything for its card: what comes out leads
// through the ingress, or it is no card.
func FuzzCard(f *testing.F) {
	f.Add(`{"url":"http://127.0.0.1:1/","additionalInterfaces":[{"url":"http://127.0.0.1:1/x"}]}`)
	f.Add(`{"supportedInterfaces":[{"url":"http://127.0.0.1:1/","protocolBinding":"JSONRPC"}],"capabilities":[]}`)
	f.Add(`{"supportedInterfaces":null,"capabilities":{"extendedAgentCard":1},"url":7}`)
	f.Add(`{"URL":"http://127.0.0.1:1/","supportedInterfaces":[{"url":"x","URL":"http://127.0.0.1:1/","protocolBinding":"JSONRPC"}]}`)
	card := ""
	w := newWorld(f, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(card)) }, func(c *ingress.Config) { c.Limits.Rate, c.Limits.Burst = 1<<30, 1<<30 })
	w.fleet.paths = agent.Paths{agent.A2A: "/"}
	h, token := ingress.New(w.config), "Bearer "+w.good()
	f.Fuzz(func(t *testing.T, text string) {
		card = text
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/agents/default/doc/.well-known/agent-card.json", http.NoBody)
		r.Header.Set("Authorization", token)
		out := httptest.NewRecorder()
		h.ServeHTTP(out, r)
		if out.Code == http.StatusBadGateway {
			return
		}
		var got struct {
			URL                 string
			SupportedInterfaces []struct{ URL, ProtocolBinding string }
		}
		if err := json.Unmarshal(out.Body.Bytes(), &got); out.Code != http.StatusOK || err != nil {
			t.Fatalf("%d %v %s", out.Code, err, out.Body)
		}
		const own = publicURL + "/agents/default/doc/a2a"
		for _, way := range got.SupportedInterfaces {
			if way.URL != own {
				t.Errorf("an interface at %s", way.URL)
			}
		}
		if len(got.SupportedInterfaces) == 0 && got.URL != own || strings.Contains(out.Body.String(), `"additionalInterfaces"`) && !strings.Contains(text, `\`) {
			t.Errorf("it leads elsewhere: %s", out.Body)
		}
	})
}

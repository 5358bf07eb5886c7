package ingress_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/ingress"
)

// speaking returns a world whose agent speaks as paths says.
func speaking(t testing.TB, paths agent.Paths, handler http.HandlerFunc, change func(*ingress.Config)) *world {
	w := newWorld(t, handler, change)
	w.fleet.paths = paths
	return w
}

// do sends a request to what of the agent is at path.
func (w *world) do(method, path, body string, headers ...string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.ingress.URL+"/agents/default/doc/"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header[k] = append(req.Header[k], v)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { res.Body.Close() })
	return res
}

func (w *world) as(subject string) string {
	w.t.Helper()
	return "Authorization: Bearer " + w.token("at+jwt", map[string]any{"sub": subject})
}

func TestOnlyWhatIsNamedIsReached(t *testing.T) {
	reached := make(chan string, 1)
	handler := func(rw http.ResponseWriter, r *http.Request) { reached <- r.Method + " " + r.RequestURI }
	all := agent.Paths{agent.Invoke: "/run", agent.A2A: "/rpc", agent.MCP: "/tools/mcp", agent.WebSocket: "/live"}
	for what, c := range map[string]struct {
		paths        agent.Paths
		method, path string
		want         string // "" = 404 protocol_not_offered
	}{
		"invoke, as usual":   {nil, "POST", "invoke", "POST /invoke"},
		"no mcp, as usual":   {nil, "POST", "mcp", ""},
		"no a2a, as usual":   {nil, "POST", "a2a", ""},
		"no card, as usual":  {nil, "GET", ".well-known/agent-card.json", ""},
		"no ws, as usual":    {nil, "GET", "ws", ""},
		"invoke elsewhere":   {all, "POST", "invoke", "POST /run"},
		"messages":           {all, "POST", "a2a", "POST /rpc"},
		"a session's stream": {all, "GET", "mcp", "GET /tools/mcp"},
		"a session's end":    {all, "DELETE", "mcp", "DELETE /tools/mcp"},
		"a call":             {all, "POST", "mcp?token=in-query", "POST /tools/mcp"},
		"no invoke":          {agent.Paths{agent.MCP: "/mcp"}, "POST", "invoke", ""},
	} {
		t.Run(what, func(t *testing.T) {
			w := speaking(t, c.paths, handler, nil)
			res := w.do(c.method, c.path, "", "Authorization: Bearer "+w.good())
			select {
			case got := <-reached:
				if got != c.want {
					t.Errorf("reached %s", got)
				}
			default:
				if f := readFailure(t, res); c.want != "" || res.StatusCode != 404 || f.Error.Code != "protocol_not_offered" {
					t.Errorf("%d %+v", res.StatusCode, f)
				}
			}
		})
	}
	w := speaking(t, all, handler, nil)
	for path, status := range map[string]int{"": 404, "run": 404, "rpc": 404, "mcp/x": 404, "live": 404, "a2a/": 404, ".well-known/agent.json": 404, ".well-known/": 404, "tools/mcp": 404} {
		if res := w.do("POST", path, "{}", "Authorization: Bearer "+w.good()); res.StatusCode != status {
			t.Errorf("%q: %d", path, res.StatusCode)
		}
	}
	for what, want := range map[string]string{"PUT mcp": "GET, POST, DELETE", "GET a2a": "POST", "POST ws": "GET", "POST .well-known/agent-card.json": "GET", "DELETE invoke": "POST"} {
		method, path, _ := strings.Cut(what, " ")
		if res := w.do(method, path, "", "Authorization: Bearer "+w.good()); res.StatusCode != 405 || res.Header.Get("Allow") != want {
			t.Errorf("%s: %d %s", what, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	// A stranger does not learn what the agent speaks.
	if res := w.do("POST", "mcp", ""); res.StatusCode != 401 {
		t.Errorf("a stranger: %d", res.StatusCode)
	}
}

// sessions is an MCP server as far as sessions go: it takes their names for
// proof enough.
func sessions(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Mcp-Session-Id", "s-1")
	if id := r.Header["Mcp-Session-Id"]; len(id) > 0 {
		rw.Header().Set("X-Seen", strings.Join(id, ","))
	}
	rw.Header().Set("X-Event", r.Header.Get("Last-Event-Id")+r.Header.Get("Mcp-Protocol-Version"))
}

func TestSessionsAreTheirOwnersOnly(t *testing.T) {
	w := speaking(t, agent.Paths{agent.MCP: "/mcp"}, sessions, nil)
	w.fleet.inbound.APIKeys, w.fleet.inbound.Open = true, true
	for key, k := range map[string]agent.Key{
		ownKey: {ID: "agk_1", Pool: doc.Pool, Agent: doc.Name}, "dak_of-another-program": {ID: "agk_9", Pool: doc.Pool, Agent: doc.Name},
	} {
		w.keys.add(key, k)
	}
	callers := []string{w.as("usr_li"), w.as("usr_zhang"), "Authorization: Bearer " + ownKey, "Authorization: Bearer dak_of-another-program", "X-Nobody: true"}
	ids := map[string]bool{}
	for i, owner := range callers {
		res := w.do("POST", "mcp", `{"method":"initialize"}`, owner)
		id := res.Header.Get("Mcp-Session-Id")
		if res.StatusCode != 200 || id == "" || id == "s-1" || ids[id] {
			t.Fatalf("caller %d: %d %q", i, res.StatusCode, id)
		}
		ids[id] = true
		for j, caller := range callers {
			for _, method := range []string{"POST", "GET", "DELETE"} {
				res := w.do(method, "mcp", "", caller, "Mcp-Session-Id: "+id, "Last-Event-Id: 7", "Mcp-Protocol-Version: v")
				if i == j {
					if res.StatusCode != 200 || res.Header.Get("X-Seen") != "s-1" || res.Header.Get("Mcp-Session-Id") != id || res.Header.Get("X-Event") != "7v" {
						t.Errorf("its owner: %d %v", res.StatusCode, res.Header)
					}
					continue
				}
				if f := readFailure(t, res); res.StatusCode != 404 || f.Error.Code != "session_not_found" {
					t.Errorf("caller %d with the session of %d: %d %+v", j, i, res.StatusCode, f)
				}
				if d, _ := w.recorder.last(t); d.Allowed || d.Code != "session_not_found" || d.Protocol != agent.MCP {
					t.Errorf("recorded %+v", d)
				}
			}
		}
		_, name, _ := strings.Cut(id, ".")
		for _, forged := range []string{"s-1", "." + name, id + "x", "x" + id, strings.ToUpper(id), "", strings.Repeat("x", 600), id + "é"} {
			if res := w.do("GET", "mcp", "", owner, "Mcp-Session-Id: "+forged); res.StatusCode != 404 {
				t.Errorf("%q: %d", forged, res.StatusCode)
			}
		}
		if res := w.do("GET", "mcp", "", owner, "Mcp-Session-Id: "+id, "Mcp-Session-Id: "+id); res.StatusCode != 404 {
			t.Errorf("two: %d", res.StatusCode)
		}
	}
	// Another ingress has other names for them.
	other := speaking(t, agent.Paths{agent.MCP: "/mcp"}, sessions, nil)
	for id := range ids {
		if res := other.do("GET", "mcp", "", other.as("usr_li"), "Mcp-Session-Id: "+id); res.StatusCode != 404 {
			t.Errorf("elsewhere: %d", res.StatusCode)
		}
	}
}

func TestSessionsThatCannotBePassedOn(t *testing.T) {
	for what, ids := range map[string][]string{"two": {"a", "b"}, "long": {strings.Repeat("x", 513)}, "with a space": {"a b"}} {
		w := speaking(t, agent.Paths{agent.MCP: "/mcp"}, func(rw http.ResponseWriter, _ *http.Request) { rw.Header()["Mcp-Session-Id"] = ids }, nil)
		if res := w.do("POST", "mcp", "{}", "Authorization: Bearer "+w.good()); res.StatusCode != 502 || res.Header.Get("Mcp-Session-Id") != "" || readFailure(t, res).Error.Code != "session_malformed" {
			t.Errorf("%s: %d %v", what, res.StatusCode, res.Header)
		}
	}
}

func TestTheAgentCardLeadsThroughTheIngress(t *testing.T) {
	const own = publicURL + "/agents/default/doc/a2a"
	for what, c := range map[string]struct {
		in         agent.Inbound
		card, want string // "" = not a card
	}{
		"0.3": {agent.Inbound{DiscoveryURL: "set", RequiredScopes: []string{"chat"}, APIKeys: true},
			`{"protocolVersion":"0.3.0","name":"doc","url":"http://127.0.0.1:4711/","preferredTransport":"GRPC","additionalInterfaces":[{"url":"http://127.0.0.1:4711/grpc","transport":"GRPC"}],` +
				`"signatures":[{}],"supportsAuthenticatedExtendedCard":true,"security":[],"securitySchemes":{"mine":{}},"skills":[{"id":"s","n":1.50}]}`,
			`{"name":"doc","preferredTransport":"JSONRPC","protocolVersion":"0.3.0","security":[{"deputy_token":["chat"]},{"deputy_key":[]}],` +
				`"securitySchemes":{"deputy_key":{"description":"A key of this agent","scheme":"bearer","type":"http"},"deputy_token":{"openIdConnectUrl":"ISSUER/.well-known/openid-configuration","type":"openIdConnect"}},` +
				`"skills":[{"id":"s","n":1.50}],"url":"` + own + `"}`},
		"1.0": {agent.Inbound{DiscoveryURL: "set", APIKeys: true},
			`{"name":"doc","capabilities":{"extendedAgentCard":true,"streaming":true},"supportedInterfaces":[{"url":"http://x/g","protocolBinding":"GRPC"},{"url":"http://x/","protocolBinding":"JSONRPC","protocolVersion":"1.0","tenant":"t"}]}`,
			`{"capabilities":{"streaming":true},"name":"doc","securityRequirements":[{"schemes":{"deputy_token":{"list":[]}}},{"schemes":{"deputy_key":{"list":[]}}}],` +
				`"securitySchemes":{"deputy_key":{"httpAuthSecurityScheme":{"description":"A key of this agent","scheme":"Bearer"}},"deputy_token":{"openIdConnectSecurityScheme":{"openIdConnectUrl":"ISSUER/.well-known/openid-configuration"}}},` +
				`"supportedInterfaces":[{"protocolBinding":"JSONRPC","protocolVersion":"1.0","tenant":"t","url":"` + own + `"}]}`},
		"open to everybody":        {agent.Inbound{Open: true}, `{"name":"doc"}`, `{"name":"doc","preferredTransport":"JSONRPC","security":[],"securitySchemes":{},"url":"` + own + `"}`},
		"no card":                  {agent.Inbound{Open: true}, `<html>`, ""},
		"an empty one":             {agent.Inbound{Open: true}, `{}`, ""},
		"a list":                   {agent.Inbound{Open: true}, `[]`, ""},
		"another transport only":   {agent.Inbound{Open: true}, `{"supportedInterfaces":[{"url":"http://x","protocolBinding":"GRPC"}]}`, ""},
		"interfaces of no such do": {agent.Inbound{Open: true}, `{"supportedInterfaces":{}}`, ""},
		"too large":                {agent.Inbound{Open: true}, `{"name":"` + strings.Repeat("x", 256<<10) + `"}`, ""},
	} {
		t.Run(what, func(t *testing.T) {
			w := speaking(t, agent.Paths{agent.A2A: "/rpc"}, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/.well-known/agent-card.json" {
					t.Errorf("asked for %s", r.URL)
				}
				rw.Header().Set("ETag", `"of the agent"`)
				io.WriteString(rw, c.card)
			}, nil)
			in, headers := c.in, []string(nil)
			if in.DiscoveryURL != "" {
				in.DiscoveryURL = w.fleet.inbound.DiscoveryURL
				headers = []string{"Authorization: Bearer " + w.token("at+jwt", map[string]any{"scope": "chat"}), "Accept-Encoding: gzip"}
				if res := w.do("GET", ".well-known/agent-card.json", ""); res.StatusCode != 401 {
					t.Errorf("a stranger gets it: %d", res.StatusCode)
				}
			}
			w.fleet.set(func(a *agents) { a.inbound = in })
			res := w.do("GET", ".well-known/agent-card.json", "", headers...)
			if c.want == "" {
				if f := readFailure(t, res); res.StatusCode != 502 || f.Error.Code != "card_malformed" {
					t.Errorf("%d %+v", res.StatusCode, f)
				}
				return
			}
			if got, want := read(t, res), strings.ReplaceAll(c.want, "ISSUER", w.issuer.URL); got != want || res.Header.Get("Etag") != "" || res.Header.Get("Content-Type") != "application/json" {
				t.Errorf("got  %s\nwant %s\n%v", got, want, res.Header)
			}
		})
	}
	w := speaking(t, agent.Paths{agent.A2A: "/rpc"}, func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "none", 404) }, nil)
	if res := w.do("GET", ".well-known/agent-card.json", "", "Authorization: Bearer "+w.good()); res.StatusCode != 404 || read(t, res) != "none\n" {
		t.Errorf("an agent without a card: %d", res.StatusCode)
	}
}

// socket is a connection through the ingress after the handshake.
type socket struct {
	net.Conn
	in  *bufio.Reader
	res *http.Response
}

// dial asks for a WebSocket.
func (w *world) dial(headers ...string) socket {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.ingress.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	request := "GET /agents/default/doc/ws HTTP/1.1\r\nHost: ingress.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		w.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: "GET"})
	if err != nil {
		w.t.Fatal(err)
	}
	return socket{conn, in, res}
}

// parrot is an agent that says who is calling and then repeats each line.
func parrot(rw http.ResponseWriter, r *http.Request) {
	conn, buf, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	said, _ := json.Marshal(r.Header)
	protocol := ""
	if strings.Contains(r.Header.Get("Sec-Websocket-Protocol"), "chat") {
		protocol = "Sec-WebSocket-Protocol: chat\r\n"
	}
	io.WriteString(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: a=b\r\n"+protocol+"\r\n"+string(said)+"\n")
	buf.Flush()
	for {
		line, err := buf.ReadString('\n')
		if err != nil {
			return
		}
		buf.WriteString(line)
		buf.Flush()
	}
}

func TestWebSocket(t *testing.T) {
	w := speaking(t, agent.Paths{agent.WebSocket: "/live"}, parrot, nil)
	asProtocol := func(token string) string {
		return "Sec-WebSocket-Protocol: base64UrlBearerAuthorization." + base64.RawURLEncoding.EncodeToString([]byte(token))
	}
	for what, c := range map[string]struct {
		headers []string
		chosen  string
		offered string // to the agent
	}{
		"by header":                      {[]string{"Authorization: Bearer " + w.good()}, "", ""},
		"by header, with a protocol":     {[]string{"Authorization: Bearer " + w.good(), "Sec-WebSocket-Protocol: chat"}, "chat", "chat"},
		"by protocol":                    {[]string{asProtocol(w.good()) + ", base64UrlBearerAuthorization"}, "base64UrlBearerAuthorization", ""},
		"by protocol, with another":      {[]string{asProtocol(w.good()) + ", base64UrlBearerAuthorization, chat"}, "chat", "chat"},
		"by protocol, padded, two lines": {[]string{"Sec-WebSocket-Protocol: base64UrlBearerAuthorization", asProtocol(w.good()) + "=="}, "base64UrlBearerAuthorization", ""},
	} {
		t.Run(what, func(t *testing.T) {
			s := w.dial(append(c.headers, "User_id: usr_forged", "WorkloadAccessToken: forged")...)
			if s.res.StatusCode != 101 || s.res.Header.Get("Sec-Websocket-Protocol") != c.chosen || s.res.Header.Get("Set-Cookie") != "" {
				t.Fatalf("%d %v", s.res.StatusCode, s.res.Header)
			}
			var header http.Header
			line, err := s.in.ReadString('\n')
			if err != nil || json.Unmarshal([]byte(line), &header) != nil {
				t.Fatalf("%q %v", line, err)
			}
			if got := strings.Join(header["User_id"], ","); got != "usr_li" || header.Get("WorkloadAccessToken") != wat+"/default/doc/usr_li" || header.Get("Authorization") != "" {
				t.Errorf("the agent acts for %s: %v", got, header)
			}
			if got := strings.Join(header["Sec-Websocket-Protocol"], ","); got != c.offered {
				t.Errorf("the agent is offered %q", got)
			}
			for _, said := range []string{"one\n", "two\n"} {
				io.WriteString(s, said)
				if line, err := s.in.ReadString('\n'); err != nil || line != said {
					t.Errorf("%q %v", line, err)
				}
			}
		})
	}
	for what, c := range map[string]struct {
		headers []string
		status  int
		code    string
	}{
		"nothing":               {nil, 401, "token_missing"},
		"a bad token":           {[]string{"Authorization: Bearer nonsense"}, 401, "token_malformed"},
		"a bad one by protocol": {[]string{asProtocol("nonsense")}, 401, "token_malformed"},
		"no base64":             {[]string{"Sec-WebSocket-Protocol: base64UrlBearerAuthorization.%%%"}, 401, "token_malformed"},
		"not even empty":        {[]string{"Sec-WebSocket-Protocol: base64UrlBearerAuthorization."}, 401, "token_malformed"},
		"two by protocol":       {[]string{asProtocol(w.good()), asProtocol(w.good())}, 401, "token_malformed"},
		"both ways":             {[]string{"Authorization: Bearer " + w.good(), asProtocol(w.good())}, 400, "token_ambiguous"},
		"another scheme":        {[]string{"Authorization: Basic eDp5", asProtocol(w.good())}, 401, "token_missing"},
	} {
		s := w.dial(c.headers...)
		if f := readFailure(t, s.res); s.res.StatusCode != c.status || f.Error.Code != c.code {
			t.Errorf("%s: %d %+v", what, s.res.StatusCode, f)
		}
	}
	if res := w.do("GET", "ws", "", "Authorization: Bearer "+w.good()); res.StatusCode != 426 || res.Header.Get("Upgrade") != "websocket" || readFailure(t, res).Error.Code != "websocket_required" {
		t.Errorf("no handshake: %d %v", res.StatusCode, res.Header)
	}
	// A token among the subprotocols is one for WebSockets only.
	if res := w.do("POST", "invoke", "", asProtocol(w.good())); res.StatusCode != 401 {
		t.Errorf("elsewhere: %d", res.StatusCode)
	}
	if s := w.log.String(); strings.Contains(s, "base64Url") || strings.Contains(s, base64.RawURLEncoding.EncodeToString([]byte(w.good()))[:60]) {
		t.Error("the log shows a token")
	}
}

func TestWebSocketsAreBounded(t *testing.T) {
	ends := func(t *testing.T, s socket) {
		t.Helper()
		s.SetReadDeadline(time.Now().Add(30 * time.Second))
		if s.res.StatusCode != 101 {
			t.Fatalf("status %d", s.res.StatusCode)
		}
		if _, err := io.Copy(io.Discard, s.in); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
	}
	t.Run("by silence", func(t *testing.T) {
		w := speaking(t, agent.Paths{agent.WebSocket: "/live"}, parrot, func(c *ingress.Config) { c.Limits.Idle = 50 * time.Millisecond })
		ends(t, w.dial("Authorization: Bearer "+w.good()))
	})
	t.Run("by time", func(t *testing.T) {
		w := speaking(t, agent.Paths{agent.WebSocket: "/live"}, parrot, func(c *ingress.Config) { c.Limits.Timeout = time.Second })
		ends(t, w.dial("Authorization: Bearer "+w.good()))
	})
	t.Run("by number", func(t *testing.T) {
		w := speaking(t, agent.Paths{agent.WebSocket: "/live"}, parrot, func(c *ingress.Config) { c.Limits.MaxPerCaller = 1 })
		first := w.dial(w.as("usr_li"))
		if s := w.dial(w.as("usr_li")); first.res.StatusCode != 101 || s.res.StatusCode != 429 || readFailure(t, s.res).Error.Code != "caller_busy" {
			t.Errorf("%d, then %d", first.res.StatusCode, s.res.StatusCode)
		}
		if s := w.dial(w.as("usr_zhang")); s.res.StatusCode != 101 {
			t.Errorf("another user: %d", s.res.StatusCode)
		}
	})
	t.Run("when the agent ends", func(t *testing.T) {
		w := speaking(t, agent.Paths{agent.WebSocket: "/live"}, switchProtocols, nil)
		ends(t, w.dial("Authorization: Bearer "+w.good()))
	})
}

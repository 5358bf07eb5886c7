package discovery_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// world is a host that answers what a test puts there; {host} stands for its
// address.
type world struct {
	*httptest.Server
	client *discovery.Client
	pages  map[string]string // by path; what is not there is 404
	header http.Header       // of the page at /mcp, which answers 401
	sent   map[string]any    // what was registered
	bearer string
	status int
	answer string // to a registration
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{pages: map[string]string{}, header: http.Header{}, status: http.StatusCreated}
	w.Server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.Close)
	out, err := outbound.New(outbound.Config{Allow: []string{w.Listener.Addr().String()}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	w.client = &discovery.Client{Outbound: out}
	return w
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	page, ok := w.pages[r.URL.Path]
	switch {
	case r.URL.Path == "/mcp" && !ok:
		for _, h := range w.header.Values("WWW-Authenticate") {
			rw.Header().Add("WWW-Authenticate", w.fill(h))
		}
		rw.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/register":
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &w.sent)
		w.bearer = r.Header.Get("Authorization")
		rw.WriteHeader(w.status)
		_, _ = io.WriteString(rw, w.answer)
	case ok:
		_, _ = io.WriteString(rw, w.fill(page))
	default:
		http.NotFound(rw, r)
	}
}

func (w *world) fill(s string) string { return strings.ReplaceAll(s, "{host}", w.URL) }

// says returns metadata of the issuer at a path.
func says(path string) string {
	return `{"issuer":"{host}` + path + `","authorization_endpoint":"{host}/authorize","token_endpoint":"{host}/token","code_challenge_methods_supported":["plain","S256"]}`
}

func TestServer(t *testing.T) {
	for what, c := range map[string]struct{ at, page, code string }{
		"RFC 8414":              {"/.well-known/oauth-authorization-server", says(""), ""},
		"RFC 8414, a path":      {"/.well-known/oauth-authorization-server/a/b", says("/a/b"), ""},
		"OpenID":                {"/.well-known/openid-configuration", says(""), ""},
		"OpenID, a path":        {"/a/b/.well-known/openid-configuration", says("/a/b"), ""},
		"another issuer":        {"/.well-known/openid-configuration", strings.Replace(says(""), "{host}", "https://evil.example", 1), "discovery_invalid"},
		"another path":          {"/.well-known/openid-configuration", says("/a"), "discovery_invalid"},
		"not well-known":        {"/metadata.json", says(""), "discovery_invalid"},
		"no token endpoint":     {"/.well-known/openid-configuration", strings.Replace(says(""), "token_endpoint", "x", 1), "discovery_invalid"},
		"no S256":               {"/.well-known/openid-configuration", strings.Replace(says(""), `,"S256"`, "", 1), "discovery_invalid"},
		"nobody can be sent":    {"/.well-known/openid-configuration", strings.Replace(says(""), "authorization_endpoint", "x", 1), "discovery_invalid"},
		"machines only":         {"/.well-known/openid-configuration", strings.Replace(says(""), `"authorization_endpoint":"{host}/authorize"`, `"grant_types_supported":["client_credentials"]`, 1), ""},
		"a page":                {"/.well-known/openid-configuration", "<html>", "discovery_invalid"},
		"a list":                {"/.well-known/openid-configuration", "[]", "discovery_invalid"},
		"too large":             {"/.well-known/openid-configuration", strings.Repeat(" ", 256<<10) + "{}", "discovery_unreachable"},
		"nothing":               {"/.well-known/openid-configuration", "", "discovery_invalid"},
		"PKCE is not spoken of": {"/.well-known/openid-configuration", strings.Replace(says(""), "code_challenge_methods_supported", "x", 1), ""},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.pages[c.at] = c.page
			s, err := w.client.Server(t.Context(), w.URL+c.at)
			if c.code != "" && !fault.HasCode(err, c.code) || c.code == "" && (err != nil || s.Token != w.URL+"/token") {
				t.Errorf("got %+v, %v; want %q", s, err, c.code)
			}
		})
	}
	w := newWorld(t)
	for _, bad := range []string{"", "x", "ftp://x/", "https://u:p@x/", "https://x/#f", "https://x/?q", strings.Repeat("https://x/", 300)} {
		if _, err := w.client.Server(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := w.client.Server(t.Context(), w.URL+"/.well-known/openid-configuration"); !fault.HasCode(err, "discovery_missing") {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := w.client.Server(t.Context(), "http://127.0.0.1:1/.well-known/openid-configuration"); err == nil || fault.HasCode(err, "discovery_unreachable") {
		t.Errorf("an address that is refused: %v", err)
	}
}

func TestServerOf(t *testing.T) {
	for what, at := range map[string]string{
		"RFC 8414": "/.well-known/oauth-authorization-server/t1", "OpenID, in front": "/.well-known/openid-configuration/t1", "OpenID, behind": "/t1/.well-known/openid-configuration",
	} {
		w := newWorld(t)
		w.pages[at] = says("/t1")
		if s, err := w.client.ServerOf(t.Context(), w.URL+"/t1"); err != nil || s.Issuer != w.URL+"/t1" {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
		if _, err := w.client.ServerOf(t.Context(), w.URL+"/t2"); !fault.HasCode(err, "discovery_missing") {
			t.Errorf("%s: another issuer: %v", what, err)
		}
	}
	w := newWorld(t)
	w.pages["/.well-known/oauth-authorization-server"] = strings.Replace(says(""), `,"S256"`, "", 1)
	if _, err := w.client.ServerOf(t.Context(), w.URL); !fault.HasCode(err, "discovery_invalid") {
		t.Errorf("what is wrong with it is not told: %v", err)
	}
}

func TestResource(t *testing.T) {
	const good = `{"resource":"{host}/mcp","authorization_servers":["{host}"],"scopes_supported":["read"]}`
	for what, c := range map[string]struct {
		pages map[string]string
		told  string
		code  string
	}{
		"well-known":              {map[string]string{"/.well-known/oauth-protected-resource/mcp": good}, "", ""},
		"of the whole host":       {map[string]string{"/.well-known/oauth-protected-resource": strings.Replace(good, "/mcp", "", 1)}, "", ""},
		"where the resource says": {map[string]string{"/elsewhere": good}, `Bearer realm="x", resource_metadata="{host}/elsewhere"`, ""},
		"on another host":         {map[string]string{}, `Bearer resource_metadata="http://evil.example/metadata"`, "discovery_missing"},
		"another resource":        {map[string]string{"/.well-known/oauth-protected-resource/mcp": strings.Replace(good, "/mcp", "/other", 1)}, "", "discovery_invalid"},
		"another host's":          {map[string]string{"/.well-known/oauth-protected-resource/mcp": strings.Replace(good, "{host}/mcp", "https://evil.example/mcp", 1)}, "", "discovery_invalid"},
		"no server":               {map[string]string{"/.well-known/oauth-protected-resource/mcp": `{"resource":"{host}/mcp"}`}, "", "discovery_invalid"},
		"a prefix that is none":   {map[string]string{"/.well-known/oauth-protected-resource/mcp": strings.Replace(good, "/mcp", "/mc", 1)}, "", "discovery_invalid"},
		"none":                    {map[string]string{}, "", "discovery_missing"},
		"nonsense":                {map[string]string{}, `Bearer resource_metadata="::"`, "discovery_missing"},
		// One of several people on a host must not get tokens that are good for all of it.
		"of the host, by somebody else": {map[string]string{"/mcp/elsewhere": strings.Replace(good, "{host}/mcp", "{host}", 1)}, `Bearer resource_metadata="{host}/mcp/elsewhere"`, "discovery_invalid"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.pages = c.pages
			if c.told != "" {
				w.header["Www-Authenticate"] = []string{"Basic", c.told}
			}
			r, err := w.client.Resource(t.Context(), w.URL+"/mcp")
			if c.code != "" && !fault.HasCode(err, c.code) || c.code == "" && (err != nil || len(r.Servers) != 1 || r.Servers[0] != w.URL) {
				t.Errorf("got %+v, %v; want %q", r, err, c.code)
			}
		})
	}
}

func TestRegister(t *testing.T) {
	const mySecret = "registered-SECRET"
	w := newWorld(t)
	server := discovery.Server{Issuer: w.URL, Registration: w.URL + "/register"}
	ask := discovery.Registration{Name: "Deputy", RedirectURI: "https://id.example/cb", AuthMethod: "client_secret_basic", GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: "a b"}
	w.answer = `{"client_id":"c1","client_secret":"` + mySecret + `","client_secret_expires_at":1893456000,"token_endpoint_auth_method":"client_secret_post"}`
	got, err := w.client.Register(t.Context(), server, ask, secret.FromString("initial"))
	if err != nil || got.ClientID != "c1" || got.ClientSecret.RevealString() != mySecret || got.AuthMethod != "client_secret_post" || got.SecretEnds.Year() != 2030 {
		t.Errorf("got %+v, %v", got, err)
	}
	if w.bearer != "Bearer initial" || w.sent["scope"] != "a b" || w.sent["client_name"] != "Deputy" || w.sent["jwks_uri"] != nil {
		t.Errorf("sent %v with %q", w.sent, w.bearer)
	}
	w.answer = `{"client_id":"c2"}`
	ask.AuthMethod = "none"
	if got, err := w.client.Register(t.Context(), server, ask, secret.Text{}); err != nil || got.AuthMethod != "none" || w.bearer != "" || !got.SecretEnds.IsZero() {
		t.Errorf("a public client: %+v, %v", got, err)
	}
	ask.AuthMethod = "client_secret_basic"
	for what, c := range map[string]struct {
		status int
		answer string
	}{
		"without the secret": {201, `{"client_id":"c3"}`}, "without an id": {201, `{}`}, "for members only": {401, `{}`}, "a page": {201, "<html>"},
		"an error": {400, `{"error":"invalid_redirect_uri","error_description":"` + strings.Repeat("no\\n", 200) + `"}`}, "a long id": {201, `{"client_id":"` + strings.Repeat("c", 513) + `","client_secret":"s"}`},
	} {
		w.status, w.answer = c.status, c.answer
		if _, err := w.client.Register(t.Context(), server, ask, secret.Text{}); !fault.HasCode(err, "registration_refused") || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := w.client.Register(t.Context(), discovery.Server{}, ask, secret.Text{}); !fault.HasCode(err, "registration_missing") {
		t.Errorf("a server that does not: %v", err)
	}
}

// TestUnregister deletes what was registered, and nothing at a host that only an
// answer names.
func TestUnregister(t *testing.T) {
	w := newWorld(t)
	server := discovery.Server{Issuer: w.URL, Registration: w.URL + "/register"}
	ask := discovery.Registration{Name: "Deputy", RedirectURI: "https://id.example/cb", AuthMethod: "none"}
	for answer, want := range map[string]string{
		`"registration_client_uri":"{host}/register","registration_access_token":"manage-SECRET"`:              w.URL + "/register",
		`"registration_client_uri":"https://evil.example/c","registration_access_token":"manage-SECRET"`:       "",
		`"registration_client_uri":"{host}/` + strings.Repeat("c", 2000) + `","registration_access_token":"t"`: "",
	} {
		w.status, w.answer = http.StatusCreated, w.fill(`{"client_id":"c1",`+answer+`}`)
		got, err := w.client.Register(t.Context(), server, ask, secret.Text{})
		if err != nil || got.URI != want || got.Token.Empty() != (want == "") {
			t.Errorf("%s: got %+v, %v", answer, got, err)
		}
	}
	for status, kind := range map[int]fault.Kind{http.StatusNoContent: 0, http.StatusUnauthorized: fault.Upstream, http.StatusFound: fault.Upstream, http.StatusBadGateway: fault.Unavailable} {
		w.status, w.answer = status, ""
		err := w.client.Unregister(t.Context(), w.URL+"/register", secret.FromString("manage-SECRET"))
		if kind == 0 && err != nil || kind != 0 && !fault.Is(err, kind) || w.bearer != "Bearer manage-SECRET" {
			t.Errorf("%d: %v with %q", status, err, w.bearer)
		}
	}
	for what, answer := range map[string]string{"another redirect URI": `"redirect_uris":["https://id.example/cb","https://evil.example/cb"]`, "another way to prove itself": `"token_endpoint_auth_method":"tls_client_auth"`} {
		w.status, w.answer = http.StatusCreated, `{"client_id":"c1",`+answer+`}`
		if _, err := w.client.Register(t.Context(), server, ask, secret.Text{}); !fault.HasCode(err, "registration_refused") {
			t.Errorf("%s: %v", what, err)
		}
	}
	server.Registration = "https://evil.example/register"
	if _, err := w.client.Register(t.Context(), server, ask, secret.Text{}); !fault.HasCode(err, "discovery_invalid") {
		t.Errorf("on another host: %v", err)
	}
}

// TestChallenges: however a resource puts it, where its metadata is and what it
// wants is read.
func TestChallenges(t *testing.T) {
	const meta = `resource_metadata="{host}/elsewhere"`
	for header, asked := range map[string]string{
		`Bearer ` + meta + `, scope="a b"`:                                  "a b",
		`bearer scope = "a b" , ` + meta:                                    "a b",
		`Basic realm="x, Bearer scope=\"no\"", Bearer ` + meta + `,scope=a`: "a",
		`Bearer ` + meta + `, scope="a\ b", Digest scope="no"`:              "a b",
		`Bearer ` + meta + `, scope="a", scope="b"`:                         "a",
		`Bearer ` + meta + `, error="insufficient_scope", scope="never`:     "",
		`Negotiate abc==, Bearer ` + meta:                                   "",
	} {
		w := newWorld(t)
		w.pages = map[string]string{"/elsewhere": `{"resource":"{host}/mcp","authorization_servers":["{host}"]}`}
		w.header["Www-Authenticate"] = []string{header}
		if r, err := w.client.Resource(t.Context(), w.URL+"/mcp"); err != nil || r.Asked != asked {
			t.Errorf("%s: %+v, %v", header, r, err)
		}
	}
}

// FuzzDocuments: whatever a host answers, nothing breaks, and what counts is of
// that host.
func FuzzDocuments(f *testing.F) {
	f.Add(says(""), `{"resource":"{host}/mcp","authorization_servers":["{host}"]}`, `Bearer resource_metadata="{host}/elsewhere"`)
	f.Add("[]", "null", "Bearer resource_metadata=")
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, server, resource, told string) {
		w.pages = map[string]string{"/.well-known/oauth-authorization-server": server, "/.well-known/oauth-protected-resource/mcp": resource, "/elsewhere": resource}
		w.header = http.Header{}
		if !strings.ContainsAny(told, "\r\n\x00") {
			w.header["Www-Authenticate"] = []string{told}
		}
		if s, err := w.client.ServerOf(t.Context(), w.URL); err == nil && strings.TrimSuffix(s.Issuer, "/") != w.URL {
			t.Errorf("the issuer is %q", s.Issuer)
		}
		if r, err := w.client.Resource(t.Context(), w.URL+"/mcp"); err == nil && !strings.HasPrefix(r.Resource, w.URL) {
			t.Errorf("the resource is %q", r.Resource)
		}
	})
}

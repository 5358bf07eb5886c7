package rest_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/name"
)

// hostile is one request that must not work, and its exact answer.
type hostile struct {
	what         string
	method, path string // below /api/v1
	token        string // "" sends none
	body         string
	status       int
	code, source string
	detail       string // a part of it
}

// TestHostileRequests sends requests that are wrong in one way each, and then
// makes sure that nothing came of them.
func TestHostileRequests(t *testing.T) {
	w := newWorld(t)
	rows := append(append(w.hostileCallers(), w.hostileBodies()...), append(w.hostileTargets(), w.hostileSettings()...)...)
	if len(rows) < 75 {
		t.Errorf("only %d rows", len(rows))
	}
	before := w.shape()
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			h := http.Header{}
			if row.token != "" {
				h.Set("Authorization", "Bearer "+row.token)
			}
			if row.body != "" {
				h.Set("Content-Type", "application/json")
			}
			checkProblem(t, w.send(row.method, "/api/v1"+row.path, row.body, h), row)
		})
	}
	if diff := cmp.Diff(before, w.shape()); diff != "" {
		t.Errorf("something came of it:\n%s", diff)
	}
	for _, s := range []string{w.operator, w.agent, w.launch, appSecret, password, "stolen"} {
		if strings.Contains(w.log.String(), s) {
			t.Errorf("the log shows %q:\n%s", s, w.log)
		}
	}
}

// checkProblem wants exactly the problem (RFC 9457) that row says.
func checkProblem(t *testing.T, got answer, row hostile) {
	t.Helper()
	var p struct {
		Type, Title, Detail, Code, Fix, Source string
		RequestID                              string `json:"requestId"`
		Status                                 int
	}
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatalf("%d %s: %v", got.status, got.body, err)
	}
	if got.status != row.status || p.Code != row.code || p.Source != row.source || !strings.Contains(p.Detail, row.detail) {
		t.Errorf("got %d %q from %q, want %d %q from %q:\n%s", got.status, p.Code, p.Source, row.status, row.code, row.source, got.body)
	}
	if p.Type != "urn:deputy:error:"+p.Code || p.Title != http.StatusText(got.status) || p.Status != got.status || p.Detail == "" || p.RequestID != "req_test" {
		t.Errorf("the problem is not complete: %s", got.body)
	}
	h := got.header
	if h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", h)
	}
	challenge := h.Get("WWW-Authenticate")
	switch {
	case row.status != http.StatusUnauthorized && challenge != "":
		t.Errorf("a challenge comes with status %d: %s", row.status, challenge)
	case row.status == http.StatusUnauthorized && row.code == "token_missing" && challenge != `Bearer realm="deputy"`,
		row.status == http.StatusUnauthorized && row.code != "token_missing" && challenge != `Bearer realm="deputy", error="invalid_token", error_description="`+row.code+`"`:
		t.Errorf("the challenge is %s", challenge)
	}
	if (row.status == http.StatusMethodNotAllowed) != (h.Get("Allow") != "") {
		t.Errorf("Allow: %q with status %d", h.Get("Allow"), row.status)
	}
	if len(got.body) > 2000 {
		t.Errorf("the answer echoes too much: %d bytes", len(got.body))
	}
}

// shape is all that an operator can list.
func (w *world) shape() map[string]string {
	all := map[string]string{}
	for _, path := range []string{"/user-pools", "/user-pools/people/users", "/user-pools/people/clients", "/workload-pools", "/workload-pools/default/workloads",
		"/workload-pools/default/providers", "/workload-pools/default/grants", "/workload-pools/default/agents"} {
		all[path] = w.call("GET", path, w.operator, "").body
	}
	return all
}

func (w *world) hostileCallers() []hostile {
	w.create("/workload-pools/default/workloads", `{"name":"gone"}`, nil)
	gone := w.tokenFor(name.Workload{Pool: "default", Name: "gone"}, zhang)
	w.expect(204, "DELETE", "/workload-pools/default/workloads/gone", "", nil)
	self := w.tokenFor(docAgent, name.User{})
	return []hostile{
		{"no token", "GET", "/whoami", "", "", 401, "token_missing", "", ""},
		{"no token to create", "POST", "/user-pools", "", `{"name":"stolen"}`, 401, "token_missing", "", ""},
		{"no token and no such thing", "GET", "/user-pools/nobody", "", "", 401, "token_missing", "", ""},
		{"token in the address", "GET", "/whoami?access_token=" + w.operator, "", "", 401, "token_missing", "", ""},
		{"nonsense", "GET", "/whoami", "stolen", "", 401, "token_malformed", "", ""},
		{"another operator's", "GET", "/user-pools", "dop_stolen", "", 401, "operator_token_unknown", "", ""},
		{"an operator's in capitals", "GET", "/user-pools", strings.ToUpper(w.operator), "", 401, "operator_token_unknown", "", ""},
		{"half an operator's", "GET", "/user-pools", w.operator[:20], "", 401, "operator_token_unknown", "", ""},
		{"agent administers", "POST", "/user-pools", w.agent, `{"name":"stolen"}`, 403, "operator_needed", "", ""},
		{"agent reads the audit log", "GET", "/audit", w.agent, "", 403, "operator_needed", "", ""},
		{"agent follows the audit log", "GET", "/audit/stream", w.agent, "", 403, "operator_needed", "", ""},
		{"operator uses a credential", "POST", "/credentials", w.operator, `{"provider":"feishu"}`, 403, "workload_token_needed", "", ""},
		{"operator reads an authorization", "GET", "/authorizations/auth_x", w.operator, "", 403, "workload_token_needed", "", ""},
		{"launch token uses a credential", "POST", "/credentials", w.launch, `{"provider":"feishu"}`, 401, "token_type", "", ""},
		{"launch token administers", "GET", "/user-pools", w.launch, "", 401, "operator_token_unknown", "", ""},
		{"agent mints", "POST", "/workload-tokens", w.agent, "{}", 401, "proof_unknown", "", ""},
		{"operator mints", "POST", "/workload-tokens", w.operator, "{}", 401, "proof_unknown", "", ""},
		{"launch mints for a user's token", "POST", "/workload-tokens", w.launch, `{"userToken":"stolen"}`, 403, "user_tokens_not_taken", "userToken", ""},
		{"launch mints for a user's id", "POST", "/workload-tokens", w.launch, `{"user":{"issuer":"` + zhang.Issuer + `","subject":"usr_zhang"}}`, 403, "user_not_assertable", "user", ""},
		{"launch mints for half a user", "POST", "/workload-tokens", w.launch, `{"user":{"issuer":"","subject":"usr_zhang"}}`, 400, "user_invalid", "user", ""},
		{"agent calls whom it may not", "POST", "/call-tokens", w.agent, `{"agent":"doc"}`, 403, "caller_not_allowed", "", ""},
		{"agent calls another pool's", "POST", "/call-tokens", w.agent, `{"agent":"other/doc"}`, 400, "name_invalid", "", ""},
		{"launch token calls", "POST", "/call-tokens", w.launch, `{"agent":"doc"}`, 401, "token_type", "", ""},
		{"agent for nobody", "POST", "/credentials", self, `{"provider":"feishu"}`, 403, "user_required", "", ""},
		{"agent that is gone", "POST", "/credentials", gone, `{"provider":"feishu"}`, 401, "workload_gone", "", ""},
	}
}

func (w *world) hostileBodies() []hostile {
	post := func(what, body string, status int, code, detail string) hostile {
		return hostile{what, "POST", "/user-pools/people/users", w.operator, body, status, code, "", detail}
	}
	return []hostile{
		post("no body", "", 400, "json_invalid", "empty"),
		post("blanks", " \n", 400, "json_invalid", "empty"),
		post("not JSON", "userName=stolen", 400, "json_invalid", "malformed at byte 1"),
		post("cut off", `{"userName":"stolen"`, 400, "json_invalid", "malformed"),
		post("two documents", `{"userName":"stolen"}{}`, 400, "json_invalid", ""),
		post("array", `[{"userName":"stolen"}]`, 400, "json_invalid", "an object"),
		post("unknown field", `{"userName":"stolen","admin":true}`, 400, "json_unknown_field", `"admin"`),
		post("an id of one's own", `{"id":"usr_1","userName":"stolen"}`, 400, "json_unknown_field", `"id"`),
		post("a hash of one's own", `{"userName":"stolen","passwordHash":"$argon2id$x"}`, 400, "json_unknown_field", `"passwordHash"`),
		post("field twice", `{"userName":"stolen","userName":"x"}`, 400, "json_invalid", "twice"),
		post("field in other letters", `{"UserName":"stolen"}`, 400, "json_invalid", `"userName"`),
		post("number for a name", `{"userName":7}`, 400, "json_invalid", "userName"),
		post("object for a password", `{"userName":"stolen","password":{}}`, 400, "json_invalid", "password"),
		post("bad UTF-8", "{\"userName\":\"stolen\xff\"}", 400, "json_invalid", "UTF-8"),
		post("deep", `{"userName":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000)+`}`, 400, "json_invalid", "levels"),
		post("giant", `{"userName":"`+strings.Repeat("x", 64<<10)+`"}`, 413, "json_too_large", "65536"),
		post("giant of blanks", strings.Repeat(" ", 64<<10)+`{}`, 413, "json_too_large", "65536"),
		post("empty password", `{"userName":"stolen","password":""}`, 400, "password_length", ""),
		post("two passwords", `{"userName":"stolen","password":"`+password+`","temporaryPassword":"`+password+`"}`, 400, "password_invalid", ""),
		post("short password", `{"userName":"stolen","password":"1234567"}`, 400, "password_length", ""),
		post("giant password", `{"userName":"stolen","password":"`+strings.Repeat("x", 5000)+`"}`, 400, "password_length", ""),
		post("no name", `{"password":"`+password+`"}`, 400, "name_invalid", ""),
		post("markup for a name", `{"userName":"<script>","password":"`+password+`"}`, 400, "name_invalid", ""),
		post("a way out for a name", `{"userName":"../x","password":"`+password+`"}`, 400, "name_invalid", ""),
	}
}

func (w *world) hostileTargets() []hostile {
	get := func(what, path string, status int, code, source string) hostile {
		return hostile{what, "GET", path, w.operator, "", status, code, source, ""}
	}
	as := func(what, method, path string, status int, code string) hostile {
		return hostile{what, method, path, w.operator, "", status, code, "", ""}
	}
	return []hostile{
		get("unknown endpoint", "/nothing", 404, "endpoint_not_found", ""),
		get("unknown endpoint, giant", "/"+strings.Repeat("x", 9000), 404, "endpoint_not_found", ""),
		get("slash at the end", "/user-pools/people/", 404, "endpoint_not_found", ""),
		get("other letters", "/User-Pools", 404, "endpoint_not_found", ""),
		get("encoded slash", "/user-pools%2Fpeople", 404, "endpoint_not_found", ""),
		get("unknown user pool", "/user-pools/nobody", 404, "userpool_not_found", ""),
		get("a way out", "/user-pools/%2e%2e%2fpeople", 404, "userpool_not_found", ""),
		get("NUL", "/user-pools/%00", 404, "userpool_not_found", ""),
		get("bad UTF-8", "/user-pools/%ff", 404, "userpool_not_found", ""),
		get("SQL", "/user-pools/'%20OR%201=1--", 404, "userpool_not_found", ""),
		get("giant name", "/user-pools/"+strings.Repeat("x", 9000), 404, "userpool_not_found", ""),
		get("unknown pool's users", "/user-pools/nobody/users", 404, "userpool_not_found", ""),
		get("unknown pool's clients", "/user-pools/nobody/clients", 404, "userpool_not_found", ""),
		get("unknown user", "/user-pools/people/users/usr_x", 404, "user_not_found", ""),
		get("unknown client", "/user-pools/people/clients/cli_x", 404, "client_not_found", ""),
		get("unknown workload pool", "/workload-pools/nobody", 404, "workload_pool_not_found", ""),
		get("unknown pool's workloads", "/workload-pools/nobody/workloads", 404, "workload_pool_not_found", ""),
		get("unknown pool's providers", "/workload-pools/nobody/providers", 404, "workload_pool_not_found", ""),
		get("unknown pool's grants", "/workload-pools/nobody/grants", 404, "workload_pool_not_found", ""),
		get("unknown pool's agents", "/workload-pools/nobody/agents", 404, "workload_pool_not_found", ""),
		get("unknown workload", "/workload-pools/default/workloads/dox", 404, "workload_not_found", ""),
		get("unknown provider", "/workload-pools/default/providers/feishoo", 404, "provider_not_found", ""),
		get("unknown agent", "/workload-pools/default/agents/doc", 404, "agent_not_found", ""),
		get("unknown agent's log", "/workload-pools/default/agents/doc/logs", 404, "agent_not_found", ""),
		get("negative lines", "/workload-pools/default/agents/doc/logs?lines=-1", 400, "parameter_invalid", "lines"),
		get("limit of words", "/user-pools/people/users?limit=many", 400, "parameter_invalid", "limit"),
		get("limit too high", "/workload-pools/default/grants?limit=501", 400, "parameter_invalid", "limit"),
		get("place before the first", "/audit?after=-1", 400, "parameter_invalid", "after"),
		get("place without number", "/audit?after=", 400, "parameter_invalid", "after"),
		get("outcome that is none", "/audit?outcome=denied", 400, "parameter_invalid", "outcome"),
		get("neither true nor false", "/audit?newest=perhaps", 400, "parameter_invalid", "newest"),
		get("unknown parameter", "/whoami?verbose=1", 400, "parameter_unknown", ""),
		get("parameter twice", "/audit?after=1&after=2", 400, "parameter_unknown", ""),
		get("parameter of another endpoint", "/audit/stream?newest=true", 400, "parameter_unknown", ""),
		get("broken encoding", "/audit?action=%zz", 400, "parameter_invalid", ""),
		get("semicolons", "/audit?after=1;limit=2", 400, "parameter_invalid", ""),
		as("unknown method", "PATCH", "/user-pools", 405, "method_not_allowed"),
		as("method of another path", "DELETE", "/user-pools", 405, "method_not_allowed"),
		as("invented method", "BREW", "/whoami", 405, "method_not_allowed"),
		as("preflight", "OPTIONS", "/credentials", 405, "method_not_allowed"),
		as("reading what is written", "GET", "/credentials", 405, "method_not_allowed"),
		as("deleting nobody", "DELETE", "/user-pools/people/users/usr_x", 404, "user_not_found"),
		as("deleting no workload", "DELETE", "/workload-pools/default/workloads/x", 404, "workload_not_found"),
		as("deleting no provider", "DELETE", "/workload-pools/default/providers/x", 404, "provider_not_found"),
		as("deleting no grant", "DELETE", "/workload-pools/default/grants/grt_x", 404, "grant_not_found"),
		as("stopping no agent", "POST", "/workload-pools/default/agents/x/stop", 404, "agent_not_found"),
		{"authorization that is none", "GET", "/authorizations/auth_x", w.agent, "", 404, "authorization_not_found", "", ""},
		{"events of none", "GET", "/authorizations/auth_x/events", w.agent, "", 404, "authorization_not_found", "", ""},
		{"waiting too long", "GET", "/authorizations/auth_x?wait=61s", w.agent, "", 400, "parameter_invalid", "wait", ""},
		{"waiting backwards", "GET", "/authorizations/auth_x?wait=-1s", w.agent, "", 400, "parameter_invalid", "wait", ""},
		{"waiting without unit", "GET", "/authorizations/auth_x?wait=25", w.agent, "", 400, "parameter_invalid", "wait", ""},
	}
}

func (w *world) hostileSettings() []hostile {
	post := func(what, path, body string, status int, code, source string) hostile {
		return hostile{what, "POST", path, w.operator, body, status, code, source, ""}
	}
	const clients, providers, agents = "/user-pools/people/clients", "/workload-pools/default/providers", "/workload-pools/default/agents"
	deploy := func(what, directory string, code, source string) hostile {
		return post(what, agents, `{"directory":"`+directory+`"}`, 400, code, source)
	}
	empty, pipe, big := w.t.TempDir(), w.t.TempDir(), w.t.TempDir()
	const file = "agentkit.yaml"
	must(w.t, syscall.Mkfifo(filepath.Join(pipe, file), 0o600))
	must(w.t, os.WriteFile(filepath.Join(big, file), make([]byte, 64<<10+1), 0o600))
	return []hostile{
		post("user pool with a slash", "/user-pools", `{"name":"a/b"}`, 400, "name_invalid", ""),
		post("user pool there is", "/user-pools", `{"name":"people"}`, 409, "userpool_exists", ""),
		post("workload pool there is", "/workload-pools", `{"name":"default"}`, 409, "workload_pool_exists", ""),
		post("workload there is", "/workload-pools/default/workloads", `{"name":"doc"}`, 409, "workload_exists", ""),
		post("workload in no pool", "/workload-pools/nobody/workloads", `{"name":"doc"}`, 404, "workload_pool_not_found", ""),
		post("user in no pool", "/user-pools/nobody/users", `{"userName":"x","password":"`+password+`"}`, 404, "userpool_not_found", ""),
		post("client of no type", clients, `{"name":"x","type":"native","redirectUris":["https://c.example/"]}`, 400, "client_type_invalid", ""),
		post("client without a way back", clients, `{"name":"x","redirectUris":[]}`, 400, "redirect_uri_invalid", ""),
		post("client with a fragment", clients, `{"name":"x","redirectUris":["https://c.example/#x"]}`, 400, "redirect_uri_invalid", ""),
		post("client with a script", clients, `{"name":"x","redirectUris":["javascript:alert(1)"]}`, 400, "redirect_uri_invalid", ""),
		post("client in the clear", clients, `{"name":"x","redirectUris":["http://c.example/"]}`, 400, "redirect_uri_invalid", ""),
		post("secret of no client", clients+"/cli_x/secret", "", 404, "client_not_found", ""),
		post("provider there is", providers, `{"name":"feishu","vendor":"feishu","clientId":"c","clientSecret":"stolen"}`, 409, "provider_exists", ""),
		post("provider of no vendor", providers, `{"name":"x","vendor":"feishoo","clientId":"c","clientSecret":"stolen"}`, 400, "vendor_unknown", ""),
		post("provider without secret", providers, `{"name":"x","vendor":"feishu","clientId":"c"}`, 400, "client_secret_missing", "clientSecret"),
		post("provider with another's callback", providers, `{"name":"x","vendor":"feishu","clientId":"c","clientSecret":"stolen","callbackUrl":"https://evil.example/"}`, 400, "callback_url_wrong", "callbackUrl"),
		post("provider with a file for an endpoint", providers, `{"name":"x","vendor":"feishu","clientId":"c","clientSecret":"stolen","endpoints":{"token":"file:///etc/passwd"}}`, 400, "vendor_endpoint_invalid", "endpoints.token"),
		{"provider renamed", "PUT", providers + "/feishu", w.operator, `{"name":"x","vendor":"feishu","clientId":"c"}`, 400, "json_unknown_field", "", `"name"`},
		deploy("agent from nowhere", "", "agent_directory", "directory"),
		deploy("agent from beside the server", "../agents", "agent_directory", "directory"),
		deploy("agent without definition", empty, "definition_unreadable", filepath.Join(empty, file)),
		deploy("agent whose definition is a pipe", pipe, "definition_unreadable", filepath.Join(pipe, file)),
		deploy("agent whose definition is giant", big, "definition_unreadable", filepath.Join(big, file)),
		post("credential from none", "/credentials", `{}`, 403, "workload_token_needed", ""),
	}
}

// TestHostileHeaders are requests whose headers are wrong.
func TestHostileHeaders(t *testing.T) {
	w := newWorld(t)
	good, body := "Bearer "+w.operator, `{"name":"stolen"}`
	for _, c := range []struct {
		what   string
		header http.Header
		status int
		code   string
	}{
		{"two tokens", http.Header{"Authorization": {good, good}}, 401, "token_malformed"},
		{"two tokens in one", http.Header{"Authorization": {good + ", " + good}}, 401, "token_malformed"},
		{"another scheme", http.Header{"Authorization": {"Basic " + w.operator}}, 401, "token_malformed"},
		{"no scheme", http.Header{"Authorization": {w.operator}}, 401, "token_malformed"},
		{"scheme without token", http.Header{"Authorization": {"Bearer "}}, 401, "token_malformed"},
		{"token in a cookie", http.Header{"Cookie": {"Authorization=" + w.operator}}, 401, "token_missing"},
		{"token in another header", http.Header{"X-Authorization": {good}, "Workloadaccesstoken": {w.operator}}, 401, "token_missing"},
		{"form", http.Header{"Authorization": {good}, "Content-Type": {"application/x-www-form-urlencoded"}}, 415, "content_type_unsupported"},
		{"text", http.Header{"Authorization": {good}, "Content-Type": {"text/plain; charset=utf-8"}}, 415, "content_type_unsupported"},
		{"nearly JSON", http.Header{"Authorization": {good}, "Content-Type": {"application/json-patch+json"}}, 415, "content_type_unsupported"},
		{"types of two minds", http.Header{"Authorization": {good}, "Content-Type": {"application/json", "text/plain"}}, 415, "content_type_unsupported"},
		{"packed body", http.Header{"Authorization": {good}, "Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, 415, "content_encoding_unsupported"},
	} {
		t.Run(c.what, func(t *testing.T) {
			checkProblem(t, w.send("POST", "/api/v1/user-pools", body, c.header), hostile{status: c.status, code: c.code})
		})
	}
	if got := w.call("GET", "/user-pools", w.operator, ""); strings.Contains(got.body, "stolen") {
		t.Errorf("something came of it: %s", got.body)
	}
}

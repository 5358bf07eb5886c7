package ingress_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
)

func TestTokensThatAreNotLetIn(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { t.Error("the agent was reached") }, nil)
	stranger, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := jwt.Sign(stranger, "at+jwt", map[string]any{"iss": w.issuer.URL, "aud": "cli_web", "client_id": "cli_web", "sub": "usr_li", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	good := w.good()
	part := strings.Split(good, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	with := func(change map[string]any) []string {
		return []string{"Authorization: Bearer " + w.token("at+jwt", change)}
	}
	bearer := func(token string) []string { return []string{"Authorization: Bearer " + token} }
	for what, c := range map[string]struct {
		headers []string
		status  int
		code    string
	}{
		"no token":                  {nil, 401, "token_missing"},
		"an empty header":           {[]string{"Authorization: "}, 401, "token_missing"},
		"only the scheme":           {[]string{"Authorization: Bearer"}, 401, "token_malformed"},
		"another scheme":            {[]string{"Authorization: Basic dXNlcjpwYXNz"}, 401, "token_missing"},
		"the token without scheme":  {[]string{"Authorization: " + good}, 401, "token_missing"},
		"two headers":               {[]string{"Authorization: Bearer " + good, "Authorization: Bearer " + good}, 400, "token_ambiguous"},
		"two tokens in one":         {bearer(good + ", Bearer " + good), 401, "token_malformed"},
		"the token as a cookie":     {[]string{"Cookie: access_token=" + good}, 401, "token_missing"},
		"underscore header":         {[]string{"HTTP_AUTHORIZATION: Bearer " + good}, 401, "token_missing"},
		"the workload's own header": {[]string{"WorkloadAccessToken: " + good}, 401, "token_missing"},
		"not a JWT":                 {bearer("abc"), 401, "token_malformed"},
		"huge":                      {bearer(strings.Repeat("a", 20<<10)), 401, "token_malformed"},
		"five parts":                {bearer("a.b.c.d.e"), 401, "token_malformed"},
		"alg none":                  {bearer(encode(`{"alg":"none","typ":"at+jwt"}`) + "." + part[1] + "."), 401, "token_algorithm"},
		"alg HS256":                 {bearer(encode(`{"alg":"HS256","typ":"at+jwt"}`) + "." + part[1] + "." + part[2]), 401, "token_algorithm"},
		"no signature":              {bearer(part[0] + "." + part[1] + "."), 401, ""},
		"changed claims":            {bearer(part[0] + "." + encode(`{"sub":"usr_zhang"}`) + "." + part[2]), 401, "token_signature"},
		"a stranger's key":          {bearer(forged), 401, "token_unknown_key"},
		"expired":                   {with(map[string]any{"exp": at(-61 * time.Second)}), 401, "token_expired"},
		"no expiry":                 {with(map[string]any{"exp": nil}), 401, "token_malformed"},
		"not yet valid":             {with(map[string]any{"nbf": at(2 * time.Minute)}), 401, "token_not_yet_valid"},
		"issued in the future":      {with(map[string]any{"iat": at(2 * time.Minute)}), 401, "token_not_yet_valid"},
		"wrong issuer":              {with(map[string]any{"iss": "https://evil.example"}), 401, "token_issuer"},
		"quotes in the issuer":      {with(map[string]any{"iss": "\"\r\nSet-Cookie: a=b"}), 401, "token_issuer"},
		"wrong audience":            {with(map[string]any{"aud": "https://other.example"}), 401, "token_audience"},
		"audience of a neighbour":   {with(map[string]any{"aud": publicURL + "/agents/default/other"}), 401, "token_audience"},
		"no audience":               {with(map[string]any{"aud": nil}), 401, "token_audience"},
		"wrong client":              {with(map[string]any{"client_id": "cli_other", "aud": []string{"cli_other", "cli_web"}}), 403, "client_not_allowed"},
		"client of other case":      {with(map[string]any{"client_id": "CLI_WEB"}), 403, "client_not_allowed"},
		"no client":                 {with(map[string]any{"client_id": nil}), 403, "client_not_allowed"},
		"wrong azp":                 {with(map[string]any{"client_id": nil, "azp": "cli_other"}), 403, "client_not_allowed"},
		"no subject":                {with(map[string]any{"sub": nil}), 401, "token_subject"},
		"a subject with a line":     {with(map[string]any{"sub": "usr\r\nuser_id: usr_zhang"}), 401, "token_subject"},
		"a subject with a space":    {with(map[string]any{"sub": "usr_li "}), 401, "token_subject"},
		"a subject in Chinese":      {with(map[string]any{"sub": "张三"}), 401, "token_subject"},
		"a long subject":            {with(map[string]any{"sub": strings.Repeat("x", 256)}), 401, "token_subject"},
		"a subject of wrong type":   {with(map[string]any{"sub": 1}), 401, "token_malformed"},
		"an ID token":               {bearer(w.token("JWT", map[string]any{"nonce": "n"})), 401, "token_type"},
		"a logout token":            {bearer(w.token("JWT", map[string]any{"events": map[string]any{}})), 401, "token_type"},
		"a WAT":                     {bearer(w.token("wat+jwt", nil)), 401, "token_type"},
		"a launch token":            {bearer(w.token("launch+jwt", nil)), 401, "token_type"},
	} {
		t.Run(what, func(t *testing.T) {
			res := w.post(`{"prompt":"x"}`, c.headers...)
			f := readFailure(t, res)
			if res.StatusCode != c.status || (c.code != "" && f.Error.Code != c.code) {
				t.Errorf("got %d %+v, want %d %s", res.StatusCode, f.Error, c.status, c.code)
			}
			typ := map[int]string{400: "BadRequest", 401: "Unauthorized", 403: "Forbidden"}[c.status]
			if f.Error.Type != typ || strings.HasPrefix(f.Error.Message, "Consumer authentication failed: ") != (c.status == 401) {
				t.Errorf("body %+v", f.Error)
			}
			if got, want := res.Header.Get("WWW-Authenticate"), challenge(c.status, f.Error.Code); !want.MatchString(got) {
				t.Errorf("challenge %s, want %s", got, want)
			}
			if res.Header.Get("Set-Cookie") != "" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("header %v", res.Header)
			}
			if d, id := w.recorder.last(t); d.Allowed || d.Workload != doc || d.Code != f.Error.Code || d.Reason == "" || id != res.Header.Get("X-Request-Id") {
				t.Errorf("recorded %+v (%s)", d, id)
			}
		})
	}
	if s := w.log.String(); strings.Contains(s, part[2]) || strings.Contains(s, part[1]) {
		t.Error("a token is in the log")
	}
}

// challenge is what WWW-Authenticate looks like for a refusal.
func challenge(status int, code string) *regexp.Regexp {
	const about = `resource_metadata="` + publicURL + `/\.well-known/oauth-protected-resource/agents/default/doc"$`
	switch {
	case status == 403:
		return regexp.MustCompile("^$")
	case code == "token_missing":
		return regexp.MustCompile(`^Bearer realm="deputy", ` + about)
	case status == 400:
		return regexp.MustCompile(`^Bearer realm="deputy", error="invalid_request", error_description="[^"\\\\]*", ` + about)
	default:
		return regexp.MustCompile(`^Bearer realm="deputy", error="invalid_token", error_description="[^"\\\\]*", ` + about)
	}
}

func TestTokensThatAreLetIn(t *testing.T) {
	w := newWorld(t, echo, nil)
	for what, token := range map[string]string{
		"an access token":       w.good(),
		"of type JWT":           w.token("JWT", nil),
		"azp instead of client": w.token("at+jwt", map[string]any{"client_id": nil, "azp": "cli_web"}),
		"for this agent":        w.token("at+jwt", map[string]any{"aud": []string{"x", publicURL + invoke[:len(invoke)-len("/invoke")]}}),
		"a clock that is late":  w.token("at+jwt", map[string]any{"exp": time.Now().Add(-30 * time.Second).Unix()}),
	} {
		res := w.post(`{"prompt":"x"}`, "Authorization: bearer  "+token)
		e := readEcho(t, res)
		if e.Header.Get("user_id") != "usr_li" || e.Header.Get("WorkloadAccessToken") != wat+"/default/doc/usr_li" {
			t.Errorf("%s: %v", what, e.Header)
		}
		d, id := w.recorder.last(t)
		if !d.Allowed || d.User.Subject != "usr_li" || d.User.Issuer != w.issuer.URL || d.Client != "cli_web" || id != e.Header.Get("X-Request-Id") {
			t.Errorf("%s: recorded %+v (%s)", what, d, id)
		}
	}
	w.fleet.set(func(a *agents) { a.inbound.AllowedClients = nil })
	readEcho(t, w.post("{}", "Authorization: Bearer "+w.token("at+jwt", map[string]any{"client_id": "anyone", "aud": nil})))
}

// Whatever a client says about itself, in whatever spelling, the agent sees only
// what the ingress says.
func TestSmuggledHeaders(t *testing.T) {
	w := newWorld(t, echo, nil)
	const evil = "usr_zhang"
	var smuggled []string
	for _, header := range []string{"user_id", "x-user-id", "WorkloadAccessToken", "Workload-Access-Token", "X-Amz-Security-Token", "X-Amzn-Oidc-Data",
		"X-Ve-Tip-Token", "X-Deputy-User", "X-Deputy", "Forwarded", "X-Forwarded-For", "X-Forwarded-User", "X-Real-Ip", "Cookie", "X-Request-Id", "Remote-User",
		"Proxy-Authorization", "X-Auth-Request-User"} {
		dashed, scored := strings.ReplaceAll(header, "_", "-"), strings.ReplaceAll(header, "-", "_")
		for _, spelling := range []string{header, dashed, scored, strings.ToLower(dashed), strings.ToUpper(dashed), strings.ToLower(scored), strings.ToUpper(scored),
			strings.ReplaceAll(dashed, "-", "."), strings.ReplaceAll(scored, "_", "~"), "_" + scored, dashed + "-"} {
			smuggled = append(smuggled, spelling+": "+evil)
		}
	}
	request := "POST " + invoke + " HTTP/1.1\r\nHost: ingress.test\r\nAuthorization: Bearer " + w.good() + "\r\n" + strings.Join(smuggled, "\r\n") +
		"\r\nConnection: user_id, WorkloadAccessToken, X-Request-Id\r\nX-Version: 7\r\nTraceparent: 00-abc\r\nContent-Type: application/json\r\n" +
		"session_id: chat_1\r\nTransfer-Encoding: chunked\r\nTrailer: user_id, WorkloadAccessToken\r\n\r\n2\r\n{}\r\n0\r\nuser_id: " + evil + "\r\nWorkloadAccessToken: " + evil + "\r\n\r\n"
	e := readEcho(t, w.raw(request))
	if strings.Contains(fmt.Sprint(e.Header, e.Trailer), evil) {
		t.Errorf("smuggled: %v %v", e.Header, e.Trailer)
	}
	for header, want := range map[string]string{"User_id": "usr_li", "Session_id": "chat_1", "Workloadaccesstoken": wat + "/default/doc/usr_li",
		"X-Version": "7", "Traceparent": "00-abc", "Content-Type": "application/json", "Authorization": "", "Content-Length": "2"} {
		if got := strings.Join(e.Header[header], ","); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if e.Body != "{}" || e.Host == "ingress.test" {
		t.Errorf("body %q, host %q", e.Body, e.Host)
	}
	if !strings.HasPrefix(e.Header.Get("X-Request-Id"), "req_") {
		t.Errorf("request id %q", e.Header.Get("X-Request-Id"))
	}
}

func TestSessionIDs(t *testing.T) {
	w := newWorld(t, echo, nil)
	for what, c := range map[string]struct {
		headers []string
		want    string
	}{
		"none":          {nil, ""},
		"good":          {[]string{"session_id: a-B_9"}, "a-B_9"},
		"by other name": {[]string{"X-Session-Id: a"}, "a"},
		"longest":       {[]string{"session_id: " + strings.Repeat("x", 128)}, strings.Repeat("x", 128)},
		"too long":      {[]string{"session_id: " + strings.Repeat("x", 129)}, ""},
		"bad letters":   {[]string{"session_id: ../../etc"}, ""},
		"two":           {[]string{"session_id: a", "session_id: b"}, ""},
	} {
		e := readEcho(t, w.post("{}", append(c.headers, "Authorization: Bearer "+w.good())...))
		if got := strings.Join(e.Header["Session_id"], ","); got != c.want {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestHostileRequests(t *testing.T) {
	reached := make(chan string, 100)
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { reached <- r.RequestURI; echo(rw, r) }, nil)
	auth := "Authorization: Bearer " + w.good() + "\r\n"
	head := func(line string) string { return line + " HTTP/1.1\r\nHost: ingress.test\r\n" + auth }
	empty := "Content-Length: 2\r\n\r\n{}"
	for what, c := range map[string]struct {
		request string
		status  int
		code    string // "" = the server answers before us
	}{
		"the good one":          {head("POST "+invoke) + empty, 200, ""},
		"absolute form":         {head("POST http://evil.example"+invoke) + empty, 200, ""},
		"a query":               {head("POST "+invoke+"?access_token=secret-in-query") + empty, 200, ""},
		"upgrade":               {head("POST "+invoke) + "Connection: Upgrade\r\nUpgrade: websocket\r\n" + empty, 200, ""},
		"GET":                   {head("GET "+invoke) + "\r\n", 405, "method_not_allowed"},
		"TRACE":                 {head("TRACE "+invoke) + "\r\n", 405, "method_not_allowed"},
		"OPTIONS":               {head("OPTIONS "+invoke) + "\r\n", 405, "method_not_allowed"},
		"PUT":                   {head("PUT "+invoke) + empty, 405, "method_not_allowed"},
		"an invented method":    {head("INVOKE "+invoke) + "\r\n", 405, "method_not_allowed"},
		"CONNECT":               {"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n" + auth + "\r\n", 404, "route_not_found"},
		"POST to ping":          {head("POST /agents/default/doc/ping") + empty, 405, "method_not_allowed"},
		"the root":              {head("GET /") + "\r\n", 404, "route_not_found"},
		"a slash at the end":    {head("POST "+invoke+"/") + empty, 404, "route_not_found"},
		"double slash":          {head("POST /agents//doc/invoke") + empty, 404, "route_not_found"},
		"dots":                  {head("POST /agents/default/../invoke") + empty, 404, "route_not_found"},
		"dots out":              {head("POST /agents/default/doc/../../../etc/passwd") + empty, 404, "route_not_found"},
		"encoded slash":         {head("POST /agents/default%2Fdoc/x/invoke") + empty, 404, "route_not_found"},
		"encoded dots":          {head("POST /agents/default/%2e%2e/invoke") + empty, 404, "route_not_found"},
		"encoded letter":        {head("POST /agents/default/d%6Fc/invoke") + empty, 404, "route_not_found"},
		"NUL":                   {head("POST /agents/default/doc%00/invoke") + empty, 404, "route_not_found"},
		"another route":         {head("POST /agents/default/doc/health") + empty, 404, "route_not_found"},
		"a long name":           {head("POST /agents/default/"+strings.Repeat("a", 64)+"/invoke") + empty, 404, "route_not_found"},
		"another agent":         {head("POST /agents/default/nobody/invoke") + empty, 404, "agent_not_found"},
		"another pool":          {head("POST /agents/other/doc/invoke") + empty, 404, "agent_not_found"},
		"other case":            {head("POST /agents/default/DOC/invoke") + empty, 404, "agent_not_found"},
		"nobody, no token":      {"POST /agents/default/nobody/invoke HTTP/1.1\r\nHost: x\r\n" + empty, 401, "token_missing"},
		"ping of nobody":        {head("GET /agents/default/nobody/ping") + "\r\n", 404, "agent_not_found"},
		"said too large":        {head("POST "+invoke) + "Content-Length: 1048577\r\n\r\n", 413, "body_too_large"},
		"too large in chunks":   {head("POST "+invoke) + "Transfer-Encoding: chunked\r\n\r\n100001\r\n" + strings.Repeat("x", 1<<20+1) + "\r\n0\r\n\r\n", 413, "body_too_large"},
		"a broken chunk":        {head("POST "+invoke) + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "body_unreadable"},
		"length and chunks":     {head("POST "+invoke) + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, ""},
		"two lengths":           {head("POST "+invoke) + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, ""},
		"a space before colon":  {head("POST "+invoke) + "user_id : x\r\n" + empty, 400, ""},
		"a folded header":       {head("POST "+invoke) + "X-A: b\r\n user_id: x\r\n" + empty, 0, ""},
		"a control in a header": {head("POST "+invoke) + "X-A: b\x01\r\n" + empty, 400, ""},
		"no host":               {"POST " + invoke + " HTTP/1.1\r\n" + auth + empty, 400, ""},
	} {
		t.Run(what, func(t *testing.T) {
			res := w.raw(c.request)
			if c.status != 0 && res.StatusCode != c.status {
				t.Errorf("status %d, want %d: %s", res.StatusCode, c.status, read(t, res))
			}
			if c.code != "" {
				if f := readFailure(t, res); f.Error.Code != c.code || strings.Contains(f.Error.Message, "did you mean") {
					t.Errorf("got %+v, want %s", f.Error, c.code)
				}
			}
			select {
			case uri := <-reached:
				if c.code != "" || res.StatusCode >= 400 || uri != "/invoke" {
					t.Errorf("the agent was reached with %q", uri)
				}
			default:
				if res.StatusCode == 200 {
					t.Error("the agent was not reached")
				}
			}
		})
	}
	if s := w.log.String(); strings.Contains(s, "secret-in-query") || strings.Contains(s, "Bearer") || strings.Contains(s, w.good()[:40]) {
		t.Error("the access log shows queries or tokens")
	}
	readEcho(t, w.raw(head("POST "+invoke)+empty)) // and still it works
}

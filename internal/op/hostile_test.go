package op_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// TestHostileAuthorize: what is shown is shown on a page and leads nowhere;
// what is redirected goes to the registered address alone.
func TestHostileAuthorize(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	for what, c := range map[string]struct {
		target string
		status int    // of a page, or
		code   string // on the page, or as the redirect's error
	}{
		"no client":               {w.ask("staff", "client_id", ""), 400, "client_id_missing"},
		"unknown client":          {w.ask("staff", "client_id", "cli_x"), 400, "client_unknown"},
		"client of another pool":  {w.ask("staff", "client_id", "cli_chat_guests"), 400, "client_unknown"},
		"no redirect_uri":         {w.ask("staff", "redirect_uri", ""), 400, "redirect_uri_missing"},
		"foreign redirect_uri":    {w.ask("staff", "redirect_uri", "https://evil.example/"), 400, "redirect_uri_mismatch"},
		"longer redirect_uri":     {w.ask("staff", "redirect_uri", callbackURL+"/x"), 400, "redirect_uri_mismatch"},
		"redirect_uri with query": {w.ask("staff", "redirect_uri", callbackURL+"?x"), 400, "redirect_uri_mismatch"},
		"redirect_uri, case":      {w.ask("staff", "redirect_uri", strings.ToUpper(callbackURL)), 400, "redirect_uri_mismatch"},
		"redirect_uri, port":      {w.ask("staff", "redirect_uri", "http://127.0.0.1:8083/callback"), 400, "redirect_uri_mismatch"},
		"redirect_uri, user":      {w.ask("staff", "redirect_uri", "http://127.0.0.1:8082@evil.example/callback"), 400, "redirect_uri_mismatch"},
		"script as redirect_uri":  {w.ask("staff", "redirect_uri", "javascript:alert(1)"), 400, "redirect_uri_mismatch"},
		"markup in client_id":     {w.ask("staff", "client_id", `"><script>alert(1)</script>`), 400, "client_unknown"},
		"client_id twice":         {w.ask("staff") + "&client_id=cli_x", 400, "form_parameter_repeated"},
		"redirect_uri twice":      {w.ask("staff") + "&redirect_uri=https://evil.example/", 400, "form_parameter_repeated"},
		"broken encoding":         {w.ask("staff") + "&x=%zz", 400, "form_invalid"},
		"not UTF-8":               {w.ask("staff") + "&x=%ff", 400, "form_invalid"},
		"oversize":                {w.ask("staff", "state", strings.Repeat("x", 9000)), 413, "request_too_large"},
		"many parameters":         {w.ask("staff") + "&" + manyParameters(), 400, "form_invalid"},
		"unknown pool":            {strings.Replace(w.ask("staff"), "staff", "nobody", 1), 404, "userpool_not_found"},
		"strange pool":            {strings.Replace(w.ask("staff"), "staff", "..%2f..%00", 1), 404, "userpool_not_found"},
		"no response_type":        {w.ask("staff", "response_type", ""), 303, "invalid_request"},
		"token":                   {w.ask("staff", "response_type", "token"), 303, "unsupported_response_type"},
		"hybrid":                  {w.ask("staff", "response_type", "code id_token"), 303, "unsupported_response_type"},
		"fragment":                {w.ask("staff", "response_mode", "fragment"), 303, "invalid_request"},
		"no scope":                {w.ask("staff", "scope", ""), 303, "invalid_scope"},
		"strange scope":           {w.ask("staff", "scope", `open"id`), 303, "invalid_scope"},
		"unknown scope":           {w.ask("staff", "scope", "docx:document:readonly"), 303, "invalid_scope"},
		"plain challenge":         {w.ask("staff", "code_challenge", strings.Repeat("x", 43), "code_challenge_method", "plain"), 303, "invalid_request"},
		"challenge, no method":    {w.ask("staff", "code_challenge", strings.Repeat("x", 43)), 303, "invalid_request"},
		"method, no challenge":    {w.ask("staff", "code_challenge_method", "S256"), 303, "invalid_request"},
		"short challenge":         {w.ask("staff", "code_challenge", "x", "code_challenge_method", "S256"), 303, "invalid_request"},
		"public without PKCE":     {w.ask("staff", "client_id", "cli_app_staff"), 303, "invalid_request"},
		"request object":          {w.ask("staff", "request", "e30."), 303, "request_not_supported"},
		"request_uri":             {w.ask("staff", "request_uri", "https://evil.example/r"), 303, "request_uri_not_supported"},
		"registration":            {w.ask("staff", "registration", "{}"), 303, "registration_not_supported"},
		"unknown prompt":          {w.ask("staff", "prompt", "create"), 303, "invalid_request"},
		"none and login":          {w.ask("staff", "prompt", "none login"), 303, "invalid_request"},
		"max_age negative":        {w.ask("staff", "max_age", "-1"), 303, "invalid_request"},
		"max_age a word":          {w.ask("staff", "max_age", "x"), 303, "invalid_request"},
		"max_age huge":            {w.ask("staff", "max_age", "99999999999999999999"), 303, "invalid_request"},
	} {
		shown := p.get(c.target)
		if shown.status != c.status {
			t.Errorf("%s: status %d, want %d (%s)", what, shown.status, c.status, shown.to)
			continue
		}
		if c.status != http.StatusSeeOther {
			if !strings.Contains(shown.body, "<code>"+c.code+"</code>") || shown.to != "" || strings.Contains(shown.body, "<script") {
				t.Errorf("%s: want %s in\n%s", what, c.code, shown.body)
			}
			continue
		}
		to, err := url.Parse(shown.to)
		w.must(err)
		if q := to.Query(); !strings.HasPrefix(shown.to, callbackURL+"?") || q.Get("error") != c.code || q.Get("state") != "s1" ||
			q.Get("iss") != w.url+"/userpool/staff" || q.Has("code") {
			t.Errorf("%s: sent to %s", what, shown.to)
		}
	}
	for what, want := range map[string][]string{
		w.ask("staff", "redirect_uri", "https://evil.example/x"): {">chat<", "https://evil.example/x", callbackURL},
		w.ask("staff", "redirect_uri", ""):                       {">chat<", "redirect_uri is missing", callbackURL},
	} {
		for _, part := range want {
			if shown := p.get(what); !strings.Contains(shown.body, part) {
				t.Errorf("the page for %s lacks %q", what, part)
			}
		}
	}
	// After all that, a good request still works.
	p.code(w.ask("staff"))
}

func manyParameters() string {
	var b strings.Builder
	for i := range 200 {
		b.WriteString(string(rune('a'+i%26)) + string(rune('a'+i/26)) + "=1&")
	}
	return b.String() + "z=1"
}

// TestHostileToken sends wrong token requests, each with a code of its own that
// is good otherwise.
func TestHostileToken(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	v := oauth.NewVerifier()
	pkce := []string{"code_challenge", oauth.Challenge(v), "code_challenge_method", "S256"}
	for what, c := range map[string]struct {
		pkce    bool
		client  string
		changes []string
		status  int
		code    string
	}{
		"no grant_type":            {changes: []string{"grant_type", ""}, status: 400, code: "invalid_request"},
		"password grant":           {changes: []string{"grant_type", "password"}, status: 400, code: "unsupported_grant_type"},
		"refresh without a token":  {changes: []string{"grant_type", "refresh_token"}, status: 400, code: "invalid_request"},
		"code as refresh token":    {changes: []string{"grant_type", "refresh_token", "refresh_token", "ac_x"}, status: 400, code: "invalid_grant"},
		"a grant it does not have": {changes: []string{"grant_type", oauth.GrantClientCredentials}, status: 400, code: "unauthorized_client"},
		"no code":                  {changes: []string{"code", ""}, status: 400, code: "invalid_request"},
		"unknown code":             {changes: []string{"code", "ac_x"}, status: 400, code: "invalid_grant"},
		"no redirect_uri":          {changes: []string{"redirect_uri", ""}, status: 400, code: "invalid_grant"},
		"other redirect_uri":       {changes: []string{"redirect_uri", "https://evil.example/"}, status: 400, code: "invalid_grant"},
		"no client":                {changes: []string{"client_id", ""}, status: 401, code: "invalid_client"},
		"unknown client":           {changes: []string{"client_id", "cli_x"}, status: 401, code: "invalid_client"},
		"wrong secret":             {changes: []string{"client_secret", "cs_x"}, status: 401, code: "invalid_client"},
		"no secret":                {changes: []string{"client_secret", ""}, status: 401, code: "invalid_client"},
		"code of another client":   {client: "mail", status: 400, code: "invalid_grant"},
		"public client's turn":     {client: "app", status: 400, code: "invalid_grant"},
		"verifier, no challenge":   {changes: []string{"code_verifier", v.RevealString()}, status: 400, code: "invalid_grant"},
		"no verifier":              {pkce: true, status: 400, code: "invalid_grant"},
		"wrong verifier":           {pkce: true, changes: []string{"code_verifier", oauth.NewVerifier().RevealString()}, status: 400, code: "invalid_grant"},
		"challenge as verifier":    {pkce: true, changes: []string{"code_verifier", oauth.Challenge(v)}, status: 400, code: "invalid_grant"},
		"oversize":                 {changes: []string{"x", strings.Repeat("x", 40000)}, status: 413, code: "invalid_request"},
		"a public client's secret": {client: "app", changes: []string{"client_secret", "cs_x"}, status: 401, code: "invalid_client"},
	} {
		ask, good := w.ask("staff"), []string{}
		if c.pkce {
			ask, good = w.ask("staff", pkce...), []string{"code_verifier", v.RevealString()}
		}
		if c.client == "" {
			c.client = "chat"
		}
		code := p.code(ask)
		answer := w.redeem("staff", c.client, code, c.changes...)
		if answer.status != c.status || !strings.Contains(answer.body, `"error":"`+c.code+`"`) || strings.Contains(answer.body, "access_token") {
			t.Errorf("%s: %d %s, want %d %s", what, answer.status, answer.body, c.status, c.code)
		}
		if again := w.redeem("staff", "chat", code, good...); again.status != http.StatusOK {
			t.Errorf("%s: afterwards, the right request gets %d %s", what, again.status, again.body)
		}
	}
	for _, why := range []string{"wrong client secret", "the code was made for another client", "code_verifier does not fit the code_challenge"} {
		if !slices.Contains(w.reasons(), why) {
			t.Errorf("the audit log does not have %q: %q", why, w.reasons())
		}
	}
}

func TestHostileTokenTransport(t *testing.T) {
	w := newWorld(t)
	const endpoint = "/userpool/staff/oauth/token"
	id, good := "cli_chat_staff", w.secrets["cli_chat_staff"].RevealString()
	basic := func(id, s string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+s))},
			"Content-Type": {"application/x-www-form-urlencoded"}}
	}
	for what, c := range map[string]struct {
		method, body string
		header       http.Header
		status       int
		want         string // in the body or in WWW-Authenticate
	}{
		"GET":               {"GET", "", nil, 405, "Method Not Allowed"},
		"PUT":               {"PUT", "", nil, 405, "Method Not Allowed"},
		"JSON":              {"POST", `{"grant_type":"authorization_code"}`, http.Header{"Content-Type": {"application/json"}}, 400, "invalid_request"},
		"no type":           {"POST", "grant_type=authorization_code", nil, 400, "invalid_request"},
		"repeated":          {"POST", "code=a&code=b", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 400, "invalid_request"},
		"basic, wrong":      {"POST", "grant_type=authorization_code", basic(id, "x"), 401, `Basic realm="deputy", charset="UTF-8"`},
		"basic, right":      {"POST", "grant_type=authorization_code", basic(id, good), 400, "code is missing"},
		"two ways":          {"POST", "client_secret=" + good, basic(id, good), 400, "invalid_request"},
		"two ids":           {"POST", "client_id=cli_mail_staff", basic(id, good), 401, "invalid_client"},
		"basic, other pool": {"POST", "grant_type=authorization_code", basic("cli_chat_guests", w.secrets["cli_chat_guests"].RevealString()), 401, "invalid_client"},
		"basic, garbage":    {"POST", "", http.Header{"Authorization": {"Basic %%%"}, "Content-Type": {"application/x-www-form-urlencoded"}}, 401, "invalid_client"},
		"bearer":            {"POST", "", http.Header{"Authorization": {"Bearer x"}, "Content-Type": {"application/x-www-form-urlencoded"}}, 401, "invalid_client"},
	} {
		answer := w.person().send(c.method, endpoint, strings.NewReader(c.body), c.header)
		if answer.status != c.status || !strings.Contains(answer.body+answer.header.Get("WWW-Authenticate"), c.want) {
			t.Errorf("%s: %d %s %v", what, answer.status, answer.body, answer.header)
		}
	}
	inQuery := w.person().post(endpoint+"?client_id="+id+"&client_secret="+good, url.Values{"grant_type": {"authorization_code"}})
	if inQuery.status != http.StatusUnauthorized {
		t.Errorf("a secret in the query: %d %s", inQuery.status, inQuery.body)
	}
}

func TestCodesAreGoodOnce(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	code := p.code(w.ask("staff"))
	var good atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if w.redeem("staff", "chat", code).status == http.StatusOK {
				good.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 {
		t.Errorf("one code redeemed %d times", good.Load())
	}
	if !slices.Contains(w.reasons(), "the code was used before") {
		t.Errorf("the reuse is not recorded: %q", w.reasons())
	}
	old := p.code(w.ask("staff"))
	w.pass(userpool.CodeLifetime)
	if answer := w.redeem("staff", "chat", old); answer.status != 400 || !strings.Contains(answer.body, "expired") {
		t.Errorf("an old code: %d %s", answer.status, answer.body)
	}
}

func TestUsersThatAreDisabled(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	code := p.code(w.ask("staff"))
	var tokens struct {
		Access string `json:"access_token"`
	}
	w.must(json.Unmarshal([]byte(w.redeem("staff", "chat", p.code(w.ask("staff"))).body), &tokens))
	u, err := w.stores.User(t.Context(), "staff", "usr_zhang_staff")
	w.must(err)
	u.Disabled = true
	w.must(w.stores.UpdateUser(t.Context(), w.permit(userpool.ActionUpdateUser, u.Resource()), u))

	if answer := w.redeem("staff", "chat", code); answer.status != 400 {
		t.Errorf("a disabled user's code: %d %s", answer.status, answer.body)
	}
	if shown := p.get(w.ask("staff")); !strings.Contains(shown.to, "/login?") {
		t.Errorf("a disabled user's session: %d %s", shown.status, shown.to)
	}
	if answer := userInfo(p, "staff", tokens.Access); answer.status != 401 {
		t.Errorf("a disabled user's token: %d %s", answer.status, answer.body)
	}
}

func userInfo(p *person, pool, token string) page {
	return p.send("GET", "/userpool/"+pool+"/userinfo", nil, http.Header{"Authorization": {"Bearer " + token}})
}

func TestHostileUserInfo(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	var full, bare struct {
		ID     string `json:"id_token"`
		Access string `json:"access_token"`
	}
	w.must(json.Unmarshal([]byte(w.redeem("staff", "chat", p.code(w.ask("staff"))).body), &full))
	w.must(json.Unmarshal([]byte(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "profile"))).body), &bare))
	if bare.ID != "" {
		t.Error("an ID token without the scope openid")
	}
	if answer := userInfo(p, "staff", full.Access); answer.status != 200 || strings.Contains(answer.body, "email") {
		t.Errorf("the good token: %d %s", answer.status, answer.body)
	}
	for what, c := range map[string]struct {
		pool, token, want string
		status            int
	}{
		"ID token":        {"staff", full.ID, "invalid_token", 401},
		"other pool":      {"guests", full.Access, "invalid_token", 401},
		"garbage":         {"staff", "a.b.c", "invalid_token", 401},
		"empty":           {"staff", "", "invalid_token", 401},
		"cut":             {"staff", full.Access[:len(full.Access)-4], "invalid_token", 401},
		"alg none":        {"staff", "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0" + full.Access[strings.IndexByte(full.Access, '.'):strings.LastIndexByte(full.Access, '.')+1], "invalid_token", 401},
		"without openid":  {"staff", bare.Access, "insufficient_scope", 403},
		"with line break": {"staff", "x y", "invalid_token", 401},
	} {
		if answer := userInfo(p, c.pool, c.token); answer.status != c.status || !strings.Contains(answer.header.Get("WWW-Authenticate"), c.want) {
			t.Errorf("%s: %d %s", what, answer.status, answer.header.Get("WWW-Authenticate"))
		}
	}
	if answer := p.get("/userpool/staff/userinfo?access_token=" + full.Access); answer.status != 401 || answer.header.Get("WWW-Authenticate") != `Bearer realm="deputy"` {
		t.Errorf("token in the query: %d %v", answer.status, answer.header)
	}
	w.pass(11 * time.Hour)
	if answer := userInfo(p, "staff", full.Access); answer.status != 401 {
		t.Errorf("an expired token: %d", answer.status)
	}
}

// TestHostileForms submits the login and consent forms as others would.
func TestHostileForms(t *testing.T) {
	w := newWorld(t)
	p, attacker := w.person(), w.person()
	p.logIn("staff")
	attacker.logIn("guests")
	action, good := p.fill(p.get(w.ask("staff")), "decision", "allow")
	loginAction, goodLogin := p.fill(p.get("/userpool/staff/login"), "username", "zhang", "password", password)
	_, foreign := attacker.fill(attacker.get(w.ask("guests")), "decision", "allow")
	changed := func(form url.Values, kv ...string) url.Values {
		c := url.Values{}
		for k, v := range form {
			c[k] = slices.Clone(v)
		}
		for i := 0; i < len(kv); i += 2 {
			c.Set(kv[i], kv[i+1])
		}
		return c
	}
	_, otherAsk, _ := strings.Cut(w.ask("staff", "scope", "openid profile email"), "?")
	_, badAsk, _ := strings.Cut(w.ask("staff", "redirect_uri", "https://evil.example/"), "?")
	_, errAsk, _ := strings.Cut(w.ask("staff", "response_type", "token"), "?")
	for what, c := range map[string]struct {
		action string
		form   url.Values
		header http.Header
		status int
		code   string
	}{
		"consent without token":       {action, changed(good, "csrf", ""), nil, 403, "form_foreign"},
		"consent with another token":  {action, changed(good, "csrf", foreign.Get("csrf")), nil, 403, "form_foreign"},
		"consent with a login token":  {action, changed(good, "csrf", goodLogin.Get("csrf")), nil, 403, "form_foreign"},
		"consent for more":            {action, changed(good, "request", otherAsk), nil, 403, "form_foreign"},
		"consent for elsewhere":       {action, changed(good, "request", badAsk), nil, 400, "redirect_uri_mismatch"},
		"consent for an error":        {action, changed(good, "request", errAsk), nil, 400, "request_changed"},
		"consent for nothing":         {action, changed(good, "request", ""), nil, 400, "client_id_missing"},
		"no decision":                 {action, changed(good, "decision", ""), nil, 400, "decision_missing"},
		"consent, oversize":           {action, changed(good, "x", strings.Repeat("x", 40000)), nil, 413, "body_too_large"},
		"consent in the other pool":   {"/userpool/guests/consent", good, nil, 400, "client_unknown"},
		"consent from another origin": {action, good, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "form_foreign"},
		"consent from another port":   {action, good, http.Header{"Sec-Fetch-Site": {"same-site"}}, 403, "form_foreign"},
		"consent, foreign Origin":     {action, good, http.Header{"Origin": {"https://evil.example"}}, 403, "form_foreign"},
		"login without token":         {loginAction, changed(goodLogin, "csrf", ""), nil, 403, "form_foreign"},
		"login with foreign token":    {loginAction, changed(goodLogin, "csrf", foreign.Get("csrf")), nil, 403, "form_foreign"},
		"login in the other pool":     {"/userpool/guests/login", goodLogin, nil, 403, "form_foreign"},
		"login that returns elsewhere": {loginAction, changed(goodLogin, "return", "https://evil.example/"), nil, 400,
			"return_invalid"},
		"login that returns otherwise": {loginAction, changed(goodLogin, "return", "/authorize?request_uri=x"), nil, 403, "form_foreign"},
		"login from another origin":    {loginAction, goodLogin, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "form_foreign"},
		"logout from another origin":   {"/userpool/staff/logout/confirm", url.Values{}, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "form_foreign"},
		"logout without token":         {"/userpool/staff/logout/confirm", url.Values{"decision": {"allow"}}, nil, 403, "form_foreign"},
	} {
		header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		for k, v := range c.header {
			header[k] = v
		}
		shown := p.send("POST", c.action, strings.NewReader(c.form.Encode()), header)
		if shown.status != c.status || !strings.Contains(shown.body, "<code>"+c.code+"</code>") {
			t.Errorf("%s: %d %s, want %d %s\n%s", what, shown.status, shown.to, c.status, c.code, shown.body)
		}
	}
	if stranger := w.person().post(action, good); stranger.status != http.StatusForbidden {
		t.Errorf("the form in another browser: %d %s", stranger.status, stranger.to)
	}
	// A form dies with its login.
	p.logIn("staff")
	if late := p.post(action, good); late.status != http.StatusForbidden {
		t.Errorf("the form after a new login: %d %s", late.status, late.to)
	}
	p.code(w.ask("staff"))
}

// TestLoginsAreNew: the session from before a login, which somebody may have
// planted, is worth nothing after it.
func TestLoginsAreNew(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	u, err := url.Parse(w.url)
	w.must(err)
	before := p.client.Jar.Cookies(u)
	p.logIn("staff")
	thief := w.person()
	thief.client.Jar.SetCookies(u, before)
	if shown := thief.get(w.ask("staff")); !strings.Contains(shown.to, "/login?") {
		t.Errorf("the former session lives: %d %s", shown.status, shown.to)
	}
	for _, c := range p.get("/userpool/staff/login").header["Set-Cookie"] {
		if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") {
			t.Errorf("cookie %s", c)
		}
	}
}

// TestPoolsAreApart gives one pool what the other made.
func TestPoolsAreApart(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	if shown := p.get(w.ask("guests")); !strings.Contains(shown.to, "/userpool/guests/login?") {
		t.Errorf("logged in to the other pool, too: %d %s", shown.status, shown.to)
	}
	u, err := url.Parse(w.url)
	w.must(err)
	for _, c := range p.client.Jar.Cookies(u) { // the session's token under the other pool's name
		c.Name = strings.Replace(c.Name, "staff", "guests", 1)
		p.client.Jar.SetCookies(u, []*http.Cookie{c})
	}
	if shown := p.get(w.ask("guests")); !strings.Contains(shown.to, "/userpool/guests/login?") {
		t.Errorf("the session works in the other pool: %d %s", shown.status, shown.to)
	}
	code := p.code(w.ask("staff"))
	if answer := w.redeem("guests", "chat", code); answer.status != 400 || !strings.Contains(answer.body, "invalid_grant") {
		t.Errorf("the code works in the other pool: %d %s", answer.status, answer.body)
	}
	if w.redeem("staff", "chat", code).status != http.StatusOK {
		t.Error("the attempt used the code up")
	}
	staff, guests := p.get("/userpool/staff/keys"), p.get("/userpool/guests/keys")
	if staff.body == guests.body {
		t.Error("two pools have one key")
	}
}

func TestWrongPasswords(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	try := func(userName, word string) page {
		t.Helper()
		return p.submit(p.get("/userpool/staff/login"), "username", userName, "password", word)
	}
	unknown, wrong := try("nobody", "xxxxxxxx"), try("zhang", "xxxxxxxx")
	for _, shown := range []page{unknown, wrong} {
		if shown.status != http.StatusForbidden || !strings.Contains(shown.body, "User name or password is wrong") || strings.Contains(shown.body, "xxxxxxxx") {
			t.Errorf("%d\n%s", shown.status, shown.body)
		}
	}
	if a, b := strings.ReplaceAll(unknown.body, "nobody", "zhang"), wrong.body; a != b {
		t.Error("the pages tell who exists")
	}
	for range 5 {
		wrong = try("zhang", "xxxxxxxx")
	}
	slowed := try("zhang", password)
	if wrong.status != http.StatusForbidden || slowed.status != http.StatusTooManyRequests || slowed.header.Get("Retry-After") == "" {
		t.Errorf("after seven failures: %d, then %d", wrong.status, slowed.status)
	}
	w.pass(time.Minute)
	if in := try("zhang", password); in.status != http.StatusOK {
		t.Errorf("the owner is locked out: %d", in.status)
	}
}

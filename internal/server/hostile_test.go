package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// hostile is one request that must not work, and its exact answer.
type hostile struct {
	what   string
	do     func() answer
	status int
	code   string
	has    string // in the body or in the header Allow; "" for nothing in particular
}

// scene is a world in the middle of everything: two people are logged in, the
// agent a runs, and there is a second workload pool with a provider of its own.
type scene struct {
	*world
	zhangsan, lisi *person
	a, b           string // tokens of the agents for zhangsan
	ofLisi         string // token of the agent a for lisi
	user           string // zhangsan's access token
}

func newScene(t *testing.T, database secret.Text) *scene {
	s := &scene{world: newWorld(t, func(c *server.Config) { c.Database = database })}
	s.zhangsan, s.lisi = s.person("zhangsan").logIn(), s.person("lisi").logIn()
	s.make("/workload-pools", `{"name":"other"}`, nil)
	s.make("/workload-pools/other/workloads", `{"name":"a"}`, nil)
	s.make("/workload-pools/other/providers", s.provider("of_other", readDoc), nil)
	s.launch()
	s.renew()
	return s
}

// renew renews the tokens, which time that passes takes away.
func (s *scene) renew() {
	s.a, s.b, s.ofLisi = s.wat("a", "zhangsan"), s.wat("b", "zhangsan"), s.wat("a", "lisi")
	s.user = s.zhangsan.accessToken()
}

// TestHostileRequests sends what strangers, thieves and bad programs send. Each
// gets its exact answer, which shows nothing of our inside and no secret; and
// after all of it the main flow still works.
func TestHostileRequests(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { beHostile(t, newScene(t, secret.Text{})) })
	t.Run("postgres", func(t *testing.T) { beHostile(t, newScene(t, secret.FromString(storetest.Postgres(t).URL(t)))) })
}

func beHostile(t *testing.T, s *scene) {
	total := 0
	for _, group := range []struct {
		edge string
		rows []hostile
	}{
		{"link", s.hostileLinks()}, {"decision", s.hostileDecisions()}, {"callback", s.hostileCallbacks()}, {"result", s.hostileResults()},
		{"openid", s.hostileOpenID()}, {"token", s.hostileTokens()}, {"ingress", s.hostileIngress()}, {"bearer", s.hostileBearers()},
		{"credential", s.hostileCredentials()}, {"json", s.hostileJSON()}, {"query", s.hostileQueries()}, {"administration", s.hostileAdministration()},
		{"outbound", s.hostileEndpoints()}, {"late", s.tooLate()},
	} {
		total += len(group.rows)
		for _, row := range group.rows {
			t.Run(group.edge+"/"+row.what, func(t *testing.T) { s.check(t, row) })
		}
	}
	if total < 150 {
		t.Errorf("only %d rows", total)
	}
	s.nothingHappened(t)
	s.happy(s.zhangsan, s.lisi)
}

func (s *scene) check(t *testing.T, row hostile) {
	got := row.do()
	if got.status != row.status || code(got) != row.code || !strings.Contains(got.body+got.header.Get("Allow"), row.has) {
		t.Errorf("got %d %q, want %d %q with %q (Location %q):\n%s", got.status, code(got), row.status, row.code, row.has, got.header.Get("Location"), got.body)
	}
	leaks(t, got, s.secrets(t)...)
}

// secrets are what nobody may be shown.
func (s *scene) secrets(t *testing.T) []string {
	root, err := os.ReadFile(filepath.Join(s.dir, "root.key"))
	must(t, err)
	all := []string{trim(string(root)), s.operator, appSecret, password, s.secret, s.a, s.b, s.ofLisi, s.user}
	for _, issued := range s.feishu.Issued() {
		all = append(all, issued.Value)
	}
	return all
}

// nothingHappened makes sure that all refusals left nothing behind but entries
// in an audit log whose chain holds, and no secret in the log.
func (s *scene) nothingHappened(t *testing.T) {
	if got := s.api("GET", "/workload-pools/default/grants", s.operator, ""); trim(got.body) != `{"items":[]}` {
		t.Errorf("there are grants: %s", got.body)
	}
	if got := s.api("GET", "/audit/verify", s.operator, ""); !strings.Contains(got.body, `"ok":true`) {
		t.Errorf("the audit chain: %s", got.body)
	}
	refused := s.entries(url.Values{"action": {"authorization.open"}, "outcome": {"refused"}})
	if len(refused) == 0 || refused[0].Caller.User != s.world.user("lisi") {
		t.Errorf("the link in the wrong hands is not in the audit log: %+v", refused)
	}
	for _, e := range s.entries(url.Values{}) {
		if e.Action == "credential.release" && e.Outcome == audit.Allowed {
			t.Errorf("a credential was released: %+v", e)
		}
	}
	log := s.log.String()
	for _, secret := range s.secrets(t) {
		if secret != "" && strings.Contains(log, secret) {
			t.Errorf("a secret is in the log: %.8s…", secret)
		}
	}
}

// page opens an address in a browser.
func page(p *person, target string) func() answer { return func() answer { return p.get(target) } }

// rest calls the API.
func (s *scene) rest(method, path string, token *string, body string) func() answer {
	return func() answer { return s.api(method, path, *token, body) }
}

func text(s string) *string { return &s }

// link begins an authorization and returns the secret part of its address.
func (s *scene) request(token string, scopes ...string) string {
	u, err := url.Parse(s.link(token, scopes...).URL)
	must(s.t, err)
	return u.Query().Get("request_uri")
}

const (
	linkPath     = "/authorize?request_uri="
	callbackPath = "/api/v1/oauth2callback?"
	linkPrefix   = "urn:deputy:authorization:"
)

func (s *scene) hostileLinks() []hostile {
	z, stranger := s.zhangsan, s.person("nobody")
	return []hostile{
		{"nothing", page(z, "/authorize"), 400, "link_malformed", ""},
		{"empty", page(z, linkPath), 400, "link_malformed", ""},
		{"another urn", page(z, linkPath+"urn:other:x"), 400, "link_malformed", ""},
		{"an address", page(z, linkPath+"https://evil.example/"), 400, "link_malformed", ""},
		{"twice", page(z, linkPath+linkPrefix+"x&request_uri="+linkPrefix+"y"), 400, "link_malformed", ""},
		{"oversize", page(z, linkPath+linkPrefix+strings.Repeat("x", 300)), 400, "link_malformed", ""},
		{"broken encoding", page(z, linkPath+linkPrefix+"%zz"), 400, "link_malformed", ""},
		{"bad UTF-8", page(z, linkPath+linkPrefix+"%ff"), 400, "link_malformed", ""},
		{"NUL", page(z, linkPath+linkPrefix+"%00"), 404, "link_unknown", ""},
		{"unknown", page(z, linkPath+linkPrefix+"lnk_0000000000"), 404, "link_unknown", ""},
		{"markup", page(z, linkPath+linkPrefix+"%3Cscript%3E"), 404, "link_unknown", ""},
		{"another method", func() answer { return send(s.t, z.http, "DELETE", s.url+"/authorize", nil, nil) }, 405, "", "GET"},
		{"not logged in", func() answer { return stranger.get(s.link(s.a).URL) }, 303, "", ""},
		{"somebody else's", func() answer { return s.lisi.get(s.link(s.a).URL) }, 403, "link_not_yours", "login=again"},
		{"looked at with HEAD", func() answer { return z.look("HEAD", s.link(s.a).URL, nil) }, 503, "", ""},
		{"fetched ahead", func() answer {
			return z.look("GET", s.link(s.a).URL, http.Header{"Sec-Purpose": {"prefetch;prerender"}})
		}, 503, "", ""},
		{"after it was looked at, it is good", func() answer { return z.get(s.link(s.a).URL) }, 302, "", ""},
		{"opened twice", func() answer {
			link := s.link(s.a).URL
			z.begin(link)
			return z.get(link)
		}, 410, "link_used", ""},
		{"opened twice, the second time by another", func() answer {
			link := s.link(s.a).URL
			z.begin(link)
			return s.lisi.get(link)
		}, 403, "link_not_yours", ""},
	}
}

// decision sends the form of Deputy's own page for an authorization that asks
// the third party, with a token as the page would have it.
func (s *scene) decision(p *person, values ...string) func() answer {
	return func() answer {
		form := url.Values{"request_uri": {s.request(s.a)}, "decision": {"allow"}}
		form.Set(browser.FormField, s.formToken(p, "authorize", form.Get("request_uri"), s.issuer(), s.subject[p.who]))
		for i := 0; i < len(values); i += 2 {
			form.Set(values[i], values[i+1])
		}
		return p.post("/authorize", form)
	}
}

// formToken is the one that the browser would be given for a purpose.
func (s *scene) formToken(p *person, purpose ...string) string {
	site, err := browser.NewSite(s.url, "id")
	must(s.t, err)
	r := httptest.NewRequest("GET", s.url, nil)
	u, err := url.Parse(s.url)
	must(s.t, err)
	for _, c := range p.http.Jar.Cookies(u) {
		r.AddCookie(c)
	}
	return site.FormToken(httptest.NewRecorder(), r, purpose...)
}

func (s *scene) hostileDecisions() []hostile {
	z := s.zhangsan
	post := func(mediaType, body string) func() answer {
		return func() answer {
			return send(s.t, z.http, "POST", s.url+"/authorize", reader(body), http.Header{"Content-Type": {mediaType}})
		}
	}
	const form = "application/x-www-form-urlencoded"
	return []hostile{
		{"empty", post(form, ""), 400, "form_malformed", ""},
		{"no content type", post("", "decision=allow"), 400, "form_malformed", ""},
		{"JSON", post("application/json", `{"decision":"allow"}`), 400, "form_malformed", ""},
		{"multipart", post("multipart/form-data; boundary=x", "--x--"), 400, "form_malformed", ""},
		{"giant", post(form, "decision="+strings.Repeat("x", 64<<10)), 400, "form_malformed", ""},
		{"decision twice", post(form, "decision=allow&decision=deny&request_uri="+linkPrefix+"x"), 400, "form_malformed", ""},
		{"decision unknown", s.decision(z, "decision", "maybe"), 400, "form_malformed", ""},
		{"link unknown", s.decision(z, "request_uri", linkPrefix+"lnk_x"), 404, "link_unknown", ""},
		{"no token", s.decision(z, browser.FormField, ""), 403, "form_foreign", ""},
		{"a token for another form", s.decision(z, browser.FormField, "AAAA"), 403, "form_foreign", ""},
		{"in the address", func() answer {
			return z.post("/authorize?decision=allow&request_uri="+s.request(s.a), url.Values{})
		}, 400, "form_malformed", ""},
		{"not logged in", s.decision(s.person("nobody")), 401, "login_required", ""},
		{"by another", s.decision(s.lisi), 403, "link_not_yours", ""},
		{"that is the third party's", s.decision(z), 400, "authorization_kind", ""},
	}
}

// redirected is a browser of zhangsan's that Feishu is about to send back.
func (s *scene) redirected(p *person, token, decision string) string {
	return p.decide(p.begin(s.link(token).URL), decision)
}

// changed is a callback with a parameter replaced.
func (s *scene) changed(callbackURL, parameter, value string) string {
	u, err := url.Parse(callbackURL)
	must(s.t, err)
	q := u.Query()
	q.Set(parameter, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func (s *scene) hostileCallbacks() []hostile {
	z := s.zhangsan
	malformed := func(what, query string) hostile {
		return hostile{what, page(z, callbackPath+query), 400, "callback_malformed", "Missing authorization code or state"}
	}
	return []hostile{
		malformed("nothing", ""), malformed("only a state", "state=st_x"), malformed("a code without state", "code=x"),
		malformed("an error without state", "error=access_denied"), malformed("code and error", "state=st_x&code=x&error=y"),
		malformed("state twice", "state=st_x&state=st_y&code=x"), malformed("code twice", "state=st_x&code=x&code=y"),
		malformed("empty state", "state=&code=x"), malformed("empty code", "state=st_x&code="),
		malformed("oversize state", "code=x&state="+strings.Repeat("x", 201)), malformed("oversize code", "state=st_x&code="+strings.Repeat("x", 8193)),
		malformed("broken encoding", "state=%zz&code=x"), malformed("bad UTF-8", "state=%ff&code=x"),
		malformed("markup as a name", "%3Cscript%3E=1"),
		{"foreign state", page(z, callbackPath+"state=st_x&code=x"), 410, "state_unknown", ""},
		{"by POST", func() answer { return z.post("/api/v1/oauth2callback", url.Values{"state": {"st_x"}, "code": {"x"}}) }, 405, "", "GET"},
		{"in another browser", func() answer {
			return s.person("zhangsan").logIn().get(s.redirected(z, s.a, "allow"))
		}, 403, "browser_changed", ""},
		{"by another user", func() answer { return s.lisi.get(s.redirected(z, s.a, "allow")) }, 403, "link_not_yours", ""},
		{"by nobody", func() answer { return s.person("nobody").get(s.redirected(z, s.a, "allow")) }, 403, "link_not_yours", ""},
		{"a code that Feishu does not know", func() answer { return z.finish(s.changed(s.redirected(z, s.a, "allow"), "code", "forged")) }, 200, "20003", "Not authorized"},
		{"the code of another", func() answer {
			stolen, err := url.Parse(s.redirected(s.lisi, s.ofLisi, "allow"))
			must(s.t, err)
			return z.finish(s.changed(s.redirected(z, s.a, "allow"), "code", stolen.Query().Get("code")))
		}, 200, "20049", "Not authorized"},
		{"declined", func() answer { return z.finish(s.redirected(z, s.a, "deny")) }, 200, "access_denied", "declined"},
		{"an invented error", func() answer {
			return z.finish(s.changed(s.redirected(z, s.a, "deny"), "error", `<script>alert(1)</script>`))
		}, 200, "unreadable", "Not authorized"},
		{"replayed", func() answer {
			back := s.redirected(z, s.a, "deny")
			z.finish(back)
			return z.get(back)
		}, 410, "state_unknown", ""},
	}
}

func (s *scene) hostileResults() []hostile {
	ended := func() string {
		return s.zhangsan.location(s.zhangsan.get(s.redirected(s.zhangsan, s.a, "deny")))
	}
	return []hostile{
		{"none", page(s.zhangsan, "/authorize/result"), 404, "authorization_not_found", ""},
		{"unknown", page(s.zhangsan, "/authorize/result?id=auth_x"), 404, "authorization_not_found", ""},
		{"NUL", page(s.zhangsan, "/authorize/result?id=%00"), 404, "authorization_not_found", ""},
		{"bad UTF-8", page(s.zhangsan, "/authorize/result?id=%ff"), 404, "authorization_not_found", ""},
		{"somebody else's", func() answer { return s.lisi.get(ended()) }, 404, "authorization_not_found", ""},
		{"nobody's", func() answer { return s.person("nobody").get(ended()) }, 404, "authorization_not_found", ""},
	}
}

// tooLate moves the clock beyond the life of links.
func (s *scene) tooLate() []hostile {
	return []hostile{
		{"link", func() answer {
			link := s.link(s.a).URL
			s.clock.pass(10 * time.Minute)
			return s.zhangsan.get(link)
		}, 410, "link_expired", ""},
		{"callback", func() answer {
			s.renew()
			back := s.redirected(s.zhangsan, s.a, "allow")
			s.clock.pass(10 * time.Minute)
			return s.zhangsan.get(back)
		}, 410, "link_expired", ""},
		{"workload access token", func() answer {
			s.clock.pass(15 * time.Minute)
			return s.api("POST", "/credentials", s.a, `{"provider":"feishu_oauth"}`)
		}, 401, "token_expired", ""},
		{"the user's token", func() answer {
			s.clock.pass(10*time.Hour + jwt.MaxSkew)
			return s.invoke("a", "{}", http.Header{"Authorization": {"Bearer " + s.user}})
		}, 401, "token_expired", ""},
		{"the session", func() answer {
			defer func() { // everybody logs in again
				s.zhangsan.logIn()
				s.lisi.logIn()
				s.renew()
			}()
			return s.zhangsan.get(s.link(s.wat("a", "zhangsan")).URL)
		}, 303, "", ""},
	}
}

// hostileEndpoints has providers whose third party is where none may be.
func (s *scene) hostileEndpoints() []hostile {
	at := func(providerName, token string) func() answer {
		return func() answer {
			body := strings.Replace(s.provider(providerName, readDoc), s.party.URL+feishu.TokenPathV3, token, 1)
			s.make("/workload-pools/default/providers", body, nil)
			return s.zhangsan.authorize(s.ask(s.a, providerName).Authorization.URL)
		}
	}
	return []hostile{
		{"metadata service", at("metadata", "http://169.254.169.254/latest/meta-data/"), 200, "outbound_address_refused", "Not authorized"},
		{"metadata service, mapped", at("mapped", "https://[::ffff:169.254.169.254]/token"), 200, "outbound_address_refused", "Not authorized"},
		{"this machine", at("loopback", "http://127.0.0.1:1/token"), 200, "outbound_address_refused", "Not authorized"},
		{"this machine, by name", at("localhost", "https://localhost:1/token"), 200, "outbound_address_refused", "Not authorized"},
		{"Deputy itself", at("deputy", s.url+"/api/v1/workload-tokens"), 200, "outbound_address_refused", "Not authorized"},
		{"any address", at("zero", "https://0.0.0.0/token"), 200, "outbound_address_refused", "Not authorized"},
		{"private network", at("private", "https://10.0.0.1/token"), 200, "outbound_address_refused", "Not authorized"},
	}
}

// forge signs a workload access token with changed claims.
func (s *scene) forge(typ string, key jwt.Key, changes map[string]any) string {
	self := name.Workload{Pool: "default", Name: "a"}.SPIFFEID("deputy.local")
	claims := map[string]any{
		"iss": s.url, "aud": s.url, "sub": s.subject["zhangsan"], "act": map[string]any{"sub": self}, "jti": "wat_x",
		"sub_id": map[string]any{"format": "iss_sub", "iss": s.issuer(), "sub": s.subject["zhangsan"]},
		"iat":    s.clock.now().Unix(), "exp": s.clock.now().Add(time.Minute).Unix(),
	}
	for k, v := range changes {
		claims[k] = v
	}
	token, err := jwt.Sign(key, typ, claims)
	must(s.t, err)
	return token
}

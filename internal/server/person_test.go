package server_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/callback"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// person is a browser with cookies, and somebody in front of it.
type person struct {
	w    *world
	t    testing.TB
	who  string
	http *http.Client
}

// person returns a browser in which nobody is logged in anywhere.
func (w *world) person(who string) *person {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	must(w.t, err)
	return &person{w, w.t, who, &http.Client{Jar: jar, CheckRedirect: noRedirects.CheckRedirect}}
}

// at makes an address of a path of Deputy's; other addresses stay.
func (p *person) at(target string) string {
	if strings.HasPrefix(target, "/") {
		return p.w.url + target
	}
	return target
}

func (p *person) get(target string) answer {
	p.t.Helper()
	return send(p.t, p.http, "GET", p.at(target), nil, nil)
}

// look asks without a click.
func (p *person) look(method, target string, header http.Header) answer {
	p.t.Helper()
	return send(p.t, p.http, method, p.at(target), nil, header)
}

func (p *person) post(target string, form url.Values) answer {
	p.t.Helper()
	return send(p.t, p.http, "POST", p.at(target), strings.NewReader(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}

var (
	wholeForm = regexp.MustCompile(`(?s)<form [^>]*?method="post" action="([^"]+)">(.*?)</form>`)
	hidden    = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
)

// fill returns where the page's form with an input or button called field goes,
// and what it sends with the given values.
func (p *person) fill(shown answer, field string, values ...string) (string, url.Values) {
	p.t.Helper()
	for _, f := range wholeForm.FindAllStringSubmatch(shown.body, -1) {
		if !strings.Contains(f[2], `name="`+field+`"`) {
			continue
		}
		form := url.Values{}
		for _, h := range hidden.FindAllStringSubmatch(f[2], -1) {
			form.Set(h[1], html.UnescapeString(h[2]))
		}
		for i := 0; i < len(values); i += 2 {
			form.Set(values[i], values[i+1])
		}
		return html.UnescapeString(f[1]), form
	}
	p.t.Fatalf("status %d, no form with %q (Location %q):\n%s", shown.status, field, shown.header.Get("Location"), shown.body)
	return "", nil
}

// logIn logs in to the pool by its page.
func (p *person) logIn() *person {
	p.t.Helper()
	action, form := p.fill(p.get("/userpool/people/login"), "username", "username", p.who, "password", password)
	if in := p.post(action, form); in.status != http.StatusOK || !strings.Contains(in.body, "logged in") {
		p.t.Fatalf("login: %d\n%s", in.status, in.body)
	}
	return p
}

// location returns where an answer redirects to.
func (p *person) location(a answer) string {
	p.t.Helper()
	to := a.header.Get("Location")
	if a.status/100 != 3 || to == "" {
		p.t.Fatalf("status %d instead of a redirect:\n%s", a.status, a.body)
	}
	return to
}

// begin opens a link and returns the third party's address that it leads to.
func (p *person) begin(link string) string {
	p.t.Helper()
	to := p.location(p.get(link))
	if !strings.HasPrefix(to, p.w.party.URL+feishu.AuthorizePath+"?") {
		p.t.Fatalf("the link leads to %s", to)
	}
	return to
}

// decide answers Feishu's page as the account of this person and returns the
// address of Deputy's that Feishu sends the browser back to.
func (p *person) decide(authorizeURL, decision string) string {
	p.t.Helper()
	party := func(action string) string { return p.w.party.URL + action }
	shown := p.get(authorizeURL)
	if strings.Contains(shown.body, `name="password"`) {
		action, form := p.fill(shown, "password", "username", p.who, "password", "sandbox")
		shown = p.get(party(p.location(p.post(party(action), form))))
	}
	action, form := p.fill(shown, "decision", "decision", decision)
	to := p.location(p.post(party(action), form))
	if at, _, _ := strings.Cut(to, "?"); !strings.HasPrefix(at, p.w.url+callback.Path) {
		p.t.Fatalf("Feishu sends people to %s", to)
	}
	return to
}

// authorize goes the whole way from a link to its result.
func (p *person) authorize(link string) answer {
	p.t.Helper()
	return p.finish(p.decide(p.begin(link), "allow"))
}

// finish opens a callback, and the page that tells the result.
func (p *person) finish(callbackURL string) answer {
	p.t.Helper()
	return p.get(p.location(p.get(callbackURL)))
}

// delegate answers Deputy's own page behind a link.
func (p *person) delegate(link, decision string) answer {
	p.t.Helper()
	shown := p.get(link)
	if shown.status != http.StatusOK {
		p.t.Fatalf("the link shows %d (Location %q)\n%s", shown.status, shown.header.Get("Location"), shown.body)
	}
	action, form := p.fill(shown, "decision", "decision", decision)
	return p.get(p.location(p.post(action, form)))
}

// askOpenID is an authorization request of the world's client.
func (w *world) askOpenID(changes ...string) string {
	q := url.Values{"client_id": {w.client}, "redirect_uri": {clientURL}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"s1"}}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
	}
	return "/userpool/people/authorize?" + q.Encode()
}

// code gets an authorization code for the world's client.
func (p *person) code() string {
	p.t.Helper()
	shown := p.get(p.w.askOpenID())
	if shown.status == http.StatusOK {
		action, form := p.fill(shown, "decision", "decision", "allow")
		shown = p.post(action, form)
	}
	to, err := url.Parse(p.location(shown))
	must(p.t, err)
	return to.Query().Get("code")
}

// accessToken logs the person in to the world's client.
func (p *person) accessToken() string {
	p.t.Helper()
	a := p.post("/userpool/people/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {p.code()}, "redirect_uri": {clientURL}, "client_id": {p.w.client}, "client_secret": {p.w.secret},
	})
	var got struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.AccessToken == "" {
		p.t.Fatalf("token: %d %s", a.status, a.body)
	}
	return got.AccessToken
}

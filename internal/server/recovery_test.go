package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/mail/mailtest"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

const fresh = "another horse, 另一个 staple"

// mailed is a world with an SMTP server, whose pool offers recovery and sign-up,
// and where zhangsan has an address.
type mailed struct {
	*world
	post *mailtest.Server
}

func newMailed(t *testing.T, database secret.Text) mailed {
	t.Helper()
	post := mailtest.New(t, false, nil)
	w := newWorld(t, func(c *server.Config) {
		c.SMTPURL, c.MailFrom, c.Database = "smtp://"+post.Address, "id@example.com", database
	})
	m := mailed{w, post}
	m.change("/user-pools/people", `{"settings":{"recovery":true,"signUp":true}}`)
	m.change("/user-pools/people/users/"+w.subject["zhangsan"], `{"email":"Zhang@example.com"}`)
	return m
}

func (m mailed) change(path, body string) {
	m.t.Helper()
	if a := m.api("PATCH", path, m.operator, body); a.status != http.StatusOK {
		m.t.Fatalf("PATCH %s: %d %s", path, a.status, a.body)
	}
}

// ask asks for a letter on one of the two pages.
func (p *person) askFor(page, email string) answer {
	p.t.Helper()
	action, form := p.fill(p.get("/userpool/people"+page), "email", "email", email)
	return p.post(action, form)
}

var letterLink = regexp.MustCompile(`http://\S+/userpool/people(/\S+)`)

// link returns the path of the first link in a letter.
func link(t *testing.T, l mailtest.Letter) string {
	t.Helper()
	found := letterLink.FindStringSubmatch(l.Text)
	if found == nil {
		t.Fatalf("the letter has no link:\n%s", l.Text)
	}
	return "/userpool/people" + found[1]
}

// settled waits for the audit log's n-th word on letters.
func (m mailed) settled(n int) audit.Entry {
	m.t.Helper()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		if all := m.entries(url.Values{"action": {"letter.settle"}}); len(all) >= n {
			return all[n-1]
		}
		select {
		case <-tick.C:
		case <-late:
			m.t.Fatalf("there are not %d letters", n)
		}
	}
}

func onBoth(t *testing.T, test func(t *testing.T, m mailed)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newMailed(t, secret.Text{})) })
	t.Run("postgres", func(t *testing.T) { test(t, newMailed(t, secret.FromString(storetest.Postgres(t).URL(t)))) })
}

func TestPasswordIsReset(t *testing.T) {
	onBoth(t, func(t *testing.T, m mailed) {
		inside, outside := m.person("zhangsan").logIn(), m.person("zhangsan")
		if shown := outside.get("/userpool/people/login"); !strings.Contains(shown.body, "Forgot your password?") || !strings.Contains(shown.body, "Create an account") {
			t.Errorf("the login page offers no way back:\n%s", shown.body)
		}
		if a := outside.askFor("/recover", "zhang@EXAMPLE.com"); a.status != http.StatusOK {
			t.Fatalf("%d\n%s", a.status, a.body)
		}
		letter := m.post.Next(t)
		if letter.To[0] != "Zhang@example.com" || !strings.Contains(letter.Text, "zhangsan") || !strings.Contains(letter.Subject, "设置新密码") || !strings.Contains(letter.Text, "30 分钟") {
			t.Errorf("the letter is %+v", letter)
		}
		to := link(t, letter)
		for _, method := range []string{"GET", "HEAD", "GET"} { // scanners, previews, curiosity
			if a := outside.look(method, to, nil); a.status != http.StatusOK {
				t.Fatalf("%s: %d", method, a.status)
			}
		}
		action, form := outside.fill(outside.get(to), "repeated", "password", "short", "repeated", "short")
		if a := outside.post(action, form); a.status != http.StatusBadRequest || !strings.Contains(a.body, "too short") {
			t.Errorf("a short password: %d\n%s", a.status, a.body)
		}
		form.Set("password", fresh)
		if a := outside.post(action, form); a.status != http.StatusBadRequest || !strings.Contains(a.body, "not the same") {
			t.Errorf("two passwords: %d\n%s", a.status, a.body)
		}
		form.Set("repeated", fresh)
		if a := send(t, outside.http, "POST", m.url+action, strings.NewReader(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"cross-site"}}); a.status != http.StatusForbidden {
			t.Errorf("another site's form: %d", a.status)
		}
		if a := m.person("lisi").post(action, form); a.status != http.StatusForbidden {
			t.Errorf("another browser's form: %d", a.status)
		}
		if a := outside.post(action, form); a.status != http.StatusOK || !strings.Contains(a.body, "new password is set") {
			t.Fatalf("%d\n%s", a.status, a.body)
		}
		for what, a := range map[string]answer{"the form again": outside.post(action, form), "the link again": outside.get(to)} {
			if a.status != http.StatusGone || !strings.Contains(a.body, "proof_used") {
				t.Errorf("%s: %d\n%s", what, a.status, a.body)
			}
		}
		m.afterReset(t, inside)
	})
}

// afterReset checks that the old password and the old session are worth nothing,
// and that nothing secret was written anywhere.
func (m mailed) afterReset(t *testing.T, inside *person) {
	t.Helper()
	if a := inside.get("/userpool/people/authorize?" + url.Values{
		"client_id": {m.client}, "redirect_uri": {clientURL}, "response_type": {"code"}, "scope": {"openid"}, "prompt": {"none"}, "state": {"s"},
		"code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
	}.Encode()); !strings.Contains(a.header.Get("Location"), "login_required") {
		t.Errorf("the session from before: %d %s", a.status, a.header.Get("Location"))
	}
	for typed, want := range map[string]int{password: http.StatusForbidden, fresh: http.StatusOK} {
		p := m.person("zhangsan")
		action, form := p.fill(p.get("/userpool/people/login"), "username", "username", "zhangsan", "password", typed)
		if a := p.post(action, form); a.status != want {
			t.Errorf("login with %q: %d, want %d", typed, a.status, want)
		}
	}
	user := m.api("GET", "/user-pools/people/users/"+m.subject["zhangsan"], m.operator, "")
	if !strings.Contains(user.body, `"emailVerified":true`) {
		t.Errorf("the address is not proven: %s", user.body)
	}
	written := m.log.String() + m.api("GET", "/audit?limit=1000", m.operator, "").body
	if strings.Contains(written, "pf_") || strings.Contains(strings.ToLower(written), "zhang@example.com") {
		t.Error("a token or an address was written to a log")
	}
}

func TestNobodyIsToldWhoHasAnAccount(t *testing.T) {
	m := newMailed(t, secret.Text{})
	for _, page := range []string{"/recover", "/signup"} {
		known, unknown := m.person("x").askFor(page, "Zhang@example.com"), m.person("x").askFor(page, "nobody@example.com")
		if known.status != unknown.status || neutral(known.body, "Zhang@example.com") != neutral(unknown.body, "nobody@example.com") {
			t.Errorf("%s tells them apart:\n%s\n%s", page, known.body, unknown.body)
		}
	}
	m.settled(4)
	posted, kinds := m.entries(url.Values{"action": {"letter.post"}}), map[string]int{}
	for _, e := range posted {
		kinds[e.Detail["kind"]]++
	}
	if len(posted) != 4 || kinds["reset"] != 2 || kinds["signup"] != 2 {
		t.Errorf("what was recorded differs: %v", posted)
	}
	texts := ""
	for range 3 { // nobody's reset is dropped
		texts += m.post.Next(t).Text
	}
	if !strings.Contains(texts, "It has one already") || strings.Count(texts, "finish-signup?token=") != 2 || strings.Count(texts, "reset-password?token=") != 2 {
		t.Errorf("the letters are\n%s", texts) // each link is there twice, once for each language
	}
	if m.post.Waiting() != 0 {
		t.Error("more letters came")
	}
}

var changing = regexp.MustCompile(`req_\w+`)

// neutral is a page without what differs from request to request.
func neutral(body, email string) string {
	return changing.ReplaceAllString(strings.ReplaceAll(body, email, "…"), "")
}

func TestSignUp(t *testing.T) {
	onBoth(t, func(t *testing.T, m mailed) {
		wang := m.person("wang")
		wang.askFor("/signup", "wang@example.com")
		to := link(t, m.post.Next(t))
		action, form := wang.fill(wang.get(to), "username", "username", "ZhangSan", "displayname", "王五", "password", fresh, "repeated", fresh)
		for what, c := range map[string]struct{ field, value, say string }{
			"taken": {"username", "ZhangSan", "name is taken"}, "bad name": {"username", "wang <w>", "cannot be used"}, "bad title": {"displayname", "a\u202eb", "cannot be used"},
		} {
			changed := url.Values{}
			for k, v := range form {
				changed[k] = v
			}
			if what != "taken" {
				changed.Set("username", "wang")
			}
			changed.Set(c.field, c.value)
			if a := wang.post(action, changed); a.status != http.StatusBadRequest || !strings.Contains(a.body, c.say) {
				t.Errorf("%s: %d\n%s", what, a.status, a.body)
			}
		}
		form.Set("username", "wang")
		if a := wang.post(action, form); a.status != http.StatusOK || !strings.Contains(a.body, "Your account is ready") {
			t.Fatalf("%d\n%s", a.status, a.body)
		}
		if a := wang.post(action, form); a.status != http.StatusGone {
			t.Errorf("twice: %d", a.status)
		}
		action, form = wang.fill(wang.get("/userpool/people/login"), "username", "username", "wang", "password", fresh)
		if a := wang.post(action, form); a.status != http.StatusOK || !strings.Contains(a.body, "王五") {
			t.Errorf("login: %d\n%s", a.status, a.body)
		}
	})
}

func TestLinksAreGoodForOneThing(t *testing.T) {
	m := newMailed(t, secret.Text{})
	m.make("/user-pools", `{"name":"guests","settings":{"recovery":true,"signUp":true}}`, nil)
	p := m.person("x")
	p.askFor("/recover", "zhang@example.com")
	to := link(t, m.post.Next(t))
	token := to[strings.Index(to, "?"):]
	gone := func(what, path string) {
		t.Helper()
		if a := p.get(path); a.status != http.StatusGone {
			t.Errorf("%s: %d", what, a.status)
		}
	}
	gone("another pool", "/userpool/guests/reset-password"+token)
	gone("another purpose", "/userpool/people/verify-email"+token)
	gone("another purpose", "/userpool/people/finish-signup"+token)
	gone("no token", "/userpool/people/reset-password")
	gone("half a token", to[:len(to)-1])
	action, form := p.fill(p.get(to), "repeated", "password", fresh, "repeated", fresh)

	p.askFor("/recover", "zhang@example.com")
	second := link(t, m.post.Next(t))
	gone("replaced by a newer one", to)
	if a := p.post(action, form); a.status != http.StatusGone {
		t.Errorf("replaced by a newer one, by POST: %d", a.status)
	}
	m.change("/user-pools/people/users/"+m.subject["zhangsan"], `{"email":"zhang@example.org"}`)
	gone("the address changed", second)
	if l := m.post.Next(t); l.To[0] != "Zhang@example.com" || !strings.Contains(l.Text, "no longer the e-mail address of the account zhangsan") {
		t.Errorf("the letter to the former address is %+v", l)
	}
	p.askFor("/recover", "zhang@example.org")
	third := link(t, m.post.Next(t))
	if a := p.get(third); a.status != http.StatusOK {
		t.Errorf("a link to the new address: %d", a.status)
	}
	m.clock.pass(31 * time.Minute)
	gone("too late", third)
}

func TestFlood(t *testing.T) {
	m := newMailed(t, secret.Text{})
	p, refused := m.person("x"), 0
	for i := range 30 {
		email := "zhang@example.com"
		if i >= 6 {
			email = fmt.Sprintf("nobody%d@example.com", i)
		}
		if p.askFor("/recover", email).status == http.StatusTooManyRequests {
			refused++
		}
	}
	if n := len(m.entries(url.Values{"action": {"letter.post"}})); refused != 10 || n != 17 { // 20 for the network, 3 of 6 for the address
		t.Errorf("%d were refused, %d letters posted", refused, n)
	}
	m.settled(17)
	if n := m.post.Waiting(); n != 3 {
		t.Errorf("%d letters came", n)
	}
	for _, email := range []string{"zhang@example.com\r\nBcc: all@example.com", "a@example.com,b@example.com", "", "zhang", strings.Repeat("x", 300) + "@example.com"} {
		if a := p.askFor("/recover", email); a.status != http.StatusBadRequest {
			t.Errorf("%.60q: %d", email, a.status)
		}
	}
}

func TestWithoutMailNothingIsOffered(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.api("PATCH", "/user-pools/people", w.operator, `{"settings":{"recovery":true,"signUp":true}}`); !strings.Contains(a.body, `"mail":false`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	p := w.person("zhangsan")
	if a := p.get("/userpool/people/login"); strings.Contains(a.body, "Forgot") || strings.Contains(a.body, "Create") {
		t.Errorf("the login page promises:\n%s", a.body)
	}
	for _, path := range []string{"/recover", "/signup", "/reset-password?token=x", "/finish-signup?token=x", "/verify-email?token=x", "/verify-email"} {
		if a := p.get("/userpool/people" + path); a.status != http.StatusNotFound || !strings.Contains(a.body, "recovery_off") {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

func TestAddressIsVerified(t *testing.T) {
	m := newMailed(t, secret.Text{})
	p := m.person("zhangsan").logIn()
	shown := p.get("/userpool/people/verify-email")
	action, form := p.fill(shown, "csrf")
	if a := p.post(action, form); a.status != http.StatusOK {
		t.Fatalf("%d\n%s", a.status, a.body)
	}
	to := link(t, m.post.Next(t))
	other := m.person("x")
	action, form = other.fill(other.get(to), "token")
	if a := other.post(action, form); a.status != http.StatusOK || !strings.Contains(a.body, "is confirmed") {
		t.Errorf("%d\n%s", a.status, a.body)
	}
	if a := p.get("/userpool/people/verify-email"); !strings.Contains(a.body, "is confirmed") {
		t.Errorf("%d\n%s", a.status, a.body)
	}
}

func TestLook(t *testing.T) {
	w := newWorld(t, nil)
	w.api("PATCH", "/user-pools/people", w.operator, `{"settings":{"color":"#0b6e4f"}}`)
	const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	if a := w.api("PUT", "/user-pools/people/logo", w.operator, `{"image":"`+dot+`"}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	p := w.person("x")
	page := p.get("/userpool/people/login").body
	for file, want := range map[string]string{"style.css": "text/css; charset=utf-8", "logo": "image/png"} {
		path := regexp.MustCompile(`/userpool/people/look/[0-9a-f]+/` + file).FindString(page)
		a := p.get(path)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != want || a.header.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.Contains(a.header.Get("Cache-Control"), "immutable") || !strings.HasPrefix(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
		for _, wrong := range []string{strings.Replace(path, "/look/", "/look/0", 1), path + "x"} {
			if a := p.get(wrong); a.status != http.StatusNotFound || a.header.Get("Cache-Control") != "" {
				t.Errorf("%s: %d %v", wrong, a.status, a.header)
			}
		}
	}
}

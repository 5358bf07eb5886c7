package account_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// allow remembers that a user allowed the pool's client something, and begins tokens.
func (w *world) allow(pool, user string) userpool.Family {
	w.t.Helper()
	ctx := w.t.Context()
	scopes, err := name.ParseScopes("openid email docs:read")
	w.must(err)
	c := userpool.Consent{Pool: pool, UserID: user, ClientID: "cli_chat_" + pool, Scopes: scopes, GrantedAt: w.now()}
	w.must(w.stores.SetConsent(ctx, w.permit(userpool.ActionSetConsent, c.Resource()), c))
	code := userpool.Code{Hash: userpool.HashCode(userpool.NewCode()), ID: name.NewID("code"), Pool: pool, ClientID: c.ClientID, UserID: user, ExpiresAt: w.now().Add(time.Minute)}
	w.must(w.stores.CreateCode(ctx, w.permit(userpool.ActionCreateCode, code.Resource()), code))
	f := userpool.Family{ID: name.NewID("fam"), Pool: pool, ClientID: c.ClientID, UserID: user, CreatedAt: w.now(), ExpiresAt: w.now().Add(time.Hour)}
	w.must(w.stores.RedeemCode(ctx, w.permit(userpool.ActionRedeemCode, code.Resource()), pool, code.ID, w.now(), userpool.Beginning{Family: f}))
	return f
}

// visitor is a browser.
type visitor struct {
	w      *world
	client *http.Client
}

func (w *world) visitor(agent string) visitor {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	return visitor{w, &http.Client{Jar: jar, Transport: named(agent), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// named is a transport that says which browser it is.
type named string

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", string(n))
	return http.DefaultTransport.RoundTrip(r)
}

// do returns the status, the Location and the body.
func (v visitor) do(method, path string, form url.Values) (int, string, string) {
	v.w.t.Helper()
	r, err := http.NewRequestWithContext(v.w.t.Context(), method, v.w.url+path, strings.NewReader(form.Encode()))
	v.w.must(err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := v.client.Do(r)
	v.w.must(err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	v.w.must(err)
	return answer.StatusCode, answer.Header.Get("Location"), string(body)
}

var (
	pageForm = regexp.MustCompile(`(?s)<form method="post" action="([^"]+)">(.*?)</form>`)
)

// action is a form of a page.
type action struct {
	path string
	form url.Values
}

// actions returns the forms of a page that lead to a path.
func actions(body, path string) []action {
	var list []action
	for _, m := range pageForm.FindAllStringSubmatch(body, -1) {
		if !strings.HasSuffix(m[1], path) {
			continue
		}
		a := action{html.UnescapeString(m[1]), url.Values{}}
		for _, h := range hidden.FindAllStringSubmatch(m[2], -1) {
			a.form.Set(h[1], html.UnescapeString(h[2]))
		}
		list = append(list, a)
	}
	return list
}

func (v visitor) logIn(pool, user string) {
	v.w.t.Helper()
	_, _, body := v.do("GET", "/userpool/"+pool+"/login", nil)
	form := actions(body, "/login")[0].form
	form.Set("username", user)
	form.Set("password", password)
	if status, _, body := v.do("POST", "/userpool/"+pool+"/login", form); status != http.StatusOK {
		v.w.t.Fatalf("login: %d\n%s", status, body)
	}
}

// page returns the account page.
func (v visitor) page(pool string) string {
	v.w.t.Helper()
	status, _, body := v.do("GET", "/userpool/"+pool+"/account", nil)
	if status != http.StatusOK {
		v.w.t.Fatalf("%d\n%s", status, body)
	}
	return body
}

func (v visitor) loggedIn(pool string) bool {
	v.w.t.Helper()
	status, _, _ := v.do("GET", "/userpool/"+pool+"/account", nil)
	return status == http.StatusOK
}

func TestAPersonSeesHimself(t *testing.T) {
	w := newWorld(t)
	v := w.visitor("Lynx/2.9")
	status, to, _ := v.do("GET", "/userpool/staff/account?lang=en", nil)
	if status != http.StatusSeeOther || !strings.HasPrefix(to, "/userpool/staff/login?return=") {
		t.Errorf("not sent to log in: %d %s", status, to)
	}
	v.logIn("staff", "zhang")
	w.allow("staff", "usr_zhang_staff")
	w.allow("staff", "usr_li_staff")
	body := v.page("staff")
	for _, want := range []string{"用户 zhang", "zhang@example.com", "Lynx/2.9", "127.0.0.1", "this browser", "chat", "See your e-mail address (email)", "docs:read"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "li@example.com") || len(actions(body, "/revoke")) != 1 || len(actions(body, "/end")) != 0 {
		t.Errorf("the page has too much:\n%s", body)
	}
	if _, _, chinese := v.do("GET", "/userpool/staff/account?lang=zh", nil); !strings.Contains(chinese, "你的账户") || strings.Contains(chinese, "Where you are") {
		t.Error("the Chinese page is not Chinese")
	}
}

func TestSessionsAreEnded(t *testing.T) {
	w := newWorld(t)
	var all []visitor
	for _, agent := range []string{"first", "second", "third", "fourth"} {
		v := w.visitor(agent)
		v.logIn("staff", "zhang")
		all = append(all, v)
	}
	li := w.visitor("li")
	li.logIn("staff", "li")
	here := all[3]
	ends := actions(here.page("staff"), "/end")
	if len(ends) != 3 {
		t.Fatalf("%d sessions to end", len(ends))
	}
	// The newest first: the one before this is the third.
	if status, to, _ := here.do("POST", ends[0].path, ends[0].form); status != http.StatusSeeOther || to != "/userpool/staff/account" {
		t.Errorf("%d %s", status, to)
	}
	alive := func(want ...bool) {
		t.Helper()
		var got []bool
		for _, v := range all {
			got = append(got, v.loggedIn("staff"))
		}
		if !slices.Equal(got, want) || !li.loggedIn("staff") {
			t.Errorf("logged in: %v, want %v; li %v", got, want, li.loggedIn("staff"))
		}
	}
	alive(true, true, false, true)
	here.do("POST", ends[0].path, ends[0].form) // it has ended already
	alive(true, true, false, true)
	others := actions(here.page("staff"), "/end-others")
	here.do("POST", others[0].path, others[0].form)
	alive(false, false, false, true)
	if len(actions(here.page("staff"), "/end-others")) != 0 {
		t.Error("there are others to end")
	}
}

// TestFormsOfOthers sends forms that were not made for this login, or changed.
func TestFormsOfOthers(t *testing.T) {
	w := newWorld(t)
	zhang, other, li := w.visitor("here"), w.visitor("there"), w.visitor("li")
	zhang.logIn("staff", "zhang")
	other.logIn("staff", "zhang")
	li.logIn("staff", "li")
	li.logIn("guests", "li")
	f, liF := w.allow("staff", "usr_zhang_staff"), w.allow("staff", "usr_li_staff")
	body := zhang.page("staff")
	end, endOthers, revoke := actions(body, "/end")[0], actions(body, "/end-others")[0], actions(body, "/revoke")[0]
	with := func(a action, changes ...string) action {
		form := url.Values{}
		for k, v := range a.form {
			form[k] = v
		}
		for i := 0; i < len(changes); i += 2 {
			form.Set(changes[i], changes[i+1])
		}
		return action{a.path, form}
	}
	liSessions, err := w.stores.SessionsOf(t.Context(), "staff", "usr_li_staff")
	w.must(err)
	for what, c := range map[string]struct {
		by visitor
		a  action
	}{
		"another user's":                  {li, end},
		"another user's, all":             {li, endOthers},
		"another user's application":      {li, revoke},
		"another session of his":          {other, endOthers},
		"without token":                   {zhang, with(end, "csrf", "")},
		"with another form's token":       {zhang, with(endOthers, "csrf", end.form.Get("csrf"))},
		"another session in the form":     {zhang, with(end, "session", liSessions[0].ID)},
		"another application in the form": {zhang, with(revoke, "client", "cli_chat_guests")},
		"in another pool":                 {li, action{strings.Replace(revoke.path, "staff", "guests", 1), revoke.form}},
	} {
		if status, _, _ := c.by.do("POST", c.a.path, c.a.form); status != http.StatusForbidden {
			t.Errorf("%s: %d", what, status)
		}
	}
	if status, to, _ := w.visitor("nobody").do("POST", endOthers.path, endOthers.form); status != http.StatusSeeOther || !strings.Contains(to, "/login?") {
		t.Errorf("by nobody: %d %s", status, to)
	}
	if !zhang.loggedIn("staff") || !other.loggedIn("staff") || !li.loggedIn("staff") {
		t.Error("a session has ended")
	}
	for _, family := range []userpool.Family{f, liF} {
		if got, err := w.stores.Family(t.Context(), "staff", family.ID); err != nil || !got.EndedAt.IsZero() {
			t.Errorf("tokens have ended: %+v, %v", got, err)
		}
	}
	if zhang.loggedIn("guests") {
		t.Error("logged in to another pool")
	}
}

// TestAnApplicationIsRevoked looks for its consent and tokens afterwards.
func TestAnApplicationIsRevoked(t *testing.T) {
	w := newWorld(t)
	v := w.visitor("here")
	v.logIn("staff", "zhang")
	f, other := w.allow("staff", "usr_zhang_staff"), w.allow("staff", "usr_li_staff")
	revoke := actions(v.page("staff"), "/revoke")[0]
	for range 2 { // a second click is no error
		if status, to, _ := v.do("POST", revoke.path, revoke.form); status != http.StatusSeeOther || to != "/userpool/staff/account" {
			t.Errorf("%d %s", status, to)
		}
	}
	if body := v.page("staff"); !strings.Contains(body, "None so far.") {
		t.Errorf("it is still there:\n%s", body)
	}
	if got, err := w.stores.Family(t.Context(), "staff", f.ID); err != nil || got.Ending != userpool.EndedByUser {
		t.Errorf("its tokens: %+v, %v", got, err)
	}
	if got, err := w.stores.Family(t.Context(), "staff", other.ID); err != nil || !got.EndedAt.IsZero() {
		t.Errorf("another user's tokens: %+v, %v", got, err)
	}
}

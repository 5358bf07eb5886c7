package federation_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/visitor"
)

const password = "correct horse battery staple"

// user makes a user with a password, and returns a browser that he is logged in with.
func (w *world) user(userName string) *visitor.Visitor {
	w.t.Helper()
	w.api(http.MethodPost, base+"/staff/users", map[string]any{"userName": userName, "password": password}, http.StatusCreated)
	v := w.browser()
	w.logIn(v, userName)
	return v
}

func (w *world) logIn(v *visitor.Visitor, userName string) {
	w.t.Helper()
	page, err := v.Get(w.t.Context(), w.URL+"/userpool/staff/login", nil)
	w.must(err)
	form, err := page.Find("username", "password")
	w.must(err)
	page, err = v.Submit(w.t.Context(), page, form, url.Values{"username": {userName}, "password": {password}}, "", "", nil)
	w.must(err)
	if !strings.Contains(page.Body, userName) {
		w.t.Fatalf("%s is not logged in: %d %s", userName, page.Status, page.Body)
	}
}

// press submits the form with those fields on the account page.
func (w *world) press(v *visitor.Visitor, on func(*url.URL) bool, fields ...string) visitor.Page {
	w.t.Helper()
	page, err := v.Get(w.t.Context(), w.URL+"/userpool/staff/account", nil)
	w.must(err)
	form, err := page.Find(fields...)
	w.must(err)
	page, err = v.Submit(w.t.Context(), page, form, nil, "", "", on)
	w.must(err)
	return page
}

func (w *world) link(v *visitor.Visitor) visitor.Page {
	w.t.Helper()
	return w.press(v, nil, "idp")
}

func (w *world) unlink(v *visitor.Visitor) visitor.Page {
	w.t.Helper()
	return w.press(v, nil, "issuer", "subject")
}

// becomes logs somebody in at the upstream, in a new browser, who is then that user.
func (w *world) becomes(userName string) {
	w.t.Helper()
	v := w.browser()
	w.open(v, w.begin("staff"), http.StatusOK, "张三")
	w.open(v, w.URL+"/userpool/staff/account", http.StatusOK, "用户名："+userName)
}

func TestLinkingAnAccount(t *testing.T) {
	w, _ := newOIDCWorld(t, map[string]any{"createUsers": false, "title": "Corp"})
	w.open(w.browser(), w.begin("staff"), http.StatusForbidden, "idp_user_unknown")
	wang := w.user("wang")
	if page := w.link(wang); page.URL.Path != "/userpool/staff/account" || !strings.Contains(page.Body, "张三") || !strings.Contains(page.Body, "/account/links/remove") {
		t.Errorf("after linking: %d %s\n%s", page.Status, page.URL, page.Body)
	}
	// From now on the account is a way in.
	w.becomes("wang")
	w.open(w.browser(), w.begin("guests"), http.StatusForbidden, "idp_user_unknown") // in this pool

	// It is nobody else's to link, and stays where it is.
	zhao := w.user("zhao")
	if page := w.link(zhao); page.Status != http.StatusConflict || !strings.Contains(page.Body, "idp_link_exists") {
		t.Errorf("another user linked it: %d\n%s", page.Status, page.Body)
	}
	w.becomes("wang")

	if page := w.unlink(wang); page.Status != http.StatusOK || strings.Contains(page.Body, "/account/links/remove") {
		t.Errorf("after unlinking: %d\n%s", page.Status, page.Body)
	}
	w.open(w.browser(), w.begin("staff"), http.StatusForbidden, "idp_user_unknown")
	w.link(zhao)
	w.becomes("zhao")
}

func TestTheOnlyWayInStays(t *testing.T) {
	w, _ := newOIDCWorld(t, nil)
	v := w.browser()
	w.open(v, w.begin("staff"), http.StatusOK, "张三")
	if page := w.unlink(v); page.Status != http.StatusConflict || !strings.Contains(page.Body, "idp_only_way") {
		t.Errorf("unlinked: %d\n%s", page.Status, page.Body)
	}
	id := w.users()[0].(map[string]any)["id"].(string)
	w.api(http.MethodPut, base+"/staff/users/"+id+"/password", map[string]any{"password": password}, http.StatusNoContent)
	v = w.browser()
	w.open(v, w.begin("staff"), http.StatusOK, "张三")
	if page := w.unlink(v); page.Status != http.StatusOK {
		t.Errorf("with a password it was not unlinked: %d\n%s", page.Status, page.Body)
	}
}

// away stops where the upstream sends a browser back.
func away(next *url.URL) bool { return !strings.HasSuffix(next.Path, "/callback") }

// back returns the address to which the upstream sends a browser back.
func (w *world) back(page visitor.Page) string {
	w.t.Helper()
	hop, ok := page.Toward(w.URL + "/userpool/staff/login/corp/callback")
	if !ok {
		w.t.Fatalf("nobody was sent back: %d %s", page.Status, page.URL)
	}
	return hop.Location.String()
}

func (w *world) query(address string) url.Values {
	w.t.Helper()
	u, err := url.Parse(address)
	w.must(err)
	return u.Query()
}

// TestHostileLinks has everybody but the person in his session bring the answer back.
func TestHostileLinks(t *testing.T) {
	w, u := newOIDCWorld(t, map[string]any{"createUsers": false})
	wang := w.user("wang")
	first := w.back(w.press(wang, away, "idp"))
	w.open(w.browser(), first, http.StatusGone, "idp_login_gone")    // in a browser without login
	w.open(w.user("zhao"), first, http.StatusGone, "idp_login_gone") // in another's browser
	// In the same browser, where another person has logged in meanwhile.
	w.api(http.MethodPost, base+"/staff/users", map[string]any{"userName": "qian", "password": password}, http.StatusCreated)
	_, err := wang.Get(t.Context(), w.URL+"/userpool/staff/logout", nil)
	w.must(err)
	w.logIn(wang, "qian")
	w.open(wang, first, http.StatusGone, "idp_login_gone")
	w.open(w.browser(), w.begin("staff"), http.StatusForbidden, "idp_user_unknown") // nobody has it

	// A form that the page did not make.
	for _, path := range []string{"/account/links/begin", "/account/links/remove"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/userpool/staff"+path, strings.NewReader("idp=corp&provider=x&issuer=y&subject=z"))
		w.must(err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := wang.HTTP.Do(r)
		w.must(err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s without a token: %d", path, resp.StatusCode)
		}
	}
	// An answer that cannot be trusted links nothing.
	u.mu.Lock()
	u.claims = func(c map[string]any) { c["nonce"] = "another" }
	u.mu.Unlock()
	if page := w.link(wang); page.Status != http.StatusBadGateway {
		t.Errorf("a replayed ID token: %d", page.Status)
	}
	u.mu.Lock()
	u.claims = nil
	u.mu.Unlock()
	w.open(w.browser(), w.begin("staff"), http.StatusForbidden, "idp_user_unknown")
}

// TestFlowsAreNotEachOther brings the answer to a login back as if it were to a
// link, and the other way round, in the browser in which both were begun.
func TestFlowsAreNotEachOther(t *testing.T) {
	w, _ := newOIDCWorld(t, map[string]any{"createUsers": false})
	wang := w.user("wang")
	linked := func(v *visitor.Visitor) bool {
		t.Helper()
		page, err := v.Get(t.Context(), w.URL+"/userpool/staff/account", nil)
		w.must(err)
		_, err = page.Find("issuer", "subject")
		return err == nil
	}
	// A login that comes back to somebody who is logged in gives him nothing.
	page, err := wang.Get(t.Context(), w.begin("staff"), away)
	w.must(err)
	w.open(wang, w.back(page), http.StatusForbidden, "idp_user_unknown")
	// Another person's code in his link: the ID token was made for another login.
	stranger := w.browser()
	page, err = stranger.Get(t.Context(), w.begin("staff"), away)
	w.must(err)
	code := w.query(w.back(page)).Get("code")
	mine := w.back(w.press(wang, away, "idp"))
	swapped := w.query(mine)
	swapped.Set("code", code)
	w.open(wang, w.URL+"/userpool/staff/login/corp/callback?"+swapped.Encode(), http.StatusBadGateway, "idp_answer_invalid")
	w.open(wang, mine, http.StatusGone, "idp_login_gone") // any answer uses it up
	if linked(wang) {
		t.Fatal("an account was linked that he did not prove")
	}
	// A link that comes back when nobody is logged in any more logs nobody in.
	left := w.back(w.press(wang, away, "idp"))
	page, err = wang.Get(t.Context(), w.URL+"/userpool/staff/logout", nil)
	w.must(err)
	form, err := page.Find("request", "decision")
	w.must(err)
	_, err = wang.Submit(t.Context(), page, form, nil, "decision", "allow", nil)
	w.must(err)
	w.open(wang, left, http.StatusGone, "idp_login_gone")
	w.open(wang, w.URL+"/userpool/staff/account", http.StatusOK, `name="username"`)
	// The person himself comes back to it, in a new session: begun in another, it links nothing.
	w.logIn(wang, "wang")
	w.open(wang, left, http.StatusGone, "idp_login_gone")
	if linked(wang) {
		t.Fatal("a link of an ended session was finished")
	}
	done := w.back(w.press(wang, away, "idp"))
	w.open(wang, done, http.StatusOK, "/account/links/remove")
	w.open(wang, done, http.StatusGone, "idp_login_gone")
}

// TestACancelledLink leads back to where it was begun, in words about a link.
func TestACancelledLink(t *testing.T) {
	w, u := newOIDCWorld(t, nil)
	u.params = func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }
	page := w.link(w.user("wang"))
	if page.Status != http.StatusForbidden || !strings.Contains(page.Body, "账号未关联") || !strings.Contains(page.Body, `href="/userpool/staff/account"`) {
		t.Errorf("%d\n%s", page.Status, page.Body)
	}
	returnTo := "/userpool/staff/account/security"
	w.open(w.browser(), w.begin("staff")+"?return="+url.QueryEscape(returnTo), http.StatusForbidden, `href="/userpool/staff/login?return=`+url.QueryEscape(returnTo)+`"`)
}

func TestLinksAreAudited(t *testing.T) {
	w, _ := newOIDCWorld(t, map[string]any{"createUsers": false})
	wang, zhao := w.user("wang"), w.user("zhao")
	left := w.back(w.press(wang, away, "idp"))
	w.open(zhao, left, http.StatusGone, "idp_login_gone")
	w.link(wang)
	w.link(zhao)
	w.unlink(wang)
	var got []string
	for _, action := range []string{"idp.link", "idp.unlink"} {
		records, _ := w.api(http.MethodGet, "/api/v1/audit?action="+action, nil, http.StatusOK)["items"].([]any)
		for _, r := range records {
			e := r.(map[string]any)["entry"].(map[string]any)
			reason, _ := e["reason"].(string)
			detail, _ := e["detail"].(map[string]any)
			subject, _ := detail["subject"].(string)
			got = append(got, strings.TrimSpace(action+" "+e["outcome"].(string)+" "+subject+" "+reason))
		}
	}
	want := []string{"idp.link allowed up_1 deputy itself", "idp.link refused up_1 the account is another user's", "idp.unlink allowed up_1 person about himself"}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q\nwant     %q", got, want)
	}
}

func TestUpstreamLogout(t *testing.T) {
	for _, on := range []bool{true, false} {
		w, u := newOIDCWorld(t, map[string]any{"upstreamLogout": on})
		client := w.api(http.MethodPost, base+"/staff/clients", map[string]any{
			"name": "chat", "redirectUris": []string{"http://127.0.0.1:1/cb"}, "postLogoutRedirectUris": []string{"http://127.0.0.1:1/bye"},
		}, http.StatusCreated)
		ask := "/userpool/staff/logout?client_id=" + client["id"].(string) + "&post_logout_redirect_uri=" + url.QueryEscape("http://127.0.0.1:1/bye") + "&state=s1"
		home := func(next *url.URL) bool { return next.Host != "127.0.0.1:1" }
		logOut := func(v *visitor.Visitor) string {
			t.Helper()
			page, err := v.Get(t.Context(), w.URL+ask, nil)
			w.must(err)
			form, err := page.Find("request", "decision")
			w.must(err)
			if on && len(u.loggedOut) == 0 && !strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action 'self' http:") {
				t.Errorf("the browser would not follow: %s", page.Header.Get("Content-Security-Policy"))
			}
			page, err = v.Submit(t.Context(), page, form, nil, "decision", "allow", home)
			w.must(err)
			hop, ok := page.Toward("http://127.0.0.1:1/bye")
			if !ok {
				t.Fatalf("the application was not reached: %d %s", page.Status, page.URL)
			}
			return hop.Location.Query().Get("state")
		}
		v := w.browser()
		w.open(v, w.begin("staff"), http.StatusOK, "张三")
		if state := logOut(v); state != "s1" || slices.Equal(u.loggedOut, []string{"deputy"}) != on {
			t.Errorf("upstream logout %v: state %q, told %v", on, state, u.loggedOut)
		}
		// Who did not log in there has nothing to log out of there.
		u.loggedOut = nil
		if logOut(w.user("wang")); len(u.loggedOut) > 0 {
			t.Errorf("a login with a password was logged out upstream: %v", u.loggedOut)
		}
		// Whoever comes back without having been sent is told that he is logged out.
		w.open(w.browser(), w.URL+"/userpool/staff/logout/done", http.StatusOK, "/userpool/staff/login")
	}
	w, _ := newOIDCWorld(t, nil)
	w.api(http.MethodPost, base+"/staff/identity-providers", map[string]any{"name": "gh", "type": "github", "clientId": "c", "clientSecret": "s", "upstreamLogout": true}, http.StatusBadRequest)
}

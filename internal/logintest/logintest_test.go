package logintest_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/logintest"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
	"github.com/deputy-id/deputy/internal/visitor"
)

const password = "correct horse battery"

// world is a Deputy with the pool people and the user zhang in it, and the test
// application for a client of the pool.
type world struct {
	t      *testing.T
	api    *apiclient.Client
	url    string // of the application
	logins []logintest.Login
}

func newWorld(t *testing.T, edit func(*logintest.Config)) *world {
	t.Helper()
	deputy := servertest.Start(t, server.Config{Data: servertest.DataDir(t), Version: "test", Logger: slog.New(slog.DiscardHandler)})
	w := &world{t: t}
	token, err := apiclient.ReadToken(filepath.Join(deputy.Dir, "operator.token"))
	w.must(err)
	w.api, err = apiclient.New(apiclient.Config{URL: deputy.URL, Token: token})
	w.must(err)
	pool, err := w.api.CreateUserPool(t.Context(), "people", "Example", nil)
	w.must(err)
	_, err = w.api.CreateUser(t.Context(), "people", apiclient.NewUser{UserName: "zhang", Email: "zhang@example.com", Password: secret.FromString(password)})
	w.must(err)
	mux := http.NewServeMux()
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)
	w.url = app.URL
	client, _, err := w.api.CreateOAuthClient(t.Context(), "people", apiclient.ClientSettings{
		Name: "login-test", Type: "public", RedirectURIs: []string{app.URL + logintest.CallbackPath}, PostLogoutRedirectURIs: []string{app.URL + logintest.LoggedOutPath},
		Scopes: []string{"openid", "email"},
	})
	w.must(err)
	site, err := browser.NewSite(app.URL, "login-test")
	w.must(err)
	pages, err := browser.NewPages(site, slog.New(slog.DiscardHandler))
	w.must(err)
	c := logintest.Config{
		URL: app.URL, Issuer: pool.Issuer, ClientID: client.ID, Scopes: []string{"openid", "email"}, Done: func(l logintest.Login) { w.logins = append(w.logins, l) },
	}
	if edit != nil {
		edit(&c)
	}
	test, err := logintest.New(t.Context(), c, site, pages)
	w.must(err)
	test.Mount(mux)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) person() *visitor.Visitor {
	w.t.Helper()
	v, err := visitor.New()
	w.must(err)
	return v
}

// logIn goes to the application, logs in and answers the consent page.
func (w *world) logIn(v *visitor.Visitor, decision string) visitor.Page {
	w.t.Helper()
	ctx := w.t.Context()
	page, err := v.Get(ctx, w.url+"/login", nil)
	w.must(err)
	form, err := page.Find("username", "password")
	w.must(err)
	page, err = v.Submit(ctx, page, form, url.Values{"username": {"zhang"}, "password": {password}}, "", "", nil)
	w.must(err)
	form, err = page.Find("decision")
	w.must(err)
	page, err = v.Submit(ctx, page, form, nil, "decision", decision, nil)
	w.must(err)
	return page
}

func TestALoginShowsWhatAnApplicationGets(t *testing.T) {
	w := newWorld(t, nil)
	v := w.person()
	start, err := v.Get(t.Context(), w.url, nil)
	w.must(err)
	if !strings.Contains(start.Body, w.url+"/callback") {
		t.Error("the start page does not show the callback URL")
	}
	page := w.logIn(v, "allow")
	if page.Status != http.StatusOK || len(w.logins) != 1 || !w.logins[0].OK {
		t.Fatalf("%d %s, logins %+v", page.Status, page.URL, w.logins)
	}
	l := w.logins[0]
	if !strings.HasPrefix(l.Subject, "usr_") || l.IDToken["email"] != "zhang@example.com" || l.AccessToken["client_id"] != l.IDToken["aud"] || l.Token != "" || !l.Refresh {
		t.Errorf("%+v", l)
	}
	for _, want := range []string{"sub: " + l.Subject, "email: zhang@example.com", "signature, aud, exp", " UTC)"} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page lacks %q", want)
		}
		if text := strings.Join(l.Lines(), "\n"); !strings.Contains(text, want) {
			t.Errorf("the terminal lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(page.Body, "eyJ") {
		t.Error("the page shows a token")
	}
}

func TestTokensAreShownOnRequest(t *testing.T) {
	w := newWorld(t, func(c *logintest.Config) { c.ShowTokens = true })
	page := w.logIn(w.person(), "allow")
	if token := w.logins[0].Token; !strings.HasPrefix(token, "eyJ") || !strings.Contains(page.Body, token) {
		t.Errorf("token %.10q", token)
	}
}

func TestFailuresAreExplained(t *testing.T) {
	w := newWorld(t, nil)
	if page := w.logIn(w.person(), "deny"); page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "access_denied") {
		t.Errorf("%d\n%s", page.Status, page.Body)
	}
	if l := w.logins[0]; l.OK || !strings.Contains(l.Error, "access_denied") || l.Fix == "" {
		t.Errorf("%+v", l)
	}
	// An answer that another browser began, or nobody, logs nobody in.
	for _, query := range []string{"?code=x&state=made-up", "", "?error=access_denied&state=made-up"} {
		page, err := w.person().Get(t.Context(), w.url+logintest.CallbackPath+query, nil)
		w.must(err)
		if page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "belongs to no login") {
			t.Errorf("%s: %d\n%s", query, page.Status, page.Body)
		}
	}
	if len(w.logins) != 4 {
		t.Errorf("%d logins were told of", len(w.logins))
	}
}

func TestACodeOfAnotherBrowserIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	v := w.person()
	ctx := t.Context()
	page, err := v.Get(ctx, w.url+"/login", nil)
	w.must(err)
	form, err := page.Find("username", "password")
	w.must(err)
	page, err = v.Submit(ctx, page, form, url.Values{"username": {"zhang"}, "password": {password}}, "", "", nil)
	w.must(err)
	form, err = page.Find("decision")
	w.must(err)
	// The answer is caught on its way, and opened in another browser.
	var caught string
	_, err = v.Submit(ctx, page, form, nil, "decision", "allow", func(next *url.URL) bool {
		if strings.HasPrefix(next.String(), w.url+logintest.CallbackPath) {
			caught = next.String()
		}
		return caught == ""
	})
	w.must(err)
	page, err = w.person().Get(ctx, caught, nil)
	w.must(err)
	if page.Status != http.StatusBadRequest || w.logins[0].OK {
		t.Errorf("%d, %+v", page.Status, w.logins)
	}
}

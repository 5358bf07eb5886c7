package visitor

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestVisit: cookies, redirects, and a stop before the last one.
func TestVisit(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "s", Value: "cookie-value", Path: "/"})
		http.Redirect(w, r, "/form?x=1", http.StatusFound)
	})
	mux.HandleFunc("GET /form", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `<form method="post" action="/send"><input type="hidden" name="csrf" value="t"><input name="username"></form>`)
	})
	mux.HandleFunc("POST /send", func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie("s")
		if err != nil || c.Value != "cookie-value" || r.FormValue("csrf") != "t" || r.FormValue("username") != "li" {
			http.Error(w, "wrong", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, "/callback?code=1", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) { t.Error("the walk did not stop") })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	v, err := New()
	if err != nil {
		t.Fatal(err)
	}
	at, err := v.Get(t.Context(), server.URL+"/start", nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := at.Find("username")
	if err != nil {
		t.Fatal(err)
	}
	at, err = v.Submit(t.Context(), at, f, url.Values{"username": {"li"}}, "", "", func(next *url.URL) bool { return next.Path != "/callback" })
	if err != nil || at.Status != http.StatusSeeOther {
		t.Fatal(at.Status, err)
	}
	if _, ok := at.Toward(server.URL + "/callback"); !ok {
		t.Error("the walk does not remember where it led")
	}
	if len(v.Cookies()) != 1 || v.Cookies()[0] != "cookie-value" {
		t.Errorf("cookies seen: %q", v.Cookies())
	}
	if _, err := at.Find("password"); !errors.Is(err, ErrNoForm) {
		t.Errorf("error %v", err)
	}
	server.Close()
	if _, err := v.Get(t.Context(), server.URL+"/start?code=secret", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

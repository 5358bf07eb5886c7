package google_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/sandbox/google"
	"github.com/deputy-id/deputy/sandbox/party"
	"github.com/deputy-id/deputy/sandbox/party/partytest"
)

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Life    int    `json:"expires_in"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
}

type rig struct {
	*partytest.Rig
	t *testing.T
}

func newRig(t *testing.T) rig {
	t.Helper()
	return rig{partytest.New(t, func(c party.Config) (http.Handler, error) {
		s, err := google.New(c)
		if err != nil {
			return nil, err
		}
		return s.Handler(), nil
	}), t}
}

// login returns what a user's code is exchanged for.
func (r rig) login(username, scope string, change url.Values) tokens {
	r.t.Helper()
	query := url.Values{"scope": {scope}, "access_type": {"offline"}}
	maps.Copy(query, change)
	code := r.Decide(partytest.Link(google.AuthorizePath, query), username, "allow").Get("code")
	return partytest.JSON[tokens](r.t, r.Form(google.TokenPath, partytest.Exchange(code), false))
}

func (r rig) refresh(token string) tokens {
	r.t.Helper()
	return partytest.JSON[tokens](r.t, r.Form(google.TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {partytest.AppID}, "client_secret": {partytest.AppSecret}}, false))
}

func TestTokens(t *testing.T) {
	r := newRig(t)
	first := r.login("zhangsan", google.ReadCalendars, nil)
	if !strings.HasPrefix(first.Access, "ya29.") || !strings.HasPrefix(first.Refresh, "1//") || first.Life != 3600 || first.Scope != google.ReadCalendars {
		t.Fatalf("got %+v", first)
	}
	if online := r.login("zhangsan", google.ReadCalendars, url.Values{"access_type": {"online"}}); online.Access == "" || online.Refresh != "" {
		t.Errorf("online: %+v", online)
	}
	r.Pass(time.Hour)
	if a := r.API(first.Access, "GET", "/v1/userinfo", ""); a.Status != 401 {
		t.Errorf("expired: %d", a.Status)
	}
	for range 2 { // it does not rotate
		if next := r.refresh(first.Refresh); next.Access == "" || next.Refresh != "" || r.API(next.Access, "GET", "/v1/userinfo", "").Status != 200 {
			t.Errorf("refreshed: %+v", next)
		}
	}
	if all := r.login("zhangsan", google.WriteEvents, url.Values{"include_granted_scopes": {"true"}}); all.Scope != google.ReadCalendars+" "+google.WriteEvents {
		t.Errorf("cumulative: %q", all.Scope)
	}
	if a := r.Form(google.RevokePath, url.Values{"token": {first.Refresh}}, false); a.Status != 200 {
		t.Errorf("revoked: %d", a.Status)
	}
	if next := r.refresh(first.Refresh); next.Error != "invalid_grant" {
		t.Errorf("after that: %+v", next)
	}
	if strings.Contains(r.Log(), first.Access) || strings.Contains(r.Log(), first.Refresh) || strings.Contains(r.Log(), partytest.AppSecret) {
		t.Error("the log holds a secret")
	}
}

func TestCalendar(t *testing.T) {
	r := newRig(t)
	reads, writes, profile := r.login("zhangsan", google.ReadCalendars, nil).Access, r.login("lisi", google.WriteEvents, nil).Access, r.login("alice", "openid email", nil).Access
	const events = "/calendar/v3/calendars/primary/events"
	r.Run(
		partytest.Call("events", reads, "GET", events, "", 200, "Stand-up of the team of 张三"),
		partytest.Call("of a morning", reads, "GET", events+"?timeMin=2026-08-20T08:00:00Z&timeMax=2026-08-20T10:00:00Z", "", 200, `"summary":"Stand-up`),
		partytest.Call("of no day", reads, "GET", events+"?timeMin=never", "", 400, "INVALID_ARGUMENT"),
		partytest.Call("of another", reads, "GET", "/calendar/v3/calendars/lisi@example.com/events", "", 404, "NOT_FOUND"),
		partytest.Call("new", writes, "POST", events, `{"summary":"Lunch","start":{"dateTime":"2026-08-20T12:00:00Z"},"end":{"dateTime":"2026-08-20T13:00:00Z"}}`, 200, `"summary":"Lunch"`),
		partytest.Call("seen", writes, "GET", events, "", 200, "Lunch"),
		partytest.Call("without length", writes, "POST", events, `{"summary":"x","start":{"dateTime":"2026-08-20T12:00:00Z"},"end":{"dateTime":"2026-08-20T12:00:00Z"}}`, 400, "time range is empty"),
		partytest.Call("without a scope that writes", reads, "POST", events, `{}`, 403, "PERMISSION_DENIED"),
		partytest.Call("without a scope", profile, "GET", events, "", 403, "PERMISSION_DENIED"),
		partytest.Call("profile", profile, "GET", "/v1/userinfo", "", 200, `"email":"alice@example.com"`),
		partytest.Call("nobody", "ya29.other", "GET", events, "", 401, "UNAUTHENTICATED"),
		partytest.Call("nothing", reads, "GET", "/drive/v3/files", "", 404, "NOT_FOUND"),
	)
	if a := r.API(reads, "GET", events+"?timeMin=2026-08-20T08:00:00Z&timeMax=2026-08-20T10:00:00Z", ""); strings.Contains(a.Body, "Review") {
		t.Error("the afternoon is in the morning")
	}
}

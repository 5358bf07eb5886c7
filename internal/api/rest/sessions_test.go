package rest_test

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

func (w *world) permit(a guard.Action, r guard.Resource) guard.Permit {
	w.t.Helper()
	p, err := w.api.Guard.Allow(w.t.Context(), name.Caller{Kind: name.System}, a, r)
	must(w.t, err)
	return p
}

// logIn begins a session of a user.
func (w *world) logIn(pool, user string, at time.Time) userpool.Session {
	w.t.Helper()
	s, _ := userpool.NewSession(pool, user, []string{"pwd"}, at)
	s.Address, s.Agent = "192.0.2.7", "Lynx/2.9"
	must(w.t, w.api.Sessions.CreateSession(w.t.Context(), w.permit(userpool.ActionCreateSession, s.Resource()), s))
	return s
}

func TestOperatorsEndSessions(t *testing.T) {
	w := newWorld(t)
	const users = "/user-pools/people/users"
	var zhang, li struct{ ID string }
	w.create(users, `{"userName":"zhang","password":"`+password+`"}`, &zhang)
	w.create(users, `{"userName":"li","password":"`+password+`"}`, &li)
	w.create("/user-pools", `{"name":"others"}`, nil)
	soon := time.Now().Add(time.Second) // not before the password was set
	one, two, foreign := w.logIn("people", zhang.ID, soon), w.logIn("people", zhang.ID, soon.Add(time.Second)), w.logIn("people", li.ID, soon)
	w.logIn("people", zhang.ID, soon.Add(-userpool.SessionLifetime)) // dead
	ids := func(user string) []string {
		t.Helper()
		var all struct {
			Items []struct {
				ID, Address, Agent string
				Methods            []string
			}
		}
		w.expect(200, "GET", users+"/"+user+"/sessions", "", &all)
		var got []string
		for _, s := range all.Items {
			if s.Address != "192.0.2.7" || s.Agent != "Lynx/2.9" || len(s.Methods) != 1 {
				t.Errorf("got %+v", s)
			}
			got = append(got, s.ID)
		}
		return got
	}
	if got := ids(zhang.ID); len(got) != 2 || got[0] != two.ID || got[1] != one.ID {
		t.Errorf("got %v", got)
	}
	w.expect(404, "DELETE", users+"/"+zhang.ID+"/sessions/"+foreign.ID, "", nil)
	w.expect(404, "DELETE", "/user-pools/others/users/"+zhang.ID+"/sessions/"+one.ID, "", nil)
	w.expect(404, "GET", "/user-pools/others/users/"+zhang.ID+"/sessions", "", nil)
	w.expect(204, "DELETE", users+"/"+zhang.ID+"/sessions/"+one.ID, "", nil)
	w.expect(404, "DELETE", users+"/"+zhang.ID+"/sessions/"+one.ID, "", nil)
	if got := ids(zhang.ID); len(got) != 1 || got[0] != two.ID {
		t.Errorf("got %v", got)
	}
	w.expect(204, "DELETE", users+"/"+zhang.ID+"/sessions", "", nil)
	if got := ids(zhang.ID); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if got := ids(li.ID); len(got) != 1 {
		t.Errorf("another user has %v", got)
	}
}

func TestOperatorsTakeConsentsBack(t *testing.T) {
	w := newWorld(t)
	var user, client struct{ ID string }
	w.create("/user-pools/people/users", `{"userName":"zhang","password":"`+password+`"}`, &user)
	w.create("/user-pools/people/clients", `{"name":"chat","redirectUris":["https://chat.example/callback"]}`, &client)
	scopes, err := name.NewScopes("openid", "email")
	must(t, err)
	c := userpool.Consent{Pool: "people", UserID: user.ID, ClientID: client.ID, Scopes: scopes, GrantedAt: time.Now()}
	must(t, w.api.Consents.SetConsent(t.Context(), w.permit(userpool.ActionSetConsent, c.Resource()), c))
	consents := "/user-pools/people/users/" + user.ID + "/consents"
	var all struct {
		Items []struct {
			ClientID, ClientName string
			Scopes               []string
		}
	}
	w.expect(200, "GET", consents, "", &all)
	if len(all.Items) != 1 || all.Items[0].ClientID != client.ID || all.Items[0].ClientName != "chat" || len(all.Items[0].Scopes) != 2 {
		t.Errorf("got %+v", all.Items)
	}
	w.expect(404, "GET", "/user-pools/people/users/usr_unknown/consents", "", nil)
	w.expect(404, "DELETE", consents+"/cli_unknown", "", nil)
	w.expect(204, "DELETE", consents+"/"+client.ID, "", nil)
	w.expect(404, "DELETE", consents+"/"+client.ID, "", nil)
	w.expect(200, "GET", consents, "", &all)
	if len(all.Items) != 0 {
		t.Errorf("left are %+v", all.Items)
	}
}

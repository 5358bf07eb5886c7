package rest_test

import (
	"fmt"
	"strings"
	"testing"
)

type shownUser struct {
	ID, UserName, Email                                      string
	EmailVerified, Disabled, HasPassword, MustChangePassword bool
	Attributes                                               map[string]string
	Groups                                                   []string
	Version                                                  int
}

func TestAUserIsChanged(t *testing.T) {
	w := newWorld(t)
	const users = "/user-pools/people/users"
	var u shownUser
	w.create(users, fmt.Sprintf(`{"userName":"zhang","temporaryPassword":%q,"email":"z@example.com","emailVerified":true,"attributes":{"department":"研发"}}`, password), &u)
	if !u.EmailVerified || !u.HasPassword || !u.MustChangePassword || u.Attributes["department"] != "研发" || u.Version != 1 {
		t.Errorf("got %+v", u)
	}
	one := users + "/" + u.ID
	// What is left out stays; a changed address is not verified.
	w.expect(200, "PATCH", one, `{"version":1,"email":"new@example.com","disabled":true}`, &u)
	if u.EmailVerified || !u.Disabled || u.UserName != "zhang" || u.Attributes["department"] != "研发" || u.Version != 2 {
		t.Errorf("got %+v", u)
	}
	if got := w.call("PATCH", one, w.operator, `{"version":1,"disabled":false}`); got.status != 409 || !strings.Contains(got.body, `"user_changed"`) {
		t.Errorf("an old version: %d %s", got.status, got.body)
	}
	w.expect(400, "PATCH", one, `{"email":"nobody"}`, nil)
	w.expect(400, "PATCH", one, `{"id":"usr_other"}`, nil)
	w.expect(200, "PATCH", one, `{"attributes":{}}`, &u)
	w.expect(204, "PUT", one+"/password", `{"password":"a quite different 密码"}`, nil)
	w.expect(400, "PUT", one+"/password", `{}`, nil)
	w.expect(400, "PUT", one+"/password", `{"password":"zhang"}`, nil)
	u = shownUser{}
	w.expect(200, "GET", one, "", &u)
	if u.MustChangePassword || len(u.Attributes) != 0 || u.Version != 4 {
		t.Errorf("got %+v", u)
	}
	var found struct{ Items []shownUser }
	w.expect(200, "GET", users+"?userName=ZHANG", "", &found)
	if len(found.Items) != 1 || found.Items[0].ID != u.ID {
		t.Errorf("found %+v", found.Items)
	}
	w.expect(200, "GET", users+"?userName=li", "", &found)
	if len(found.Items) != 0 {
		t.Errorf("found %+v", found.Items)
	}
	w.expect(404, "PATCH", "/user-pools/others/users/"+u.ID, `{"disabled":false}`, nil)
}

func TestLifeOfAGroup(t *testing.T) {
	w := newWorld(t)
	const groups = "/user-pools/people/groups"
	var g struct {
		ID, Name string
		Version  int
	}
	var u, v shownUser
	w.create("/user-pools/people/users", `{"userName":"zhang"}`, &u)
	w.create("/user-pools/people/users", `{"userName":"li"}`, &v)
	w.create(groups, `{"name":"编辑 editors"}`, &g)
	w.expect(409, "POST", groups, `{"name":"编辑 editors"}`, nil)
	w.expect(400, "POST", groups, `{"name":""}`, nil)
	one := groups + "/" + g.ID
	w.expect(204, "POST", one+"/members", fmt.Sprintf(`{"add":[%q,%q]}`, u.ID, v.ID), nil)
	w.expect(204, "POST", one+"/members", fmt.Sprintf(`{"remove":[%q]}`, v.ID), nil)
	w.expect(404, "POST", one+"/members", `{"add":["usr_nobody"]}`, nil)
	w.expect(200, "PATCH", one, `{"name":"authors"}`, &g)
	if g.Name != "authors" || g.Version != 4 {
		t.Errorf("got %+v", g)
	}
	var members struct{ Items []struct{ ID string } }
	w.expect(200, "GET", one+"/members", "", &members)
	if len(members.Items) != 1 || members.Items[0].ID != u.ID {
		t.Errorf("members %+v", members.Items)
	}
	w.expect(200, "GET", "/user-pools/people/users/"+u.ID, "", &u)
	if len(u.Groups) != 1 || u.Groups[0] != "authors" || u.HasPassword {
		t.Errorf("got %+v", u)
	}
	w.expect(204, "DELETE", one, "", nil)
	w.expect(404, "GET", one, "", nil)
}

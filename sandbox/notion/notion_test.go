package notion_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/notion"
	"github.com/deputy-id/deputy/sandbox/party"
	"github.com/deputy-id/deputy/sandbox/party/partytest"
)

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
	Owner   struct {
		User struct{ Name string }
	}
}

type rig struct {
	*partytest.Rig
	t *testing.T
}

func newRig(t *testing.T) rig {
	t.Helper()
	return rig{partytest.New(t, func(c party.Config) (http.Handler, error) {
		s, err := notion.New(c)
		if err != nil {
			return nil, err
		}
		return s.Handler(), nil
	}), t}
}

// basic posts JSON as the app does.
func (r rig) basic(path, body, secret string) partytest.Answer {
	return r.Do(http.DefaultClient, "POST", path, body, "Content-Type", "application/json",
		"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(partytest.AppID+":"+secret)))
}

func (r rig) token(body string) tokens {
	r.t.Helper()
	return partytest.JSON[tokens](r.t, r.basic(notion.TokenPath, body, partytest.AppSecret))
}

func (r rig) login(username string) tokens {
	r.t.Helper()
	link := partytest.Link(notion.AuthorizePath, url.Values{"owner": {"user"}, "code_challenge": {""}, "code_challenge_method": {""}})
	return r.token(`{"grant_type":"authorization_code","code":"` + r.Decide(link, username, "allow").Get("code") + `","redirect_uri":"` + partytest.RedirectURI + `"}`)
}

func TestTokens(t *testing.T) {
	r := newRig(t)
	first := r.login("zhangsan")
	if !strings.HasPrefix(first.Access, "ntn_") || !strings.HasPrefix(first.Refresh, "nrt_") || first.Owner.User.Name != "张三" {
		t.Fatalf("got %+v", first)
	}
	next := r.token(`{"grant_type":"refresh_token","refresh_token":"` + first.Refresh + `"}`)
	if next.Access == "" || next.Refresh == first.Refresh {
		t.Errorf("refreshed: %+v", next)
	}
	version := []string{"Notion-Version", "2022-06-28"}
	r.Run(
		partytest.Call("the old one has ended", first.Access, "GET", "/v1/users/me", "", 401, "unauthorized", version...),
		partytest.Call("the new one", next.Access, "GET", "/v1/users/me", "", 200, `"name":"张三"`, version...),
		partytest.Call("without a version", next.Access, "GET", "/v1/users/me", "", 400, "missing_version"),
	)
	if again := r.token(`{"grant_type":"refresh_token","refresh_token":"` + first.Refresh + `"}`); again.Error != "invalid_grant" {
		t.Errorf("refreshed twice: %+v", again)
	}
	for secret, status := range map[string]int{"wrong": 401, partytest.AppSecret: 200} {
		if a := r.basic(notion.RevokePath, `{"token":"`+next.Access+`"}`, secret); a.Status != status {
			t.Errorf("revoke: %d, want %d", a.Status, status)
		}
	}
	if a := r.API(next.Access, "GET", "/v1/users/me", "", version...); a.Status != 401 {
		t.Errorf("revoked: %d", a.Status)
	}
	if again := r.token(`{"grant_type":"refresh_token","refresh_token":"` + next.Refresh + `"}`); again.Error != "invalid_grant" {
		t.Errorf("refreshed when it was revoked: %+v", again)
	}
	if a := r.basic(notion.TokenPath, `{"grant_type":`, partytest.AppSecret); a.Status != 400 {
		t.Errorf("no JSON: %d", a.Status)
	}
}

func TestPages(t *testing.T) {
	r := newRig(t)
	access, other := r.login("zhangsan").Access, r.login("lisi").Access
	version := []string{"Notion-Version", "2022-06-28"}
	found := partytest.JSON[struct {
		Results []struct{ ID string }
	}](t, r.API(access, "POST", "/v1/search", `{"query":"meeting"}`, version...))
	if len(found.Results) != 1 {
		t.Fatalf("found %+v", found)
	}
	id := found.Results[0].ID
	r.Run(
		partytest.Call("page", access, "GET", "/v1/pages/"+id, "", 200, `"plain_text":"Meeting notes"`, version...),
		partytest.Call("by its short id", access, "GET", "/v1/pages/"+strings.ReplaceAll(id, "-", ""), "", 200, id, version...),
		partytest.Call("text", access, "GET", "/v1/blocks/"+id+"/children", "", 200, "opens in May", version...),
		partytest.Call("of another", other, "GET", "/v1/pages/"+id, "", 404, "object_not_found", version...),
		partytest.Call("text of another", other, "GET", "/v1/blocks/"+id+"/children", "", 404, "object_not_found", version...),
		partytest.Call("all", other, "POST", "/v1/search", `{}`, 200, "Goals", version...),
		partytest.Call("no JSON", access, "POST", "/v1/search", `{`, 400, "invalid_json", version...),
		partytest.Call("nothing", access, "GET", "/v1/nothing", "", 400, "invalid_request_url", version...),
	)
}

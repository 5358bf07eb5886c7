package slack_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/party"
	"github.com/deputy-id/deputy/sandbox/party/partytest"
	"github.com/deputy-id/deputy/sandbox/slack"
)

type tokens struct {
	OK    bool
	Error string
	User  struct {
		ID     string
		Scope  string
		Access string `json:"access_token"`
	} `json:"authed_user"`
}

type rig struct {
	*partytest.Rig
	t *testing.T
}

func newRig(t *testing.T) rig {
	t.Helper()
	return rig{partytest.New(t, func(c party.Config) (http.Handler, error) {
		s, err := slack.New(c)
		if err != nil {
			return nil, err
		}
		return s.Handler(), nil
	}), t}
}

func (r rig) login(username, scopes string) tokens {
	r.t.Helper()
	code := r.Decide(partytest.Link(slack.AuthorizePath, url.Values{"user_scope": {scopes}, "code_challenge": {""}, "code_challenge_method": {""}}), username, "allow").Get("code")
	return partytest.JSON[tokens](r.t, r.Form(slack.TokenPath, partytest.Exchange(code), false))
}

func TestTokens(t *testing.T) {
	r := newRig(t)
	got := r.login("zhangsan", "channels:read,chat:write")
	if !got.OK || got.User.ID != "UZHANGSAN" || got.User.Scope != "channels:read,chat:write" || !strings.HasPrefix(got.User.Access, "xoxp-") {
		t.Fatalf("got %+v", got)
	}
	if a := r.Form(slack.TokenPath, partytest.Exchange("wrong"), false); a.Status != 200 || partytest.JSON[tokens](t, a).Error != "invalid_code" {
		t.Errorf("a wrong code: %d %s", a.Status, a.Body)
	}
	if a := r.Do(r.Browser(), "GET", partytest.Link(slack.AuthorizePath, url.Values{"user_scope": {"admin"}}), ""); a.Status != 400 || !strings.Contains(a.Body, "<code>user_scope</code>") {
		t.Errorf("a scope that there is not: %d", a.Status)
	}
	if a := r.API(got.User.Access, "POST", "/api/auth.revoke", `{}`); !strings.Contains(a.Body, `"revoked":true`) {
		t.Errorf("revoke: %s", a.Body)
	}
	if a := r.API(got.User.Access, "POST", "/api/auth.test", `{}`); !strings.Contains(a.Body, "invalid_auth") {
		t.Errorf("after that: %s", a.Body)
	}
}

func TestMessages(t *testing.T) {
	r := newRig(t)
	all, reads := r.login("zhangsan", "channels:read channels:history chat:write").User.Access, r.login("lisi", "channels:read").User.Access
	r.Run(
		partytest.Call("who", all, "POST", "/api/auth.test", `{}`, 200, `"user":"zhangsan"`),
		partytest.Call("channels", reads, "GET", "/api/conversations.list", "", 200, `"name":"general"`),
		partytest.Call("message", all, "POST", "/api/chat.postMessage", `{"channel":"C0GENERAL","text":"Good morning"}`, 200, `"ok":true`),
		partytest.Call("seen", all, "GET", "/api/conversations.history?channel=C0GENERAL", "", 200, `"messages":[{"type":"message","user":"UZHANGSAN","text":"Good morning"`),
		partytest.Call("by the channel's name", all, "POST", "/api/chat.postMessage", `{"channel":"#random","text":"x"}`, 200, `"ok":true`),
		partytest.Call("without a scope", reads, "POST", "/api/chat.postMessage", `{"channel":"C0GENERAL","text":"x"}`, 200, `"needed":"chat:write"`),
		partytest.Call("without text", all, "POST", "/api/chat.postMessage", `{"channel":"C0GENERAL"}`, 200, "no_text"),
		partytest.Call("elsewhere", all, "POST", "/api/chat.postMessage", `{"channel":"C1","text":"x"}`, 200, "channel_not_found"),
		partytest.Call("no JSON", all, "POST", "/api/chat.postMessage", `{`, 200, "invalid_json"),
		partytest.Call("nobody", "xoxp-other", "POST", "/api/auth.test", `{}`, 200, "invalid_auth"),
		partytest.Call("nothing", all, "POST", "/api/files.upload", `{}`, 200, "unknown_method"),
	)
}

package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/callback"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

// lure is one way to have a person's browser do what he does not mean, and the
// page that he sees then.
type lure struct {
	what   string
	do     func() answer
	status int
	code   string
	en, zh string // the page's title
}

// phishing is a scene whose people read one language.
type phishing struct {
	*scene
	language browser.Language
}

// lures are all that we know of. Lisi is the attacker, zhangsan the victim.
func (s phishing) lures() []lure {
	z, l := s.zhangsan, s.lisi
	const (
		wrongEN, wrongZH   = "This link was made for somebody else", "此链接属于其他用户"
		yoursEN, yoursZH   = "This is for somebody else", "此授权属于其他用户"
		onceEN, onceZH     = "This link works only once", "链接只能使用一次"
		lateEN, lateZH     = "Too late", "已超时"
		noneEN, noneZH     = "Nothing is waiting for this", "没有等待中的授权"
		notEN, notZH       = "Not authorized", "未授权"
		anotherEN, otherZH = "This is another browser", "浏览器不一致"
	)
	return []lure{
		{"the attacker's link, opened by the victim", func() answer { return z.get(s.link(s.ofLisi).URL) }, 403, "link_not_yours", wrongEN, wrongZH},
		{"the victim's link, opened by the attacker", func() answer { return l.get(s.link(s.a).URL) }, 403, "link_not_yours", wrongEN, wrongZH},
		{"the attacker's redirect, followed by the victim", func() answer {
			return z.get(z.decide(l.begin(s.link(s.ofLisi).URL), "allow"))
		}, 403, "link_not_yours", yoursEN, yoursZH},
		{"a link replayed", func() answer {
			link := s.link(s.a).URL
			z.begin(link)
			return z.get(link)
		}, 410, "link_used", onceEN, onceZH},
		{"a link replayed after its end", func() answer {
			link := s.link(s.a).URL
			z.finish(z.decide(z.begin(link), "deny"))
			return z.get(link)
		}, 410, "link_used", onceEN, onceZH},
		{"a link that was made up", page(z, linkPath+linkPrefix+"lnk_0000000000"), 404, "link_unknown", "This link leads nowhere", "链接无效"},
		{"the attacker's state with the victim's code", func() answer {
			back := s.redirected(z, s.a, "allow")
			return z.get(s.changed(back, "state", parameter(s.t, l.begin(s.link(s.ofLisi).URL), "state")))
		}, 403, "link_not_yours", yoursEN, yoursZH},
		{"the victim's state with the attacker's code", func() answer {
			stolen, err := url.Parse(s.redirected(l, s.ofLisi, "allow"))
			must(s.t, err)
			return z.finish(s.changed(s.redirected(z, s.a, "allow"), "code", stolen.Query().Get("code")))
		}, 200, "20049", notEN, notZH},
		{"the states of two of one's own swapped", func() answer {
			other := parameter(s.t, z.begin(s.link(s.b).URL), "state")
			return z.finish(s.changed(s.redirected(z, s.a, "allow"), "state", other))
		}, 200, "20049", notEN, notZH},
		{"a state that was made up", page(z, callbackPath+"state=st_x&code=x"), 410, "state_unknown", noneEN, noneZH},
		{"no state", page(z, callbackPath+"code=x"), 400, "callback_malformed", "The answer is not complete", "返回不完整"},
		{"a callback repeated", func() answer {
			back := s.redirected(z, s.a, "deny")
			z.finish(back)
			return z.get(back)
		}, 410, "state_unknown", noneEN, noneZH},
		{"a callback without a session", func() answer { return speaking(s.person("nobody"), s.language).get(s.redirected(z, s.a, "allow")) }, 403, "link_not_yours", yoursEN, yoursZH},
		{"a callback in another user's session", func() answer { return l.get(s.redirected(z, s.a, "allow")) }, 403, "link_not_yours", yoursEN, yoursZH},
		{"a callback in another browser of the same user", func() answer {
			return speaking(s.person("zhangsan").logIn(), s.language).get(s.redirected(z, s.a, "allow"))
		}, 403, "browser_changed", anotherEN, otherZH},
		{"a callback at another provider's address", func() answer {
			return z.get(strings.Replace(s.redirected(z, s.a, "allow"), callback.Path, callback.Path+"/default/feishu_oauth", 1))
		}, 403, "callback_mismatch", "The answer came to the wrong address", "返回地址不符"},
		{"a form from another page", s.decision(z, browser.FormField, "AAAA"), 403, "form_foreign", "The form is not from this browser", "表单不属于该浏览器"},
		{"the provider changed meanwhile", func() answer {
			back := s.redirected(z, s.a, "allow")
			if got := s.api("PUT", providerPath, s.operator, strings.Replace(s.provider("", readDoc, "offline_access"), `"name":"",`, "", 1)); got.status != http.StatusOK {
				s.t.Fatalf("change: %d %s", got.status, got.body)
			}
			return z.finish(back)
		}, 200, "provider_changed", notEN, notZH},
		{"the provider made anew meanwhile, callback", func() answer {
			back := s.redirected(z, s.a, "allow")
			s.anew()
			return z.get(back)
		}, 410, "state_unknown", noneEN, noneZH},
		{"the provider made anew meanwhile, link", func() answer {
			link := s.link(s.a).URL
			s.anew()
			return z.get(link)
		}, 404, "link_unknown", "This link leads nowhere", "链接无效"},
		{"a link too late", func() answer {
			link := s.link(s.a).URL
			s.clock.pass(10 * time.Minute)
			defer s.renew()
			return z.get(link)
		}, 410, "link_expired", lateEN, lateZH},
		{"a callback too late", func() answer {
			back := s.redirected(z, s.a, "allow")
			s.clock.pass(10 * time.Minute)
			defer s.renew()
			return z.get(back)
		}, 410, "link_expired", lateEN, lateZH},
	}
}

const providerPath = "/workload-pools/default/providers/feishu_oauth"

// anew deletes the provider and makes another one of the same name.
func (s phishing) anew() {
	s.t.Helper()
	if got := s.api("DELETE", providerPath, s.operator, ""); got.status != http.StatusNoContent {
		s.t.Fatalf("delete: %d %s", got.status, got.body)
	}
	s.make("/workload-pools/default/providers", s.provider("feishu_oauth", readDoc, "offline_access"), nil)
}

// speaking has a browser choose a language, as people do on the page.
func speaking(p *person, l browser.Language) *person {
	p.get("/userpool/people/login?lang=" + string(l))
	return p
}

var (
	pageTitle = regexp.MustCompile(`<h1>([^<]+)</h1>`)
	pageText  = regexp.MustCompile(`</h1>\s*<p>([^<]+)</p>`)
)

// TestPhishing leads people where they do not mean to go, in both languages. Each
// time a page says what happened, and nothing is stored. What many callbacks at once do
// is in TestOneOfManyCallbacksCounts.
func TestPhishing(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { phish(t, newScene(t, secret.Text{})) })
	t.Run("postgres", func(t *testing.T) { phish(t, newScene(t, secret.FromString(storetest.Postgres(t).URL(t)))) })
}

func phish(t *testing.T, s *scene) {
	for _, language := range []browser.Language{browser.English, browser.Chinese} {
		speaking(s.zhangsan, language)
		speaking(s.lisi, language)
		for _, row := range (phishing{s, language}).lures() {
			t.Run(string(language)+"/"+row.what, func(t *testing.T) {
				got := row.do()
				if got.status != row.status || code(got) != row.code {
					t.Errorf("got %d %q, want %d %q:\n%s", got.status, code(got), row.status, row.code, got.body)
				}
				want := browser.Text{EN: row.en, ZH: row.zh}.In(language)
				if m := pageTitle.FindStringSubmatch(got.body); m == nil || m[1] != want {
					t.Errorf("the title is %q, want %q", m, want)
				}
				if m := pageText.FindStringSubmatch(got.body); m == nil || language == browser.Chinese && !han.MatchString(m[1]) {
					t.Errorf("the page says %q", m)
				}
				leaks(t, got, s.secrets(t)...)
				if grants := s.api("GET", "/workload-pools/default/grants", s.operator, ""); trim(grants.body) != `{"items":[]}` {
					t.Errorf("there are grants: %s", grants.body)
				}
			})
		}
	}
	s.happy(speaking(s.zhangsan, browser.English), speaking(s.lisi, browser.English))
}

var han = regexp.MustCompile(`\p{Han}`)

package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/trial"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// tried is the answer about a test of a credential provider.
type tried struct {
	ID, State, URL string
	Works          bool
	Steps          []struct {
		Step, Outcome, Code, Paste string
		Text, Fix                  struct{ EN, ZH string }
	}
}

const trials = "/workload-pools/default/providers/%s/tests"

func (w *world) try(providerName string) tried {
	w.t.Helper()
	return w.triedAt("POST", fmt.Sprintf(trials, providerName), http.StatusCreated)
}

func (w *world) triedAt(method, path string, status int) tried {
	w.t.Helper()
	a := w.api(method, path, w.operator, "")
	var got tried
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != status {
		w.t.Fatalf("test: %d %s", a.status, a.body)
	}
	return got
}

// steps tells each step as "name outcome".
func (t tried) steps() string {
	var list []string
	for _, s := range t.Steps {
		list = append(list, s.Step+" "+s.Outcome)
	}
	return strings.Join(list, ", ")
}

func (w *world) done(t tried) tried {
	w.t.Helper()
	return w.triedAt("GET", fmt.Sprintf(trials, "feishu_oauth")+"/"+t.ID+"?wait=20s", http.StatusOK)
}

// TestTrial tries the provider out with a browser that is nobody's.
func TestTrial(t *testing.T) {
	w := newWorld(t, nil)
	anybody := w.person("zhangsan")
	begun := w.try("feishu_oauth")
	if begun.State != "begun" || begun.Works || begun.steps() != "endpoints passed, client skipped" {
		t.Errorf("begun: %+v", begun)
	}
	shown := anybody.finish(anybody.decide(anybody.begin(begun.URL), "allow"))
	if !strings.Contains(shown.body, "It works") || !strings.Contains(shown.body, "Refresh") {
		t.Errorf("the page says\n%s", shown.body)
	}
	got := w.done(begun)
	const all = "endpoints passed, client skipped, authorization passed, consent passed, exchange passed, account passed, refresh passed, request passed"
	if !got.Works || got.steps() != all || got.URL != "" {
		t.Errorf("in the end: %+v", got)
	}
	for _, s := range got.Steps {
		if s.Text.EN == "" || s.Text.ZH == "" {
			t.Errorf("%s says nothing", s.Step)
		}
	}
	if got := w.api("GET", "/workload-pools/default/grants", w.operator, ""); !strings.Contains(got.body, `"items":[]`) {
		t.Errorf("the vault has %s", got.body)
	}
	for _, issued := range w.feishu.Issued() {
		if strings.Contains(w.log.String(), issued.Value) || strings.Contains(shown.body, issued.Value) {
			t.Errorf("a %s is in the log or on the page", issued.Kind)
		}
	}
	// The link and the callback work once, and for one browser.
	if again := anybody.get(begun.URL); again.status != http.StatusGone {
		t.Errorf("the link again: %d", again.status)
	}
	if other := w.person("lisi").get(w.url + trial.Path + "/result?id=" + got.ID); other.status != http.StatusNotFound {
		t.Errorf("another browser sees %d", other.status)
	}
	second := w.try("feishu_oauth")
	back := anybody.decide(anybody.begin(second.URL), "allow")
	if stolen := w.person("lisi").get(back); stolen.status != http.StatusForbidden || !strings.Contains(stolen.body, "browser_changed") {
		t.Errorf("another browser came back: %d", stolen.status)
	}
	if agent := w.api("POST", fmt.Sprintf(trials, "feishu_oauth"), w.wat("a", "zhangsan"), ""); agent.status != http.StatusForbidden && agent.status != http.StatusUnauthorized {
		t.Errorf("an agent began a test: %d", agent.status)
	}
}

// TestTrialExplains has each step fail, with the vendor's code, what it means and
// what to paste.
func TestTrialExplains(t *testing.T) {
	w := newWorld(t, nil)
	anybody := w.person("zhangsan")
	last := func(got tried) (step, outcome, code, fix, paste string) {
		s := got.Steps[len(got.Steps)-1]
		return s.Step, s.Outcome, s.Code, s.Fix.EN + s.Fix.ZH, s.Paste
	}
	t.Run("declined", func(t *testing.T) {
		begun := w.try("feishu_oauth")
		anybody.get(anybody.decide(anybody.begin(begun.URL), "deny"))
		if step, outcome, code, _, _ := last(w.done(begun)); step != "consent" || outcome != "failed" || code != "access_denied" {
			t.Errorf("got %s %s %s", step, outcome, code)
		}
	})
	t.Run("not registered", func(t *testing.T) {
		begun := w.try("feishu_oauth")
		at, err := url.Parse(anybody.begin(begun.URL))
		must(t, err)
		// A third party that does not know the callback shows a page of its own. Some say it on the way back:
		anybody.get(w.url + "/api/v1/oauth2callback?error=20029&state=" + url.QueryEscape(at.Query().Get("state")))
		step, outcome, code, fix, paste := last(w.done(begun))
		if step != "consent" || outcome != "failed" || code != "20029" || !strings.Contains(fix, w.url+"/api/v1/oauth2callback") || paste != w.url+"/api/v1/oauth2callback" {
			t.Errorf("got %s %s %s %q, paste %q", step, outcome, code, fix, paste)
		}
	})
	t.Run("wrong secret", func(t *testing.T) {
		w.feishu.RefuseNext(feishu.OpExchange, feishu.Refusal{Code: 20002})
		begun := w.try("feishu_oauth")
		if step, outcome, code, fix, _ := last(begun); step != "client" || outcome != "failed" || code != "20002" || begun.URL != "" || begun.State != "done" || !strings.Contains(fix, "App Secret") {
			t.Errorf("got %s %s %s %q", step, outcome, code, fix)
		}
	})
	t.Run("wrong secret, told by Feishu itself", func(t *testing.T) {
		atItsAPI := func(providerName string) string {
			var in map[string]any
			must(t, json.Unmarshal([]byte(w.provider(providerName, readDoc)), &in))
			in["endpoints"].(map[string]any)["api"] = w.party.URL + "/open-apis"
			if providerName == "typo" {
				in["clientSecret"] = "another"
			}
			b, err := json.Marshal(in)
			must(t, err)
			return string(b)
		}
		for _, providerName := range []string{"proven", "typo"} {
			w.make("/workload-pools/default/providers", atItsAPI(providerName), nil)
		}
		if got := w.try("proven").steps(); got != "endpoints passed, client passed" {
			t.Errorf("got %s", got)
		}
		if step, outcome, code, fix, _ := last(w.try("typo")); step != "client" || outcome != "failed" || code != "10014" || !strings.Contains(fix, "App Secret") {
			t.Errorf("got %s %s %s %q", step, outcome, code, fix)
		}
	})
	t.Run("refresh", func(t *testing.T) {
		begun := w.try("feishu_oauth")
		at := anybody.decide(anybody.begin(begun.URL), "allow")
		w.feishu.RefuseNext(feishu.OpRefresh, feishu.Refusal{Code: 20026})
		anybody.get(at)
		if got := w.done(begun); got.Works || !strings.Contains(got.steps(), "refresh failed, request passed") || got.Steps[len(got.Steps)-2].Code != "20026" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("nobody came back", func(t *testing.T) {
		begun := w.try("feishu_oauth")
		anybody.begin(begun.URL)
		w.clock.pass(trial.Life)
		step, outcome, _, fix, paste := last(w.done(begun))
		if step != "authorization" || outcome != "failed" || !strings.Contains(fix, paste) || paste == "" {
			t.Errorf("got %s %s %q, paste %q", step, outcome, fix, paste)
		}
	})
	t.Run("not there", func(t *testing.T) {
		w.make("/workload-pools/default/providers", strings.ReplaceAll(w.provider("gone"), w.party.URL+feishu.TokenPathV3, "http://127.0.0.1:1/token"), nil)
		begun := w.try("gone")
		if step, outcome, _, fix, _ := last(begun); step != "endpoints" || outcome != "failed" || fix == "" || begun.URL != "" {
			t.Errorf("got %s %s %q", step, outcome, fix)
		}
	})
	var ended []string
	for _, e := range w.entries(url.Values{"action": {"trial.end"}}) {
		ended = append(ended, string(e.Outcome))
	}
	if !slices.Contains(ended, "failed") {
		t.Errorf("recorded are %v", ended)
	}
}

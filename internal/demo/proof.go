package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/name"
)

// record: what was done is written down, and no secret is.
func (t *tour) record(ctx context.Context) {
	t.section("What is left behind")
	t.do(ctx, "every use of a credential is in the audit log: who, by whom, what, when", t.auditedUses)
	t.do(ctx, "so are the refusals: the forged token, and the link in the wrong hands", t.auditedRefusals)
	t.do(ctx, "the audit log's chain is whole", func(ctx context.Context) (string, error) {
		chain, err := t.api.VerifyAudit(ctx)
		if err == nil && (!chain.OK || chain.Records <= t.begin) {
			err = fmt.Errorf("it holds for %d entries and breaks at entry %d", chain.Records, chain.Broken)
		}
		return fmt.Sprintf("%d entries", chain.Records), err
	})
	t.do(ctx, "the agent goes on within moments of the consent", t.measured)
	collected := t.collect(ctx) // while there is somebody to ask
	t.do(ctx, "every process ends when it is asked to", func(context.Context) (string, error) { return "", t.stop() })
	t.do(ctx, "no token, secret or password is in any log of any process", func(context.Context) (string, error) {
		if collected != nil {
			return "", collected
		}
		return t.cleanLogs()
	})
}

const maxAudit = 1000 // entries of one answer

// entries returns the audit log behind the point where the tour began.
func (t *tour) entries(ctx context.Context, f audit.Filter) ([]audit.Entry, error) {
	var all []audit.Entry
	for f.After, f.Limit = t.begin, maxAudit; ; {
		records, err := t.api.Audit(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			all = append(all, r.Entry)
			f.After = r.Seq
		}
		if len(records) < maxAudit {
			return all, nil
		}
	}
}

// lastEntry returns where the audit log ends now.
func (t *tour) lastEntry(ctx context.Context) (int64, error) {
	records, err := t.api.Audit(ctx, audit.Filter{Newest: true, Limit: 1})
	if err != nil || len(records) == 0 {
		return 0, err
	}
	return records[0].Seq, nil
}

// auditedUses holds the documents that were read against the log.
func (t *tour) auditedUses(ctx context.Context) (string, error) {
	entries, err := t.entries(ctx, audit.Filter{Action: "credential.release", Outcome: audit.Allowed})
	if err != nil {
		return "", err
	}
	released := map[string]int{}
	for _, e := range entries {
		if e.Caller.Workload != (name.Workload{Pool: workloadPool, Name: agentName}) || e.Caller.User.Issuer != t.issuer ||
			e.Provider != providerName || !slices.Contains(e.Scopes, "docx:document:readonly") || e.RequestID == "" || e.Time.IsZero() {
			return "", fmt.Errorf("entry %s is not complete", e.ID)
		}
		released[e.Caller.User.Subject]++
	}
	for user, n := range t.uses {
		if got := released[t.subjects[user]]; got < n {
			return "", fmt.Errorf("%s read %d documents, and %d releases are recorded", user, n, got)
		}
	}
	calls, err := t.feishu.calls(ctx)
	if err == nil && int64(len(entries)) < calls["raw_content"] {
		err = fmt.Errorf("the third party was called %d times, and %d releases are recorded", calls["raw_content"], len(entries))
	}
	return fmt.Sprintf("%d releases of %s to %s/%s", len(entries), providerName, workloadPool, agentName), err
}

func (t *tour) auditedRefusals(ctx context.Context) (string, error) {
	entries, err := t.entries(ctx, audit.Filter{Outcome: audit.Refused})
	if err != nil {
		return "", err
	}
	has := func(match func(audit.Entry) bool) bool { return slices.ContainsFunc(entries, match) }
	if !has(func(e audit.Entry) bool { return e.Action == "agent.invoke" }) {
		return "", errors.New("the request without a good token is not there")
	}
	if !has(func(e audit.Entry) bool {
		return e.Resource.Kind == "authorization" && e.Caller.User.Subject == t.subjects["lisi"]
	}) {
		return "", errors.New("李四's attempt on 张三's link is not there")
	}
	return fmt.Sprintf("%d refusals", len(entries)), nil
}

// cleanLogs searches all logs for everything secret that this run has seen.
func (t *tour) cleanLogs() (string, error) {
	files, err := logFiles(t.data)
	if err != nil {
		return "", err
	}
	for _, want := range []string{"sandbox", "deputy", "chat", "agent"} {
		if !slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), want) }) {
			return "", fmt.Errorf("there is no log of the %s to search", want)
		}
	}
	leaks, err := t.secrets.scan(files)
	if err != nil {
		return "", err
	}
	if len(leaks) > 0 {
		lines := make([]string, 0, len(leaks))
		for _, l := range leaks {
			lines = append(lines, l.String())
		}
		return "", fmt.Errorf("%d found:\n       %s", len(leaks), strings.Join(lines, "\n       "))
	}
	return fmt.Sprintf("searched %d logs for %d secrets, in %d ways of writing them", len(files), len(t.secrets.values), len(t.secrets.needles())), nil
}

// collect adds everything secret that is known at the end of the tour.
func (t *tour) collect(ctx context.Context) error {
	all, err := t.feishu.issued(ctx)
	if err != nil {
		return err
	}
	for _, i := range all {
		t.secrets.add("a "+i.Kind+" of the sandbox", i.Value)
	}
	for user, password := range t.state.Users {
		t.secrets.add("the password of "+user, password)
	}
	t.secrets.add("the client secret of the chat", t.state.ClientSecret)
	t.secrets.add("the app secret of Deputy at the sandbox", t.state.AppSecret)
	t.secrets.add("the operator's token", t.operator.RevealString())
	for _, p := range []*person{t.zhangsan, t.lisi} {
		t.secrets.add("a cookie of "+p.name, p.Cookies()...)
	}
	return t.collectFiles()
}

// collectFiles adds what is in Deputy's own secret files: the root key, and the
// launch tokens of agents. That neither is found means that they are elsewhere
// now, not that there are none.
func (t *tour) collectFiles() error {
	data := filepath.Join(t.data, "deputy")
	files := []string{filepath.Join(data, "root.key")}
	err := filepath.WalkDir(filepath.Join(data, "launch"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(files) < 2 {
		return errors.New("there is no launch token to search for")
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && path != files[0] {
			continue // it was just replaced
		}
		if err != nil {
			return err
		}
		t.secrets.add("the content of "+filepath.Base(path), strings.TrimSpace(string(b)))
	}
	return nil
}

// measured compares the time from consent to the resumed agent with the time
// that the third party takes itself to answer.
func (t *tour) measured(ctx context.Context) (string, error) {
	if len(t.resumes) == 0 {
		return "", errors.New("no agent was waiting")
	}
	var own []time.Duration
	for range len(t.resumes) {
		form := url.Values{"grant_type": {"authorization_code"}, "client_id": {appID}, "client_secret": {t.state.AppSecret}, "code": {"unknown"}, "redirect_uri": {t.callback()}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.sandbox+"/open-apis/authen/v2/oauth/token", strings.NewReader(form.Encode()))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		begin := time.Now()
		if _, _, _, err := t.machine.do(req); err != nil {
			return "", err
		}
		own = append(own, time.Since(begin))
	}
	return fmt.Sprintf("median of %d: %.1f ms from the consent (code arrives at Deputy) to the agent's next event; the sandbox's own answer takes %.1f ms",
		len(t.resumes), milliseconds(median(t.resumes)), milliseconds(median(own))), nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median of at least one duration.
func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

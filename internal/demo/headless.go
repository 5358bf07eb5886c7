package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/visitor"
)

// What the users type, and what the answers must contain: a fact of the
// document that nobody could guess.
const (
	askZhangsan       = "请为我总结这篇文档的内容：https://bytedance.larkoffice.com/docx/" + docZhangsan
	askZhangsanSecond = "为我总结文档内容：https://bytedance.larkoffice.com/docx/" + docZhangsanSecond
	askLisi           = "请为我总结这篇文档的内容：https://bytedance.larkoffice.com/docx/" + docLisi
	askLisiInEnglish  = "Please summarize this document: https://bytedance.larkoffice.com/docx/" + docLisi
	clearCredentials  = "清理我的身份凭据"
	clearInEnglish    = "clear my credentials"
	askAnew           = "重新授权飞书"

	titleZhangsan       = "“云杉”门店助手 2026 年第三季度产品规划"
	titleZhangsanSecond = "Incident review: checkout latency on 18 June 2026"
	titleLisi           = "华南区域供应链协调会会议纪要"
)

// tour plays the users of the tutorial and checks every step of it.
type tour struct {
	world
	*steps
	state    *state
	api      *apiclient.Client
	operator secret.Text
	feishu   *sandboxControl
	machine  machine
	data     string
	stop     func() error // ends all processes
	secrets  secrets

	zhangsan, lisi *person
	begin          int64           // where the audit log ended before the tour
	token          string          // an access token of 张三's, from a login of his own
	uses           map[string]int  // how many documents each user has read
	resumes        []time.Duration // from the consent to the agent's next event
}

func (t *tour) run(ctx context.Context) error {
	var err error
	if t.zhangsan, err = newPerson("zhangsan"); err != nil {
		return err
	}
	if t.lisi, err = newPerson("lisi"); err != nil {
		return err
	}
	if t.begin, err = t.lastEntry(ctx); err != nil {
		return err
	}
	t.uses, t.machine = map[string]int{}, newMachine()
	for _, part := range []func(context.Context){t.gates, t.logins, t.firstDocument, t.isolation, t.clearing, t.expiry, t.record} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		part(ctx)
	}
	if t.failed > 0 {
		return fault.New(fault.Internal, "demo_failed", "%d of %d steps did not hold", t.failed, t.count).WithFix("read the lines with ✗, and the logs in %s", t.data)
	}
	t.printf("\nAll %d steps held.\n", t.count)
	return nil
}

// gates: nobody gets in without a login.
func (t *tour) gates(ctx context.Context) {
	t.section("Before anybody has logged in")
	t.do(ctx, "the chat answers a message without a login with 401", func(ctx context.Context) (string, error) {
		_, err := t.zhangsan.ask(ctx, t.chat, askZhangsan, nil)
		return "", wantChatStatus(err, http.StatusUnauthorized, "login_required")
	})
	t.do(ctx, "the ingress answers a request without a token with 401", func(ctx context.Context) (string, error) {
		return t.refused(ctx, "")
	})
	t.do(ctx, "the ingress answers a forged token with 401", func(ctx context.Context) (string, error) {
		token, err := forgedToken(t.issuer, t.clientID, t.subjects["zhangsan"])
		if err != nil {
			return "", err
		}
		return t.refused(ctx, token)
	})
}

func wantChatStatus(err error, status int, code string) error {
	var refused *errRefused
	if err == nil {
		return errors.New("the message was answered")
	}
	if !errors.As(err, &refused) || refused.status != status || refused.code != code {
		return fmt.Errorf("want %d %s: %w", status, code, err)
	}
	return nil
}

// logins: authorization code with PKCE, and the two pages on the way.
func (t *tour) logins(ctx context.Context) {
	t.section("Logging in")
	t.do(ctx, "张三 logs in to the chat: code flow with PKCE, login page, consent page", func(ctx context.Context) (string, error) {
		return t.logIn(ctx, t.zhangsan)
	})
	t.do(ctx, "李四 logs in to the chat in a browser of his own", func(ctx context.Context) (string, error) {
		return t.logIn(ctx, t.lisi)
	})
	t.do(ctx, "张三's access token is a JWT of the pool with iss, aud, client_id and sub", t.ownToken)
	t.do(ctx, "the same token with another signature gets 401 at the ingress", func(ctx context.Context) (string, error) {
		if t.token == "" {
			return "", errors.New("there is no token")
		}
		return t.refused(ctx, otherSignature(t.token))
	})
	t.do(ctx, "the token itself is let in", t.letIn)
	if !t.fresh {
		t.do(ctx, "the demo ran with this data before: both clear what they gave then", func(ctx context.Context) (string, error) {
			return "", errors.Join(t.clear(ctx, t.zhangsan, clearCredentials, "已清理"), t.clear(ctx, t.lisi, clearCredentials, "已清理"))
		})
	}
}

// firstDocument is the main flow.
func (t *tour) firstDocument(ctx context.Context) {
	t.section("张三 asks for his document")
	t.do(ctx, "the agent shows an authorization link; 李四 opens it and is refused", t.stolenLink)
	t.do(ctx, "nothing was stored for anybody: 张三 is still asked, agrees, gets his document", func(ctx context.Context) (string, error) {
		return t.authorizedAnswer(ctx, t.zhangsan, askZhangsan, titleZhangsan, "“云杉”")
	})
	t.do(ctx, "the waiting agent went on by itself (push), at the step where it stopped", func(context.Context) (string, error) {
		if len(t.resumes) == 0 {
			return "", errors.New("no agent was waiting")
		}
		last := t.resumes[len(t.resumes)-1]
		if last > maxResume {
			return "", fmt.Errorf("%.1f ms from the consent to the agent's next event: that is polling", milliseconds(last))
		}
		return fmt.Sprintf("%.1f ms from the consent to the agent's next event", milliseconds(last)), nil
	})
	t.do(ctx, "a second document needs no link", func(ctx context.Context) (string, error) {
		return t.silentAnswer(ctx, t.zhangsan, askZhangsanSecond, titleZhangsanSecond, "checkout")
	})
}

// maxResume is the most that the agent may take to go on: far more than a push
// takes on a busy machine, and less than any polling.
const maxResume = time.Second

// isolation: what 张三 gave serves nobody else.
func (t *tour) isolation(ctx context.Context) {
	t.section("李四 is somebody else")
	t.do(ctx, "李四 is asked for his own authorization, and gets his own document", func(ctx context.Context) (string, error) {
		return t.authorizedAnswer(ctx, t.lisi, askLisi, titleLisi, "华南")
	})
	t.do(ctx, "李四 asks for 张三's document: Feishu refuses it to him", func(ctx context.Context) (string, error) {
		got, err := t.lisi.ask(ctx, t.chat, askZhangsan, nil)
		switch {
		case err != nil:
			return "", err
		case strings.Contains(got.text, "云杉"):
			return "", errors.New("he has read it")
		case !strings.Contains(got.text, "1770032"):
			return "", fmt.Errorf("the answer does not name Feishu's error: %s", clip(got.text))
		}
		return "", nil
	})
	t.do(ctx, "张三 still has his, without a link", func(ctx context.Context) (string, error) {
		return t.silentAnswer(ctx, t.zhangsan, askZhangsan, titleZhangsan, "“云杉”")
	})
}

// clearing: what was given can be taken back.
func (t *tour) clearing(ctx context.Context) {
	t.section("Taking it back")
	t.do(ctx, "“"+clearCredentials+"” clears 张三's credentials", func(ctx context.Context) (string, error) {
		return "", t.clear(ctx, t.zhangsan, clearCredentials, "已清理")
	})
	t.do(ctx, "the next request asks him again", func(ctx context.Context) (string, error) {
		return t.authorizedAnswer(ctx, t.zhangsan, askZhangsan, titleZhangsan, "“云杉”")
	})
	t.do(ctx, "李四's were not touched; he asks in English", func(ctx context.Context) (string, error) {
		return t.silentAnswer(ctx, t.lisi, askLisiInEnglish, "Summary of", titleLisi)
	})
	t.do(ctx, "“"+askAnew+"” makes the next request ask again, too", func(ctx context.Context) (string, error) {
		got, err := t.zhangsan.ask(ctx, t.chat, askAnew, nil)
		if err != nil || got.text == "" {
			return "", errors.Join(err, errors.New("no answer"))
		}
		return t.authorizedAnswer(ctx, t.zhangsan, askZhangsan, titleZhangsan, "“云杉”")
	})
}

// shortLife is how long a token of the sandbox lives in the step about expiry.
const shortLife = 3 * time.Second

// expiry: short-lived tokens are refreshed without anybody noticing.
func (t *tour) expiry(ctx context.Context) {
	t.section("Time passes")
	t.do(ctx, "李四 says “"+clearInEnglish+"” and authorizes again; this token lives for "+shortLife.String(), func(ctx context.Context) (string, error) {
		if err := t.clear(ctx, t.lisi, clearInEnglish, "are cleared"); err != nil {
			return "", err
		}
		if err := t.feishu.turn(ctx, "access-lifetime", map[string]int64{"milliseconds": shortLife.Milliseconds()}); err != nil {
			return "", err
		}
		_, err := t.authorizedAnswer(ctx, t.lisi, askLisi, titleLisi, "华南")
		return "", errors.Join(err, t.feishu.turn(ctx, "access-lifetime", map[string]int64{"milliseconds": 0}))
	})
	t.do(ctx, "the token has expired; the next document comes without a link (refreshed)", func(ctx context.Context) (string, error) {
		before, err := t.feishu.calls(ctx)
		if err != nil {
			return "", err
		}
		select {
		case <-time.After(shortLife):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if _, err := t.silentAnswer(ctx, t.lisi, askLisi, titleLisi, "华南"); err != nil {
			return "", err
		}
		after, err := t.feishu.calls(ctx)
		if err != nil {
			return "", err
		}
		if n := after["refresh"] - before["refresh"]; n != 1 {
			return "", fmt.Errorf("the token was refreshed %d times, want once", n)
		}
		return "", nil
	})
	t.do(ctx, "Feishu withdraws 张三's authorization: he is told by a new link, not by an error", func(ctx context.Context) (string, error) {
		if err := t.feishu.turn(ctx, "revoke", map[string]string{"username": "zhangsan"}); err != nil {
			return "", err
		}
		return t.authorizedAnswer(ctx, t.zhangsan, askZhangsan, titleZhangsan, "“云杉”")
	})
}

// logIn logs a person in to the chat application.
func (t *tour) logIn(ctx context.Context, p *person) (note string, err error) {
	at, err := p.Get(ctx, t.chat+"/login", nil)
	if err != nil {
		return "", err
	}
	if err := checkRequest(at, t.clientID); err != nil {
		return "", err
	}
	at, asked, err := t.passLogin(ctx, p, at, nil)
	if err != nil {
		return "", err
	}
	if asked != t.fresh {
		return "", fmt.Errorf("the consent page was shown: %t, want %t: it is for those who have not agreed before", asked, t.fresh)
	}
	if !strings.HasPrefix(at.URL.String(), t.chat+"/") || at.Status != http.StatusOK {
		return "", fmt.Errorf("the login ends at %s%s with status %d", at.URL.Host, at.URL.Path, at.Status)
	}
	session, err := p.Get(ctx, t.chat+"/api/session", nil)
	if err != nil {
		return "", err
	}
	if !strings.Contains(session.Body, `"loggedIn":true`) {
		return "", errors.New("the chat does not know who is there")
	}
	return "", nil
}

// checkRequest looks at the authorization request that a client has sent.
func checkRequest(at visitor.Page, clientID string) error {
	i := slices.IndexFunc(at.Via, func(h visitor.Hop) bool { return strings.HasSuffix(h.Location.Path, "/authorize") })
	if i < 0 {
		return fmt.Errorf("the login leads to %s%s (status %d), not to the user pool", at.URL.Host, at.URL.Path, at.Status)
	}
	q := at.Via[i].Location.Query()
	if q.Get("response_type") != "code" || q.Get("client_id") != clientID || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 22 {
		return errors.New("the authorization request is not that of a code flow with PKCE (S256) and a state")
	}
	return nil
}

// passLogin fills in the pool's login page and, if it is shown, agrees on its
// consent page.
func (t *tour) passLogin(ctx context.Context, p *person, at visitor.Page, on func(*url.URL) bool) (end visitor.Page, asked bool, err error) {
	login, err := at.Find("username", "password")
	if err != nil {
		return at, false, err
	}
	at, err = p.Submit(ctx, at, login, url.Values{"username": {p.name}, "password": {t.state.Users[p.name]}}, "", "", on)
	if err != nil {
		return at, false, err
	}
	consent, err := at.Find("decision")
	if errors.Is(err, visitor.ErrNoForm) {
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	at, err = p.Submit(ctx, at, consent, nil, "decision", "allow", on)
	return at, true, err
}

// clear asks the agent to forget, and wants that confirmed.
func (t *tour) clear(ctx context.Context, p *person, prompt, confirmation string) error {
	got, err := p.ask(ctx, t.chat, prompt, nil)
	if err != nil {
		return err
	}
	return containsAll(got.text, []string{confirmation})
}

// silentAnswer asks for a document and must not be asked back.
func (t *tour) silentAnswer(ctx context.Context, p *person, text string, wants ...string) (string, error) {
	got, err := p.ask(ctx, t.chat, text, nil)
	if err != nil {
		return "", err
	}
	t.uses[p.name]++
	return "", containsAll(got.text, wants)
}

// authorizedAnswer asks for a document and must be asked for consent, which the
// person gives. It notes how long the agent took to go on.
func (t *tour) authorizedAnswer(ctx context.Context, p *person, text string, wants ...string) (string, error) {
	var agreed time.Time
	got, err := p.ask(ctx, t.chat, text, func(ctx context.Context, link string) (err error) {
		t.secrets.add("an authorization link", linkSecret(link))
		agreed, err = t.authorize(ctx, p, link)
		return err
	})
	switch {
	case err != nil:
		return "", err
	case !got.asked():
		return "", errors.New("he was not asked for his authorization")
	}
	t.uses[p.name]++
	t.resumes = append(t.resumes, got.resume.Sub(agreed))
	return "", containsAll(got.text, wants)
}

func containsAll(text string, wants []string) error {
	for _, want := range wants {
		if !strings.Contains(text, want) {
			return fmt.Errorf("the answer does not contain %q: %s", want, clip(text))
		}
	}
	return nil
}

// clip shortens a text for a line of output.
func clip(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 160 {
		return string(r[:160]) + "…"
	}
	return text
}

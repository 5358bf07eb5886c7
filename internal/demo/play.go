package demo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/visitor"
	"github.com/deputy-id/deputy/internal/wire"
)

// sandboxPassword is that of every user of the sandbox; its login page prints
// it.
const sandboxPassword = "sandbox"

// person is one of the demo's users in front of a browser.
type person struct {
	name string
	*visitor.Visitor
}

func newPerson(name string) (*person, error) {
	v, err := visitor.New()
	return &person{name, v}, err
}

// authorize opens an authorization link in the person's browser, logs in at the
// sandbox if need be and agrees. It returns the moment at which the browser was
// sent back to Deputy with the code.
func (t *tour) authorize(ctx context.Context, p *person, link string) (time.Time, error) {
	at, err := p.Get(ctx, link, nil)
	if err != nil {
		return time.Time{}, err
	}
	if login, err := at.Find("username", "password", "request"); err == nil {
		if at, err = p.Submit(ctx, at, login, url.Values{"username": {p.name}, "password": {sandboxPassword}}, "", "", nil); err != nil {
			return time.Time{}, err
		}
	}
	if at.URL.Scheme+"://"+at.URL.Host != t.sandbox {
		return time.Time{}, fmt.Errorf("the link leads to %s%s (status %d), not to the third party", at.URL.Host, at.URL.Path, at.Status)
	}
	consent, err := at.Find("decision", "request")
	if err != nil {
		return time.Time{}, err
	}
	if at, err = p.Submit(ctx, at, consent, nil, "decision", "allow", nil); err != nil {
		return time.Time{}, err
	}
	back, ok := at.Toward(t.callback())
	if !ok || at.Status != http.StatusOK || at.URL.Path != "/authorize/result" {
		return time.Time{}, fmt.Errorf("the consent ends at %s%s with status %d: %s", at.URL.Host, at.URL.Path, at.Status, clip(textOf(at.Body)))
	}
	return back.At, nil
}

// errTried ends a chat whose point has been made.
var errTried = errors.New("the link was tried")

// stolenLink lets 李四 open the link that was made for 张三.
func (t *tour) stolenLink(ctx context.Context) (string, error) {
	before, err := t.feishu.calls(ctx)
	if err != nil {
		return "", err
	}
	var problem error
	_, err = t.zhangsan.ask(ctx, t.chat, askZhangsan, func(ctx context.Context, link string) error {
		t.secrets.add("an authorization link", linkSecret(link))
		if !strings.HasPrefix(link, t.identity+"/authorize?request_uri=urn:") {
			problem = fmt.Errorf("the link does not lead to Deputy first")
			return errTried
		}
		at, err := t.lisi.Get(ctx, link, nil)
		switch {
		case err != nil:
			problem = err
		case at.Status != http.StatusForbidden || !strings.Contains(at.Body, "link_not_yours"):
			problem = fmt.Errorf("%s%s answered %d", at.URL.Host, at.URL.Path, at.Status)
		}
		return errTried
	})
	if !errors.Is(err, errTried) {
		return "", errors.Join(errors.New("no link was shown"), err)
	}
	if problem != nil {
		return "", problem
	}
	after, err := t.feishu.calls(ctx)
	if err == nil && after["authorize"] != before["authorize"] {
		err = errors.New("he was sent on to the third party")
	}
	return "", err
}

// linkSecret returns the part of an authorization link that makes it work.
func linkSecret(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	uri := u.Query().Get("request_uri")
	return uri[strings.LastIndexByte(uri, ':')+1:]
}

// ownToken logs 张三 in with a client of the demo's own making (the chat
// application keeps its tokens to itself), as the tutorial's login test
// application does, and looks at the access token.
func (t *tour) ownToken(ctx context.Context) (string, error) {
	p, err := newPerson("zhangsan")
	if err != nil {
		return "", err
	}
	verifier := oauth.NewVerifier()
	state := oauth.NewVerifier().RevealString()
	request := url.Values{
		"response_type": {"code"}, "client_id": {t.clientID}, "redirect_uri": {t.chatCallback()}, "scope": {"openid profile email"},
		"state": {state}, "code_challenge": {oauth.Challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	// The browser is stopped on its way to the chat application: the code is not for that one.
	var answer url.Values
	on := func(next *url.URL) bool {
		if next.Scheme+"://"+next.Host+next.Path != t.chatCallback() {
			return true
		}
		answer = next.Query()
		return false
	}
	at, err := p.Get(ctx, t.issuer+"/authorize?"+request.Encode(), on)
	if err != nil {
		return "", err
	}
	if _, _, err = t.passLogin(ctx, p, at, on); err != nil {
		return "", err
	}
	t.secrets.add("a cookie of the user pool", p.Cookies()...)
	t.secrets.add("an authorization code of the user pool", answer.Get("code"))
	if answer.Get("state") != state || answer.Get("iss") != t.issuer || answer.Get("code") == "" {
		return "", errors.New("the answer has not the code, the state and the issuer")
	}
	tokens, err := t.redeem(ctx, answer.Get("code"), verifier.RevealString())
	if err != nil {
		return "", err
	}
	t.secrets.add("an access token of the user pool", tokens.Access)
	t.secrets.add("an ID token of the user pool", tokens.ID)
	t.token = tokens.Access
	return t.checkClaims(tokens.Access)
}

// tokens is what the pool's token endpoint answers.
type tokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

func (t *tour) redeem(ctx context.Context, code, verifier string) (tokens, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {t.chatCallback()}, "code_verifier": {verifier}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.issuer+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return tokens{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(t.clientID), url.QueryEscape(t.state.ClientSecret)) // RFC 6749, section 2.3.1
	status, _, body, err := t.machine.do(req)
	if err != nil {
		return tokens{}, err
	}
	if status != http.StatusOK {
		return tokens{}, fmt.Errorf("the token endpoint answered %d", status)
	}
	var got tokens
	return got, wire.DecodeForeign(body, &got)
}

func (t *tour) checkClaims(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("the access token is not a JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("the access token is not a JWT")
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Audience any    `json:"aud"`
		ClientID string `json:"client_id"`
		Subject  string `json:"sub"`
		Expires  int64  `json:"exp"`
		IssuedAt int64  `json:"iat"`
	}
	if err := json.Unmarshal(b, &claims); err != nil {
		return "", errors.New("the access token's claims are not JSON")
	}
	if claims.Issuer != t.issuer || claims.ClientID != t.clientID || claims.Subject != t.subjects["zhangsan"] || !isAudience(claims.Audience, t.clientID) {
		return "", errors.New("the access token's claims are not those of this user and client")
	}
	return fmt.Sprintf("it lives for %s", time.Duration(claims.Expires-claims.IssuedAt)*time.Second), nil
}

func isAudience(claim any, want string) bool {
	several, ok := claim.([]any)
	return claim == want || ok && slices.Contains(several, any(want))
}

// forgedToken has every claim right, and is signed with a key of our own.
func forgedToken(issuer, clientID, subject string) (string, error) {
	key, err := jwt.Generate("ES256")
	if err != nil {
		return "", err
	}
	now := time.Now().Unix()
	return jwt.Sign(key, "at+jwt", map[string]any{
		"iss": issuer, "aud": clientID, "client_id": clientID, "sub": subject, "iat": now, "exp": now + 600, "jti": "forged", "scope": "openid",
	})
}

// otherSignature changes one character in the middle of a token's signature.
func otherSignature(token string) string {
	b := []byte(token)
	i := strings.LastIndexByte(token, '.') + 20
	if i >= len(b) {
		return token + "x"
	}
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// refused sends a request to the agent, past the chat, and wants it to be
// refused with 401.
func (t *tour) refused(ctx context.Context, token string) (string, error) {
	status, header, body, err := t.invoke(ctx, token)
	if err != nil {
		return "", err
	}
	challenge := header.Get("WWW-Authenticate")
	var refusal struct {
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
		} `json:"error"`
	}
	switch {
	case status != http.StatusUnauthorized:
		return "", fmt.Errorf("the ingress answered %d", status)
	case !strings.HasPrefix(challenge, "Bearer "):
		return "", errors.New("there is no WWW-Authenticate header")
	case wire.DecodeForeign(body, &refusal) != nil || refusal.Error.Type != "Unauthorized":
		return "", errors.New("the body does not say why")
	}
	return refusal.Error.Message, nil
}

// letIn sends a request with a good token to the agent, past the chat: the
// refusals would mean little if nobody were let in.
func (t *tour) letIn(ctx context.Context) (string, error) {
	status, _, body, err := t.invoke(ctx, t.token)
	if err != nil {
		return "", err
	}
	if status != http.StatusOK || !strings.Contains(string(body), `"turnComplete":true`) {
		return "", fmt.Errorf("the ingress answered %d: %s", status, clip(string(body)))
	}
	return "", nil
}

func (t *tour) invoke(ctx context.Context, token string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.agent.Endpoint+"/invoke", strings.NewReader(`{"prompt":"你好"}`))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return t.machine.do(req)
}

// machine is a program that calls the parts, as opposed to a person's browser.
type machine struct{ http *http.Client }

func newMachine() machine {
	return machine{&http.Client{Transport: &http.Transport{IdleConnTimeout: time.Minute}, Timeout: visitor.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (m machine) do(req *http.Request) (status int, header http.Header, body []byte, err error) {
	resp, err := m.http.Do(req)
	if err != nil {
		return 0, nil, nil, visitor.Redacted(err)
	}
	defer resp.Body.Close() // read to its bound
	b, err := io.ReadAll(io.LimitReader(resp.Body, visitor.MaxPage))
	return resp.StatusCode, resp.Header, b, err
}

// textOf returns a page without its tags, roughly: for a line of output.
func textOf(page string) string {
	var b strings.Builder
	inTag := false
	for _, r := range page {
		switch {
		case r == '<':
			inTag = true
		case r == '>':
			inTag = false
			b.WriteByte(' ')
		case !inTag:
			b.WriteRune(r)
		}
	}
	return b.String()
}

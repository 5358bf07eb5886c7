package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// playExample plays 张三, who logs in, asks what can be asked and agrees where he has
// to, and checks every answer.
func (d *demo) playExample(ctx context.Context, w world, e example) error {
	t := &tour{world: w, steps: &steps{out: d.Out}, state: d.state, api: d.api, machine: newMachine()}
	var err error
	if t.zhangsan, err = newPerson("zhangsan"); err != nil {
		return err
	}
	var token secret.Text
	t.section("张三 talks to " + e.name)
	t.do(ctx, "he logs in: code flow with PKCE, as a public client", func(ctx context.Context) (_ string, err error) {
		token, err = t.publicToken(ctx)
		return "", err
	})
	for _, turn := range e.turns {
		t.do(ctx, turn.prompt, func(ctx context.Context) (string, error) { return t.sayTo(ctx, token, turn) })
	}
	if t.failed > 0 {
		return fault.New(fault.Internal, "demo_failed", "%d of %d steps did not hold", t.failed, t.count).WithFix("read the lines with ✗, and the logs in %s", d.Data)
	}
	t.printf("\nAll %d steps held.\n", t.count)
	return nil
}

// publicToken logs 张三 in with the client of the agent's own page, and stops his
// browser on its way there.
func (t *tour) publicToken(ctx context.Context) (secret.Text, error) {
	verifier, state := oauth.NewVerifier(), oauth.NewVerifier().RevealString()
	request := url.Values{
		"response_type": {"code"}, "client_id": {t.clientID}, "redirect_uri": {t.talk}, "scope": {"openid"}, "state": {state},
		"code_challenge": {oauth.Challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	var answer url.Values
	on := func(next *url.URL) bool {
		if next.Scheme+"://"+next.Host+next.Path != t.talk {
			return true
		}
		answer = next.Query()
		return false
	}
	at, err := t.zhangsan.Get(ctx, t.issuer+"/authorize?"+request.Encode(), on)
	if err == nil {
		_, _, err = t.passLogin(ctx, t.zhangsan, at, on)
	}
	if err != nil {
		return secret.Text{}, err
	}
	if answer.Get("state") != state || answer.Get("code") == "" {
		return secret.Text{}, errors.New("the answer has not the code and the state")
	}
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {t.clientID}, "code": {answer.Get("code")}, "redirect_uri": {t.talk}, "code_verifier": {verifier.RevealString()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.issuer+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return secret.Text{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, _, body, err := t.machine.do(req)
	if err != nil {
		return secret.Text{}, err
	}
	if status != http.StatusOK {
		return secret.Text{}, fmt.Errorf("the token endpoint answered %d", status)
	}
	var got tokens
	if err := wire.DecodeForeign(body, &got); err != nil {
		return secret.Text{}, err
	}
	return secret.FromString(got.Access), nil
}

// sayTo says something to the agent and reads the answer; where it asks for consent,
// 张三 gives it.
func (t *tour) sayTo(ctx context.Context, token secret.Text, said turn) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, chatTime)
	defer cancel()
	body, err := json.Marshal(map[string]string{"prompt": said.prompt})
	if err != nil {
		return "", err
	}
	answer, err := apiclient.Invoke(ctx, t.agent.Endpoint, token, "demo", body)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end
	var text strings.Builder
	asked := false
	for events := apiclient.NewEvents(answer.Body); ; {
		next, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		link, words, err := readEvent(next.Data)
		if err != nil {
			return "", err
		}
		text.WriteString(words)
		if link == "" {
			continue
		}
		asked = true
		if _, err := t.authorize(ctx, t.zhangsan, link); err != nil {
			return "", err
		}
	}
	if asked != said.asks {
		return "", fmt.Errorf("he was asked for his consent: %t, want %t", asked, said.asks)
	}
	return "", containsAll(text.String(), []string{said.want})
}

// readEvent returns what an event of an agent's stream says, and the link in it, if
// it asks for consent.
func readEvent(data []byte) (link, words string, err error) {
	var e struct {
		Content struct {
			Parts []struct {
				Text string `json:"text"`
				Call *struct {
					Args struct {
						Config struct {
							Exchanged struct {
								OAuth2 struct {
									URI string `json:"authUri"`
								} `json:"oauth2"`
							} `json:"exchangedAuthCredential"`
						} `json:"authConfig"`
					} `json:"args"`
				} `json:"functionCall"`
			} `json:"parts"`
		} `json:"content"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return "", "", err
	}
	if e.Error != "" {
		return "", "", errors.New(e.Error)
	}
	for _, part := range e.Content.Parts {
		words += part.Text
		if part.Call != nil {
			link += part.Call.Args.Config.Exchanged.OAuth2.URI
		}
	}
	return link, words, nil
}

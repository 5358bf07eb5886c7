package deputy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// CallToken is what one agent calls another one with, for its user.
type CallToken struct {
	Token   Secret
	Expires time.Time
	// URL is where that agent is reached: URL/invoke, URL/a2a, and so on. Empty if Deputy does not run it; you know
	// where it is then.
	URL string
}

// CallToken returns what wat's workload calls another agent of its pool with,
// for wat's user: the bearer token of that one call, good for two minutes and for
// that agent alone. An operator must have let the workload call it.
func (c *Client) CallToken(ctx context.Context, wat Secret, agent string) (CallToken, error) {
	request := struct {
		Agent string `json:"agent"`
	}{agent}
	var answer struct {
		Token   Secret    `json:"token"`
		Expires time.Time `json:"expiresAt"`
		URL     string    `json:"url"`
	}
	if err := c.call(ctx, http.MethodPost, "/call-tokens", wat, request, &answer); err != nil {
		return CallToken{}, err
	}
	if answer.Token.Empty() || answer.URL != "" && !isWebURL(answer.URL) {
		return CallToken{}, refuse("answer_malformed", "Deputy answered without a token or with an address that is none")
	}
	return CallToken{answer.Token, answer.Expires, answer.URL}, nil
}

// Ask asks another agent of Deputy's runtime for the turn's user and returns its
// whole answer. It gets a token of its own, for the same user, and sees which
// agents called it. When it needs the user's consent, he sees the link in this
// turn's stream, and Ask goes on when he has decided.
func (t *Turn) Ask(ctx context.Context, agent, prompt string) (string, error) {
	d := t.agent.deputy
	call, err := d.CallToken(ctx, t.wat, agent)
	if err != nil {
		return "", err
	}
	if call.URL == "" {
		return "", &Error{Code: "agent_elsewhere", Message: "Deputy does not run that agent", Fix: "call it yourself, with the token that Client.CallToken returns"}
	}
	body, err := json.Marshal(map[string]string{"prompt": prompt})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, call.URL+"/invoke", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+call.Token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream, application/json")
	if t.Session.ID != "" {
		req.Header[headerSession] = []string{t.Session.ID}
	}
	resp, err := d.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", &Error{Code: "agent_unreachable", Message: "the other agent does not answer", cause: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", notAnswered(resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/event-stream" {
		return (&hearing{turn: t, waiting: map[string]bool{}}).listen(ctx, resp.Body)
	}
	b, err := readBounded(resp.Body, maxAnswerSize)
	if err != nil {
		return "", &Error{Code: "answer_malformed", Message: "the other agent's answer cannot be read", cause: err}
	}
	return string(b), nil
}

// notAnswered reads why an agent, or the ingress before it, did not answer.
func notAnswered(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, Code: "unexpected_answer", RequestID: resp.Header.Get(headerRequest), Message: "the other agent did not answer: " + resp.Status,
		RetryAfter: pauseOf(resp.Header)}
	var said struct {
		Error struct{ Message, Code string }
	}
	if b, err := readBounded(resp.Body, maxAnswerSize); err == nil && json.Unmarshal(b, &said) == nil && said.Error.Code != "" {
		e.Code, e.Message = said.Error.Code, said.Error.Message
	}
	return e
}

// hearing is the answer of another agent, while it comes.
type hearing struct {
	turn    *Turn
	said    strings.Builder // in events that are whole
	parts   strings.Builder // since then; the next whole event says it once more
	waiting map[string]bool // for the user's consent, by the id of the call
}

// heard is an event of the stream of another agent, or an error.
type heard struct {
	Content struct {
		Parts []struct {
			Text     string
			Call     *heardCall `json:"functionCall"`
			Response *heardDone `json:"functionResponse"`
		}
	}
	Partial bool
	Error   json.RawMessage
}

type heardCall struct {
	ID, Name string
	Args     json.RawMessage
}

type heardDone struct {
	ID       string
	Response map[string]any
}

// asked is what of the arguments of a question for consent is handed on.
type asked struct {
	Config struct {
		Raw struct {
			Ref    string `json:"resourceRef"`
			OAuth2 struct {
				URL string `json:"authUri"`
			} `json:"oauth2"`
		} `json:"rawAuthCredential"`
		Key string `json:"credentialKey"`
	} `json:"authConfig"`
}

// listen returns all that is said, and shows the user what he is asked.
func (h *hearing) listen(ctx context.Context, r io.Reader) (string, error) {
	events := newEventReader(r)
	events.limit = maxAnswerSize // the last event has everything once more
	for {
		next, err := events.next()
		switch {
		case errors.Is(err, io.EOF):
			return h.said.String() + h.parts.String(), nil
		case err != nil && ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			return "", &Error{Code: "answer_malformed", Message: "the other agent's answer broke off", cause: err}
		}
		var e heard
		if err := json.Unmarshal([]byte(next.data), &e); err != nil {
			return "", &Error{Code: "answer_malformed", Message: "the other agent's answer is not made of events", cause: err}
		}
		if e.Error != nil {
			var words string
			_ = json.Unmarshal(e.Error, &words) // in another shape it says less
			return "", &Error{Code: "agent_failed", Message: "the other agent could not answer: " + clip(words)}
		}
		if err := h.take(e); err != nil {
			return "", err
		}
		if h.said.Len()+h.parts.Len() > maxAnswerSize {
			return "", &Error{Code: "answer_too_large", Message: "the other agent says too much"}
		}
	}
}

func (h *hearing) take(e heard) error {
	for _, part := range e.Content.Parts {
		switch {
		case part.Call != nil && part.Call.Name == consentFunction:
			if err := h.show(*part.Call); err != nil {
				return err
			}
		case part.Response != nil && h.waiting[part.Response.ID]:
			delete(h.waiting, part.Response.ID)
			outcome := map[string]string{}
			for _, key := range []string{"status", "code"} {
				if word, ok := part.Response.Response[key].(string); ok {
					outcome[key] = clip(word)
				}
			}
			h.turn.out.done(part.Response.ID, consentFunction, outcome)
		case e.Partial:
			h.parts.WriteString(part.Text)
		case part.Text != "":
			h.parts.Reset()
			h.said.WriteString(part.Text)
		}
	}
	return nil
}

// show hands on the question for the user's consent, if its link is Deputy's: the
// user trusts the page that he came from, and that is not the other agent's.
func (h *hearing) show(c heardCall) error {
	var a asked
	if err := json.Unmarshal(c.Args, &a); err != nil || !strings.HasPrefix(a.Config.Raw.OAuth2.URL, h.turn.agent.deputy.base+"/") || len(c.ID) > 200 {
		h.turn.agent.log.Warn("another agent sent the user elsewhere; that is not shown", "request", h.turn.RequestID)
		return nil
	}
	question := Authorization{ID: clip(a.Config.Raw.Ref), State: Pending, URL: a.Config.Raw.OAuth2.URL}
	if !h.turn.out.live() {
		return &ConsentRequired{question}
	}
	h.waiting[c.ID] = true
	h.turn.out.call(adkFunctionCall{c.ID, consentFunction, consentArgs(c.ID, clip(a.Config.Key), question)})
	return nil
}

// clip bounds what another agent says, for a line of its own.
func clip(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

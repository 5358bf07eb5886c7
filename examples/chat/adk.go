package main

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// message is one event for the page. Type decides which fields are set: text
// (Text), authorization (URL, Provider), authorized, error (Code, Message), done.
type message struct {
	Type     string `json:"type"`
	Text     string `json:"text,omitempty"`
	URL      string `json:"url,omitempty"`
	Provider string `json:"provider,omitempty"`
	Code     string `json:"code,omitempty"`
	Message  string `json:"message,omitempty"`
}

func errorMessage(code, text string) message {
	return message{Type: "error", Code: code, Message: text}
}

// adkEvent is the part of an Agent Development Kit event that matters to a
// chat. Everything else in it is ignored.
type adkEvent struct {
	Author  string `json:"author"`
	Partial bool   `json:"partial"`
	Content *struct {
		Parts []adkPart `json:"parts"`
	} `json:"content"`

	ErrorCode    string `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`

	// The shape of an error that broke the stream.
	Error     string `json:"error"`
	ErrorType string `json:"error_type"`
}

type adkPart struct {
	Text         string        `json:"text"`
	Thought      bool          `json:"thought"`
	FunctionCall *functionCall `json:"functionCall"`
	Response     *struct {
		Name     string          `json:"name"`
		Response json.RawMessage `json:"response"` // whatever a tool answered
	} `json:"functionResponse"`
}

type functionCall struct {
	Name string `json:"name"`
	Args struct {
		AuthConfig struct {
			Exchanged struct {
				OAuth2 struct {
					AuthURI string `json:"authUri"`
				} `json:"oauth2"`
			} `json:"exchangedAuthCredential"`
			CredentialKey string `json:"credentialKey"`
		} `json:"authConfig"`
	} `json:"args"`
}

// credentialRequest is the name of the function call by which an agent asks for
// a user's authorization.
const credentialRequest = "adk_request_credential"

// maxAnswer bounds the text of one answer, in bytes.
const maxAnswer = 1 << 20

// translator turns an agent's events into messages for the page.
type translator struct {
	linkOrigins []string // where an authorization link may point to

	answer  strings.Builder // all text sent to the page
	segment int             // where in answer the current run of partial texts began
	waiting bool            // an authorization was asked for and nothing came since
}

// event translates one event. It reports whether the stream must end here.
func (t *translator) event(data []byte) (out []message, stop bool) {
	var e adkEvent
	if err := json.Unmarshal(data, &e); err != nil {
		// A JSON value that is not an event is an event of a kind that is not
		// known here. Text that is not JSON is a broken stream.
		if json.Valid(data) {
			return nil, false
		}
		return []message{errorMessage("agent_answer_unexpected", "The agent sent something that is not an event.")}, true
	}
	if failure, ok := e.failure(); ok {
		return []message{failure}, true
	}
	if e.Content == nil || len(e.Content.Parts) == 0 || e.Author == "user" {
		return nil, false
	}
	if call := e.authorization(); call != nil {
		link, ok := t.authorization(*call)
		return []message{link}, !ok
	}
	if t.waiting {
		t.waiting = false
		if !e.notAuthorized() {
			out = append(out, message{Type: "authorized"})
		}
	}
	delta := t.delta(e.text(), e.Partial)
	if t.answer.Len()+len(delta) > maxAnswer {
		return append(out, errorMessage("answer_too_long", "The answer is too long to be shown.")), true
	}
	if delta != "" {
		t.answer.WriteString(delta)
		out = append(out, message{Type: "text", Text: delta})
	}
	if !e.Partial {
		t.segment = t.answer.Len()
	}
	return out, false
}

// notAuthorized reports whether the event tells that an authorization ended
// without success. Agents that do not tell how it ended go on when it did.
func (e adkEvent) notAuthorized() bool {
	for _, p := range e.Content.Parts {
		if p.Response == nil || p.Response.Name != credentialRequest {
			continue
		}
		var outcome struct {
			Status string `json:"status"`
		}
		if json.Unmarshal(p.Response.Response, &outcome) == nil && outcome.Status == "failed" {
			return true
		}
	}
	return false
}

// failure returns the error that the event reports, if it is one. The agent's
// words are meant for the user; they reach the page as text and bounded.
func (e adkEvent) failure() (message, bool) {
	code, text := e.ErrorType, e.Error
	if text == "" && code == "" {
		code, text = e.ErrorCode, e.ErrorMessage
	}
	if text == "" && code == "" {
		return message{}, false
	}
	if !codeShape.MatchString(code) {
		code = "agent_error"
	}
	return errorMessage(code, words(text)), true
}

var (
	codeShape     = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	providerShape = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
)

func (e adkEvent) authorization() *functionCall {
	i := slices.IndexFunc(e.Content.Parts, func(p adkPart) bool {
		return p.FunctionCall != nil && p.FunctionCall.Name == credentialRequest
	})
	if i < 0 {
		return nil
	}
	return e.Content.Parts[i].FunctionCall
}

func (e adkEvent) text() string {
	var b strings.Builder
	for _, p := range e.Content.Parts {
		if !p.Thought {
			b.WriteString(p.Text)
		}
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}

// authorization makes the request for the page and reports whether its link may
// be shown. An agent, or a document that talked it into it, could otherwise
// send the user to a look-alike page, or to javascript: in this one.
func (t *translator) authorization(call functionCall) (message, bool) {
	link := call.Args.AuthConfig.Exchanged.OAuth2.AuthURI
	if !allowedLink(link, t.linkOrigins) {
		return errorMessage("authorization_url_refused",
			"The agent asked to open a link that does not belong to the identity service. It was not opened."), false
	}
	t.waiting = true
	// The key is oauth_access_token:<agent>:<user>:<provider>.
	key := call.Args.AuthConfig.CredentialKey
	provider := key[strings.LastIndexByte(key, ':')+1:]
	if !providerShape.MatchString(provider) {
		provider = ""
	}
	return message{Type: "authorization", URL: link, Provider: provider}, true
}

// allowedLink reports whether link is an absolute http(s) URL of one of the
// origins. Backslashes and control characters, which browsers read differently
// from Go, are refused.
func allowedLink(link string, origins []string) bool {
	if len(link) > 4096 || strings.ContainsFunc(link, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }) {
		return false
	}
	u, err := url.Parse(link)
	if err != nil || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return false
	}
	return slices.Contains(origins, origin(u))
}

// delta returns what text adds to the answer. Partial events carry pieces; the
// event that closes a run repeats the run as a whole, and the last event of a
// stream may repeat the whole answer. A new run begins a new paragraph.
func (t *translator) delta(text string, partial bool) string {
	all := t.answer.String()
	run := all[t.segment:]
	if text == "" || partial && run != "" {
		return text
	}
	paragraph := ""
	if all != "" && !strings.HasSuffix(all, "\n\n") {
		paragraph = "\n\n"
	}
	if partial {
		t.segment += len(paragraph)
		return paragraph + text
	}
	for _, said := range []string{run, all} {
		if rest, ok := strings.CutPrefix(text, said); ok && said != "" {
			return rest
		}
	}
	if strings.HasSuffix(all, text) {
		return ""
	}
	return paragraph + text
}

// words makes foreign text fit to be shown in one line: printable, at most 500
// characters.
func words(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return clip(strings.TrimSpace(clean), 500)
}

package deputy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// writeTimeout bounds one write to the reader of the stream.
const writeTimeout = 30 * time.Second

// adkEvent is an event of the Agent Development Kit, as it travels. Its readers
// refuse keys that they do not know, and read content.parts of every event.
type adkEvent struct {
	Content      adkContent `json:"content"`
	Partial      *bool      `json:"partial,omitempty"`
	TurnComplete bool       `json:"turnComplete,omitempty"`
	LongRunning  []string   `json:"longRunningToolIds,omitempty"`
	InvocationID string     `json:"invocationId"`
	Author       string     `json:"author"`
	Actions      struct{}   `json:"actions"`
	ID           string     `json:"id"`
	Timestamp    float64    `json:"timestamp"` // seconds
}

type adkContent struct {
	Role  string    `json:"role"`
	Parts []adkPart `json:"parts"`
}

// adkPart has one of its members.
type adkPart struct {
	Text     *string          `json:"text,omitempty"`
	Call     *adkFunctionCall `json:"functionCall,omitempty"`
	Response *adkFunctionDone `json:"functionResponse,omitempty"`
}

type adkFunctionCall struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Args any    `json:"args"`
}

type adkFunctionDone struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Response map[string]string `json:"response"`
}

// consentFunction is the name under which ADK clients look for an authorization
// link.
const consentFunction = "adk_request_credential"

// consentArgs are the arguments of that call. The empty endpoints are ADK's own
// spelling of "the server knows".
func consentArgs(callID, credentialKey string, a Authorization) any {
	type oauth2 struct {
		AuthURI string `json:"authUri"`
	}
	type credential struct {
		AuthType    string `json:"authType"`
		ResourceRef string `json:"resourceRef"` // the authorization's id: a name, and no key to anything
		OAuth2      oauth2 `json:"oauth2"`
	}
	type flow struct {
		AuthorizationURL string   `json:"authorizationUrl"`
		TokenURL         string   `json:"tokenUrl"`
		Scopes           struct{} `json:"scopes"`
	}
	type scheme struct {
		Type  string          `json:"type"`
		Flows map[string]flow `json:"flows"`
	}
	type config struct {
		Scheme    scheme     `json:"authScheme"`
		Raw       credential `json:"rawAuthCredential"`
		Exchanged credential `json:"exchangedAuthCredential"`
		Key       string     `json:"credentialKey"`
	}
	c := credential{"oauth2", a.ID, oauth2{a.URL}}
	return struct {
		CallID string `json:"functionCallId"`
		Config config `json:"authConfig"`
	}{callID, config{
		Scheme: scheme{"oauth2", map[string]flow{"authorizationCode": {AuthorizationURL: "__EMPTY__", TokenURL: "__EMPTY__"}}},
		Raw:    c, Exchanged: c, Key: credentialKey,
	}}
}

// stream writes the answer to one prompt. It is safe for concurrent use. After
// the first failed write it calls gone and writes no more.
type stream struct {
	w            http.ResponseWriter
	now          func() time.Time
	author       string
	invocationID string
	gone         func()

	mu     sync.Mutex
	text   strings.Builder // everything said so far
	failed bool
}

// begin sends the header. Proxies are told not to hold anything back.
func (s *stream) begin() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	s.w.WriteHeader(http.StatusOK)
}

func (s *stream) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.speak(text)
}

// speak is say, for callers that hold the lock.
func (s *stream) speak(text string) {
	if text == "" {
		return
	}
	s.text.WriteString(text)
	yes := true
	s.send(adkEvent{Content: adkContent{"model", []adkPart{{Text: &text}}}, Partial: &yes})
}

// finish repeats all that was said, in the one event that is not partial.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	no, text := false, s.text.String()
	s.send(adkEvent{Content: adkContent{"model", []adkPart{{Text: &text}}}, Partial: &no, TurnComplete: true})
}

// call announces a function call. Readers take what was said before it and what
// is said after it for two runs of text; the blank line makes that so for those,
// too, who only read the final event.
func (s *stream) call(c adkFunctionCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.speak(paragraph(s.text.String()))
	e := adkEvent{Content: adkContent{"model", []adkPart{{Call: &c}}}}
	if c.Name == consentFunction {
		e.Content.Role, e.LongRunning = "user", []string{c.ID} // as ADK has it
	}
	s.send(e)
}

func (s *stream) done(id, name string, response map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(adkEvent{Content: adkContent{"user", []adkPart{{Response: &adkFunctionDone{id, name, response}}}}})
}

// fail writes an error in the shape that clients of such streams know.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(struct {
		Error   string `json:"error"`
		Type    string `json:"error_type"`
		Message string `json:"message"`
	}{errorMessage(err), errorCode(err), "An error occurred during streaming"})
}

func (s *stream) live() bool { return true }

func (s *stream) send(e adkEvent) {
	e.InvocationID, e.Author, e.ID = s.invocationID, s.author, newUUID()
	e.Timestamp = float64(s.now().UnixMicro()) / 1e6
	s.write(e)
}

// write sends one "data:" line. JSON has no line breaks of its own.
func (s *stream) write(v any) {
	if s.failed {
		return
	}
	var b bytes.Buffer
	b.WriteString("data: ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v) // ends with one line break
	b.WriteByte('\n')
	control := http.NewResponseController(s.w)
	if err == nil {
		// A reader that stopped reading must not hold the turn for ever. A writer that knows no deadlines has none.
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err = s.w.Write(b.Bytes())
	}
	if err == nil {
		err = control.Flush()
	}
	if err != nil {
		s.failed = true
		s.gone()
	}
}

// newUUID returns a random UUID (RFC 9562, section 5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

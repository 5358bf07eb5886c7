package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of one chat.
const (
	maxChatTime = 15 * time.Minute
	maxMessage  = 8000     // characters
	maxChatBody = 64 << 10 // bytes
	writeTime   = 30 * time.Second
	// heartbeat keeps proxies from closing a stream on which nothing happens
	// while the user is busy authorizing.
	heartbeat = 15 * time.Second
)

// Why a chat ended early, besides the browser going away.
var (
	errChatTime  = errors.New("the chat took too long")
	errLoggedOut = errors.New("the session ended")
)

// chat serves POST /api/chat: it hands the message to the agent as the user who
// is logged in here, and streams the answer.
func (a *app) chat(w http.ResponseWriter, r *http.Request) {
	s, ok := a.session(r)
	if !ok {
		writeError(w, http.StatusUnauthorized, errorMessage("login_required", "Log in to talk to the agent."))
		return
	}
	text, status, problem := readChat(w, r)
	if status != 0 {
		writeError(w, status, problem)
		return
	}
	select {
	case s.chats <- struct{}{}:
		defer func() { <-s.chats }()
	default:
		writeError(w, http.StatusTooManyRequests, errorMessage("too_many_chats", "Other answers are still running. Wait for them or stop one."))
		return
	}

	ctx, cancel := context.WithTimeoutCause(r.Context(), maxChatTime, errChatTime)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(s.ctx, func() { end(errLoggedOut) })()

	stream, err := a.agent.invoke(ctx, s, text)
	if err != nil {
		a.refuseChat(ctx, w, r, err)
		return
	}
	defer stream.Close()
	a.relay(ctx, newPageStream(w), stream)
}

// readChat reads {"message":"…"}. A status other than 0 is a refusal.
func readChat(w http.ResponseWriter, r *http.Request) (text string, status int, problem message) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return "", http.StatusUnsupportedMediaType, errorMessage("bad_request", "The request must be application/json.")
	}
	// The deadline bounds the reading of the body only: left in place it would
	// end the answer as well.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChatBody))
	_ = control.SetReadDeadline(time.Time{})
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return "", http.StatusRequestEntityTooLarge, errorMessage("message_too_long", "The message is too long.")
	}
	var body struct {
		Message string `json:"message"`
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err != nil || dec.Decode(&body) != nil || dec.More() {
		return "", http.StatusBadRequest, errorMessage("bad_request", `The request must be {"message":"…"}.`)
	}
	switch text = strings.TrimSpace(body.Message); {
	case text == "":
		return "", http.StatusBadRequest, errorMessage("message_empty", "The message is empty.")
	case utf8.RuneCountInString(text) > maxMessage:
		return "", http.StatusRequestEntityTooLarge, errorMessage("message_too_long", "The message is too long.")
	}
	return text, 0, message{}
}

// refuseChat answers when the agent did not. A login that the agent's gate
// does not accept any more is over here too.
func (a *app) refuseChat(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) {
	var refused *agentError
	if !errors.As(err, &refused) {
		refused = &agentError{message: errorMessage("agent_error", "The message cannot be sent."), cause: err}
	}
	if early, ok := endedEarly(ctx); ok {
		refused.message = early
	} else if ctx.Err() == nil {
		a.log.Warn("the agent did not answer", "code", refused.Code, "status", refused.status, "error", refused.cause)
	}
	if refused.status == http.StatusUnauthorized {
		a.endSession(w, r)
		writeError(w, http.StatusUnauthorized, refused.message)
		return
	}
	out := newPageStream(w)
	if out.send(refused.message) == nil {
		_ = out.send(message{Type: "done"})
	}
}

// relay translates the agent's stream for the page until one of them ends.
func (a *app) relay(ctx context.Context, out *pageStream, stream io.Reader) {
	type read struct {
		data []byte
		err  error
	}
	// Unbuffered: the agent is read no faster than the page takes it.
	reads := make(chan read)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		events := newEventReader(stream)
		for {
			data, err := events.next()
			select {
			case reads <- read{data, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()

	if out.start() != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	t := &translator{linkOrigins: a.set.linkOrigins}
	for {
		select {
		case <-ctx.Done():
			if early, ok := endedEarly(ctx); ok {
				_ = out.send(early, message{Type: "done"})
			}
			return
		case <-beat.C:
			if out.beat() != nil {
				return
			}
		case got := <-reads:
			if got.err != nil {
				_ = out.send(append(a.ending(ctx, t, got.err), message{Type: "done"})...)
				return
			}
			messages, last := t.event(got.data)
			if last {
				messages = append(messages, message{Type: "done"})
			}
			if out.send(messages...) != nil || last {
				return
			}
		}
	}
}

// ending returns what to tell the page when the agent's stream is over.
func (a *app) ending(ctx context.Context, t *translator, err error) []message {
	early, isEarly := endedEarly(ctx)
	switch {
	case isEarly:
		return []message{early}
	case errors.Is(err, errEventTooLarge):
		return []message{errorMessage("agent_answer_unexpected", "The agent sent an event that is too large.")}
	case !errors.Is(err, io.EOF):
		if ctx.Err() == nil {
			a.log.Warn("the agent's stream broke", "error", err)
		}
		return []message{errorMessage("agent_disconnected", "The connection to the agent broke in the middle of the answer.")}
	case t.answer.Len() == 0:
		return []message{errorMessage("empty_answer", "The agent ended without an answer.")}
	}
	return nil
}

// endedEarly returns the message for a chat that this application ended.
func endedEarly(ctx context.Context) (message, bool) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errChatTime):
		return errorMessage("timed_out", "The answer took longer than 15 minutes."), true
	case errors.Is(cause, errLoggedOut):
		return errorMessage("login_required", "You are logged out."), true
	}
	return message{}, false
}

// pageStream writes messages to the page as server-sent events, each with a
// deadline, so that a page that does not read holds nothing for long.
type pageStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	started bool
}

func newPageStream(w http.ResponseWriter) *pageStream {
	return &pageStream{w: w, control: http.NewResponseController(w)}
}

func (p *pageStream) start() error {
	p.started = true
	h := p.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	return p.beat()
}

// beat sends a comment, which the page ignores.
func (p *pageStream) beat() error { return p.write([]byte(":\n\n")) }

func (p *pageStream) send(messages ...message) error {
	if !p.started {
		if err := p.start(); err != nil {
			return err
		}
	}
	var b []byte
	for _, m := range messages {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		b = append(append(append(b, "data: "...), line...), "\n\n"...)
	}
	if b == nil {
		return nil
	}
	return p.write(b)
}

func (p *pageStream) write(b []byte) error {
	_ = p.control.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := p.w.Write(b); err != nil {
		return err
	}
	return p.control.Flush()
}

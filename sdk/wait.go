package deputy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

const (
	// Deputy sends a heartbeat every 15 s; a stream that is silent for longer
	// than this is broken, however open it looks.
	silence = 40 * time.Second
	// pollFor is how long Deputy may hold a long poll.
	pollFor = 25 * time.Second
	// overtime is how long after an authorization's end its end is still awaited.
	overtime = 15 * time.Second
	// maxWait bounds a wait for an authorization that does not say when it ends.
	maxWait = 15 * time.Minute
)

// State is a state of an [Authorization].
type State string

// The states. The last three are final.
const (
	Pending    State = "pending"    // the user was not at the link yet
	Redirected State = "redirected" // the user is at the third party
	Exchanging State = "exchanging" // the user agreed; Deputy redeems the code
	Completed  State = "completed"
	Failed     State = "failed"
	Expired    State = "expired"
)

// Final reports whether nothing follows s.
func (s State) Final() bool { return s == Completed || s == Failed || s == Expired }

// Authorization is one time that a user is asked.
type Authorization struct {
	ID       string    `json:"id"`
	State    State     `json:"state"`
	Reason   string    `json:"reason"`  // stable code, when State is Failed
	Message  string    `json:"message"` // the reason in words
	Provider string    `json:"provider"`
	Scopes   []string  `json:"scopes"`
	URL      string    `json:"url"` // the link, for that user only
	Expires  time.Time `json:"expiresAt"`
}

// Wait returns when a is over: nil when the user agreed, an
// [*AuthorizationError] when no credential will come of it. Deputy pushes the
// news; Wait survives Deputy's restarts and lost connections, and leaves nothing
// running when it returns. It ends at the latest shortly after a.Expires.
func (c *Client) Wait(ctx context.Context, wat Secret, a Authorization) error {
	return c.Follow(ctx, wat, a, func(Authorization) {})
}

// Follow is [Client.Wait] that tells of each state that a comes to, the final one
// included: the user is at the third party, the code is being redeemed. States
// that pass while Deputy cannot be reached, or between two long polls after that,
// are left out. tell is called by the goroutine that called Follow.
func (c *Client) Follow(ctx context.Context, wat Secret, a Authorization, tell func(Authorization)) error {
	if err := c.ready(); err != nil {
		return err
	}
	end := c.Now().Add(maxWait)
	if !a.Expires.IsZero() && a.Expires.Add(overtime).Before(end) {
		end = a.Expires.Add(overtime)
	}
	bounded, cancel := context.WithTimeout(ctx, end.Sub(c.Now()))
	defer cancel()

	w := waiter{client: c, wat: wat, path: apiPrefix + "/authorizations/" + url.PathEscape(a.ID), ask: c.watch, known: a, hear: tell}
	last, err := w.run(bounded)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case bounded.Err() != nil && !last.State.Final():
		a.State, a.Message = Expired, ""
		return failure(a)
	case err != nil:
		return err
	case last.State == Completed:
		return nil
	}
	last.ID = a.ID
	if last.Provider == "" {
		last.Provider = a.Provider
	}
	return failure(last)
}

// errNoStream says that there is no event stream here, only the long poll.
var errNoStream = errors.New("deputy: no event stream")

// waiter follows one authorization until its end. ask is the way it asks:
// [Client.watch], or [Client.poll] after that was refused or failed repeatedly.
type waiter struct {
	client *Client
	wat    Secret
	path   string
	ask    func(ctx context.Context, wat Secret, path string, tell func(Authorization)) (Authorization, error)
	known  Authorization // in the state that was told last
	hear   func(Authorization)
}

// tell hands on a state that is news. What a state leaves out stays as it was.
func (w *waiter) tell(a Authorization) {
	if a.State == w.known.State {
		return
	}
	w.known.State, w.known.Reason, w.known.Message = a.State, a.Reason, a.Message
	w.hear(w.known)
}

func (w *waiter) run(ctx context.Context) (Authorization, error) {
	var pause backoff
	for failures, garbled := 0, 0; ; {
		began := w.client.Now()
		a, err := w.ask(ctx, w.wat, w.path, w.tell)
		switch {
		case err == nil && a.State.Final():
			return a, nil
		case errors.Is(err, errNoStream):
			w.ask = w.client.poll
			continue
		case err == nil || errors.Is(err, io.EOF):
			// The connection ended in good order, before the authorization did. Ask again at
			// once if it had lasted; a peer that hangs up immediately is not asked in a tight loop.
			failures, garbled = 0, 0
			if w.client.Now().Sub(began) >= time.Second {
				pause = backoff{}
				continue
			}
		case malformed(err):
			if garbled++; garbled == answerAttempts {
				return Authorization{}, err
			}
			w.ask = w.client.poll
		case !transient(err):
			return Authorization{}, err
		default:
			if failures++; failures == 2 {
				w.ask = w.client.poll // something on the way may not like streams
			}
		}
		if err := pause.wait(ctx, min(retryAfter(err), maxPause)); err != nil {
			return Authorization{}, err
		}
	}
}

// malformed reports whether err is an answer that does not come from Deputy as it
// was sent. The page of a proxy, in place of a Deputy that restarts, does not make
// a consent come to nothing; one that stays does.
func malformed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == "answer_malformed"
}

// watch reads the event stream of an authorization until a final state, and
// returns that. [io.EOF] means that the stream ended before.
func (c *Client) watch(ctx context.Context, wat Secret, path string, tell func(Authorization)) (Authorization, error) {
	ctx, hangUp := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(silence, func() { hangUp(errSilent) })
	defer hangUp(nil)
	defer watchdog.Stop()

	resp, err := c.send(ctx, http.MethodGet, path+"/events", wat, nil, "text/event-stream")
	if err != nil {
		return Authorization{}, lost(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p := problem(resp)
		if p.Code == "unexpected_answer" && resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests {
			return Authorization{}, errNoStream // a refusal that is not Deputy's own: something between us
		}
		return Authorization{}, p
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return Authorization{}, errNoStream
	}
	events := newEventReader(alive{resp.Body, watchdog})
	for {
		event, err := events.next()
		if err != nil {
			return Authorization{}, lost(ctx, err)
		}
		if event.name != "state" {
			continue
		}
		var a Authorization
		if err := json.Unmarshal([]byte(event.data), &a); err != nil {
			return Authorization{}, &Error{Code: "answer_malformed", Message: "Deputy's event is not JSON", cause: err}
		}
		if tell(a); a.State.Final() {
			return a, nil
		}
	}
}

var errSilent = errors.New("deputy: the event stream fell silent")

// lost makes an interrupted stream something to try again; the end of the wait itself stays what it is.
func lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errSilent) {
		return ctx.Err()
	}
	var e *Error
	// io.EOF itself is the reader's word for the end of the events; wrapped, it is a connection that was cut.
	if err == io.EOF || errors.As(err, &e) && e.Code != "deputy_unreachable" { //nolint:errorlint // see above
		return err
	}
	// The cause is in words only: it may be the watchdog's own cancellation, which is not the caller's.
	return &Error{Code: "deputy_unreachable", Message: "the connection to Deputy was lost", cause: errors.New(err.Error())}
}

// alive lets every byte that arrives put off the watchdog.
type alive struct {
	io.Reader
	watchdog *time.Timer
}

func (a alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.watchdog.Reset(silence)
	}
	return n, err
}

// poll asks once for the state of an authorization. Deputy answers when it is
// final, or with the present state after [pollFor].
func (c *Client) poll(ctx context.Context, wat Secret, path string, tell func(Authorization)) (Authorization, error) {
	bounded, cancel := context.WithTimeout(ctx, pollFor+answerTimeout)
	defer cancel()
	resp, err := c.send(bounded, http.MethodGet, path+"?wait="+pollFor.String(), wat, nil, "application/json")
	if ctx.Err() != nil {
		if err == nil {
			resp.Body.Close()
		}
		return Authorization{}, ctx.Err()
	}
	if err != nil {
		return Authorization{}, lost(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Authorization{}, problem(resp)
	}
	var a Authorization
	if err := decode(resp.Body, &a); err != nil {
		return a, lost(ctx, err)
	}
	tell(a)
	return a, nil
}

// backoff is a pause that doubles, from about 0.2 s to about 5 s, of which up to
// a half is left to chance, so that many agents do not return in step.
type backoff struct{ n uint }

// wait waits, and not less than Deputy said.
func (b *backoff) wait(ctx context.Context, atLeast time.Duration) error {
	full := min(200*time.Millisecond<<b.n, 5*time.Second)
	if b.n < 8 {
		b.n++
	}
	var seed [8]byte
	rand.Read(seed[:])
	timer := time.NewTimer(max(full/2, atLeast) + time.Duration(binary.BigEndian.Uint64(seed[:])%uint64(full/2)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

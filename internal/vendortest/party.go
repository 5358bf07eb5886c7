// Package vendortest is a third party for tests: it rotates refresh tokens, ends a family on reuse, and can fail in every way that is known of real ones.
package vendortest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vendor"
)

// The client that a [Party] knows.
const (
	ClientID     = "cli_1"
	ClientSecret = "app-SECRET-1f7b"
)

// Fault is how a refresh goes wrong.
type Fault string

// The faults. Of those that end in "Lost" the tokens have rotated, and nobody
// can know the new ones; after the others the refresh token is what it was, or
// its successor was delivered.
const (
	None         Fault = ""
	Slow         Fault = "slow"            // the answer takes Party.Slow
	Dropped      Fault = "dropped"         // the connection is cut before anything is done
	Failed       Fault = "failed"          // status 500, and nothing is done
	Busy         Fault = "busy"            // status 429
	Refused      Fault = "refused"         // status 200 with an error in the body
	Page         Fault = "page"            // status 200 with a page instead of JSON
	EmptyAccess  Fault = "empty access"    // status 200 with an empty access token
	ExpiryText   Fault = "expiry as text"  // expires_in is a string
	OmitsRefresh Fault = "omits refresh"   // no refresh_token in the answer: the old one stays
	AnswerLost   Fault = "answer lost"     // the connection is cut after the rotation
	HalfLost     Fault = "half an answer"  // the connection is cut in the midst of the answer
	FailedLost   Fault = "failed and lost" // status 500 after the rotation
)

// Faults lists all faults.
func Faults() []Fault {
	return []Fault{Slow, Dropped, Failed, Busy, Refused, Page, EmptyAccess, ExpiryText, OmitsRefresh, AnswerLost, HalfLost, FailedLost}
}

// Lost reports whether the fault loses tokens for good.
func (f Fault) Lost() bool { return f == AnswerLost || f == HalfLost || f == FailedLost }

// Family is what came of one authorization.
type Family struct {
	Generation int       // of the tokens that are good; from 1
	Expires    time.Time // of the newest access token
	Requests   int       // for refreshes
	Rotations  int
	Lost       bool // the newest tokens were lost by a fault: whoever sends the former ones cannot know better
	Dead       bool // a spent refresh token was sent
	// UsedTwice counts spent refresh tokens that were sent although the answer to
	// them was delivered, and TooSoon those that were sent after the answer was lost
	// but while the former access token was alive, which the reuse has ended.
	UsedTwice, TooSoon int
	// TooEarly counts rotations while the newest access token had more than a quarter of its life left.
	TooEarly int

	former time.Time // when the access token before the newest one expires
}

// Party is a third party on loopback. It may be used concurrently.
type Party struct {
	Life time.Duration    // of access tokens
	Slow time.Duration    // what [Slow] takes
	Now  func() time.Time // never nil

	server   *httptest.Server
	mu       sync.Mutex
	next     func(family string) Fault
	families map[string]*Family
	injected map[Fault]int
}

// Start starts a third party whose access tokens live for two hours.
func Start(t testing.TB, now func() time.Time) *Party {
	t.Helper()
	p := &Party{Life: 2 * time.Hour, Slow: 30 * time.Millisecond, Now: now, families: map[string]*Family{}, injected: map[Fault]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", p.token)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

// Fail has next say how the next refreshes of each family end. With nil they all
// end well.
func (p *Party) Fail(next func(family string) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = next
}

// URL returns the party's address, without a path.
func (p *Party) URL() string { return p.server.URL }

// Entry returns the catalogue's entry for a third party of which nothing but
// RFC 6749 is known, with the address of a [Party].
func Entry(url string) (vendor.Entry, error) {
	catalogue, err := vendor.Builtin()
	if err != nil {
		return vendor.Entry{}, err
	}
	e, err := catalogue.Lookup("custom")
	if err != nil {
		return vendor.Entry{}, err
	}
	return e.With(vendor.Endpoints{Authorization: url + "/authorize", Token: url + "/token"})
}

// Authorize begins a family and returns its first tokens.
func (p *Party) Authorize() (family, access, refresh string, expires time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	family = name.NewID("fam")
	f := &Family{Generation: 1, Expires: p.Now().Add(p.Life)}
	p.families[family] = f
	return family, token("at", family, 1), token("rt", family, 1), f.Expires
}

// token names its family and generation, so that a test sees what it holds.
func token(kind, family string, generation int) string {
	return fmt.Sprintf("%s.%s.%d", kind, family, generation)
}

// Parse returns the family and generation of a token.
func Parse(token string) (family string, generation int) {
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return "", 0
	}
	if _, err := fmt.Sscanf(part[2], "%d", &generation); err != nil {
		return "", 0
	}
	return part[1], generation
}

// Family returns what became of a family until now.
func (p *Party) Family(id string) Family {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.families[id]
}

// Good reports whether an access token opens anything.
func (p *Party) Good(access string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, generation := Parse(access)
	f := p.families[id]
	if f == nil || f.Dead || !strings.HasPrefix(access, "at.") {
		return false
	}
	return generation == f.Generation && p.Now().Before(f.Expires) || generation == f.Generation-1 && p.Now().Before(f.former)
}

// Injected returns how often each fault happened.
func (p *Party) Injected() map[Fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := map[Fault]int{}
	for fault, n := range p.injected {
		counts[fault] = n
	}
	return counts
}

func (p *Party) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if id != ClientID || secret != ClientSecret || r.PostFormValue("grant_type") != "refresh_token" {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	family, generation := Parse(r.PostFormValue("refresh_token"))
	p.mu.Lock()
	next := p.next
	p.mu.Unlock()
	fault := None
	if next != nil {
		fault = next(family)
	}
	if fault == Slow {
		select {
		case <-time.After(p.Slow):
		case <-r.Context().Done():
			return
		}
	}
	tokens, ok := p.refresh(family, generation, fault)
	switch {
	case fault == Dropped || fault == AnswerLost:
		panic(http.ErrAbortHandler)
	case fault == Failed || fault == FailedLost:
		answer(w, http.StatusInternalServerError, map[string]any{"error": "server_error"})
	case fault == Busy:
		answer(w, http.StatusTooManyRequests, map[string]any{"error": "slow_down"})
	case fault == Refused:
		answer(w, http.StatusOK, map[string]any{"error": "temporarily_unavailable"})
	case fault == Page:
		_, _ = w.Write([]byte("<html>Back soon</html>"))
	case fault == EmptyAccess:
		answer(w, http.StatusOK, map[string]any{"access_token": "", "token_type": "Bearer"})
	case !ok:
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
	case fault == HalfLost:
		w.Header().Set("Content-Length", "500")
		_, _ = w.Write([]byte(`{"access_token":"`))
		panic(http.ErrAbortHandler)
	default:
		answer(w, http.StatusOK, tokens)
	}
}

// refresh does what a refresh does at the third party, before it answers.
func (p *Party) refresh(family string, generation int, fault Fault) (tokens map[string]any, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.injected[fault]++
	f := p.families[family]
	if f == nil {
		return nil, false
	}
	f.Requests++
	if generation != f.Generation { // each is good once; RFC 9700, section 4.14.2
		f.spent(generation, p.Now())
		return nil, false
	}
	switch fault {
	case Dropped, Failed, Busy, Refused, Page, EmptyAccess:
		return nil, false
	}
	if f.Dead {
		return nil, false
	}
	f.Rotations++
	if f.Expires.Sub(p.Now()) > p.Life/4 {
		f.TooEarly++
	}
	tokens = map[string]any{"token_type": "Bearer", "expires_in": int(p.Life.Seconds())}
	if fault == ExpiryText {
		tokens["expires_in"] = fmt.Sprint(int(p.Life.Seconds()))
	}
	f.former, f.Expires, f.Lost = f.Expires, p.Now().Add(p.Life), fault.Lost()
	if fault == OmitsRefresh {
		tokens["access_token"] = token("at", family, f.Generation)
		return tokens, true
	}
	f.Generation++
	tokens["access_token"], tokens["refresh_token"] = token("at", family, f.Generation), token("rt", family, f.Generation)
	return tokens, true
}

// spent ends the family, and notes what could have been known better.
func (f *Family) spent(generation int, now time.Time) {
	switch {
	case !f.Lost || generation < f.Generation-1:
		f.UsedTwice++
	case !f.Dead && now.Before(f.former):
		f.TooSoon++
	}
	f.Dead = true
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

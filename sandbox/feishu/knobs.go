package feishu

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Operation names what a request does, for counters and knobs. A token request
// counts twice: under its path (token_v2, token_v3) and under its grant
// (exchange, refresh); a knob turned on either applies to it.
type Operation string

// The operations.
const (
	OpAuthorize  Operation = "authorize"
	OpTokenV2    Operation = "token_v2"
	OpTokenV3    Operation = "token_v3"
	OpExchange   Operation = "exchange"
	OpRefresh    Operation = "refresh"
	OpAppToken   Operation = "app_token"
	OpUserInfo   Operation = "user_info"
	OpRawContent Operation = "raw_content"
)

// Operations lists every operation.
func Operations() []Operation {
	return []Operation{OpAuthorize, OpTokenV2, OpTokenV3, OpExchange, OpRefresh, OpAppToken, OpUserInfo, OpRawContent}
}

// maxLatency keeps a mistyped knob from hanging a test run.
const maxLatency = time.Minute

// Refusal is an error to answer instead of doing the work. Nothing is consumed.
type Refusal struct {
	Code   int    `json:"code"`             // Feishu's number; may be 0, with Error set
	Status int    `json:"status,omitempty"` // HTTP status; 0 means the one that belongs to Code
	Error  string `json:"error,omitempty"`  // token endpoint only: overrides the OAuth error word
}

// knobs are the faults that a test asked for, and the counters.
type knobs struct {
	mu           sync.Mutex
	calls        map[Operation]int64
	latency      map[Operation]time.Duration
	drops        map[Operation]int
	refusals     map[Operation][]Refusal
	killOnRotate bool
	accessLife   time.Duration // of tokens issued from now on
}

const maxRefusals = 1024 // pending per operation

func newKnobs() *knobs {
	k := &knobs{calls: make(map[Operation]int64)}
	k.reset()
	return k
}

// reset turns every knob back; counters stay. k.mu must be held or k unshared.
func (k *knobs) reset() {
	k.latency = make(map[Operation]time.Duration)
	k.drops = make(map[Operation]int)
	k.refusals = make(map[Operation][]Refusal)
	k.killOnRotate = false
	k.accessLife = AccessLifetime
}

// begin counts a request, waits out the latency, and returns the refusal that is
// due, if any. It reports false if the client left while waiting.
func (s *Sandbox) begin(r *http.Request, ops ...Operation) (*Refusal, bool) {
	k := s.knobs
	k.mu.Lock()
	var wait time.Duration
	var due *Refusal
	for _, op := range ops {
		k.calls[op]++
		wait += k.latency[op]
		if pending := k.refusals[op]; due == nil && len(pending) > 0 {
			due = &pending[0]
			k.refusals[op] = pending[1:]
		}
	}
	k.mu.Unlock()
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return nil, false
		}
	}
	return due, true
}

// dropDue reports whether the answer to a request that succeeded must be lost.
func (k *knobs) dropDue(ops ...Operation) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, op := range ops {
		if k.drops[op] > 0 {
			k.drops[op]--
			return true
		}
	}
	return false
}

func (k *knobs) kills() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.killOnRotate
}

// SetLatency delays every request of op by d, at most a minute; 0 turns it off.
func (s *Sandbox) SetLatency(op Operation, d time.Duration) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	s.knobs.latency[op] = min(max(d, 0), maxLatency)
}

// DropNext lets the next n successful requests of op do their work and then
// closes the connection instead of answering: it happened, and nobody knows.
func (s *Sandbox) DropNext(op Operation, n int) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	s.knobs.drops[op] = max(n, 0)
}

// RefuseNext makes the next request of op fail with refusal. Several calls queue.
func (s *Sandbox) RefuseNext(op Operation, refusal Refusal) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	if len(s.knobs.refusals[op]) < maxRefusals {
		s.knobs.refusals[op] = append(s.knobs.refusals[op], refusal)
	}
}

// KillOnRotate says whether a refresh also kills the access token that came with
// the old refresh token.
func (s *Sandbox) KillOnRotate(on bool) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	s.knobs.killOnRotate = on
}

func (k *knobs) life() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.accessLife
}

// SetAccessLifetime says how long access tokens live that are issued from now
// on, in whole seconds and at most [AccessLifetime], which 0 stands for.
func (s *Sandbox) SetAccessLifetime(d time.Duration) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	if d = d.Truncate(time.Second); d <= 0 || d > AccessLifetime {
		d = AccessLifetime
	}
	s.knobs.accessLife = d
}

// ResetKnobs turns off latency, drops, refusals, SetAccessLifetime and
// KillOnRotate.
func (s *Sandbox) ResetKnobs() {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	s.knobs.reset()
}

// ExpireAccessTokens makes every access token issued so far expired (99991677).
func (s *Sandbox) ExpireAccessTokens() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, a := range s.state.accesses.items {
		a.expires = s.now()
	}
}

// ExpireRefreshTokens makes every refresh token issued so far expired (20037).
func (s *Sandbox) ExpireRefreshTokens() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, r := range s.state.refreshs.items {
		r.expires = s.now()
	}
}

// Revoke takes back all that username ever agreed to: refresh tokens answer
// 20064, access tokens 99991668, and the next consent starts from nothing.
func (s *Sandbox) Revoke(username string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, a := range s.state.accesses.items {
		a.dead = a.dead || a.user == username
	}
	for _, r := range s.state.refreshs.items {
		r.revoked = r.revoked || r.user == username
	}
	maps.DeleteFunc(s.state.grants, func(k grantKey, _ scopeSet) bool { return k.user == username })
}

// Calls returns how often each operation was requested since the start.
func (s *Sandbox) Calls() map[Operation]int64 {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	return maps.Clone(s.knobs.calls)
}

// Issued returns the secret values handed out, newest last, so that a test can
// prove that none of them is in a log. Only the latest few thousand are kept.
func (s *Sandbox) Issued() []Issued {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return slices.Clone(s.state.issued)
}

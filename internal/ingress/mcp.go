package ingress

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// mcpSession is the header that names a session (Model Context Protocol,
// Transports, Session Management).
const mcpSession = "Mcp-Session-Id"

const codeSession = "session_not_found"

// maxSession bounds a session's name, in bytes.
const maxSession = 512

// sealSession returns the name by which a caller knows the session that the
// agent calls id. It is good for this caller at this agent only, so that whoever
// learns the name of somebody else's session has nothing: most servers take the
// name for proof enough.
func (h *Handler) sealSession(w name.Workload, caller, id string) string {
	m := hmac.New(sha256.New, h.sessionKey[:])
	// No two of these run together into the same: names have no NUL.
	for _, part := range []string{w.Pool, w.Name, id, caller} {
		m.Write([]byte(part))
		m.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16]) + "." + id
}

// openSession notes which session of the agent a request is about. One of
// somebody else looks like one that is not there: clients then begin another, as
// they must (Session Management, 3 and 4).
func (h *Handler) openSession(q *request, caller string) error {
	values := q.in.Header[mcpSession]
	if len(values) == 0 {
		return nil
	}
	if len(values) == 1 && len(values[0]) <= maxSession {
		if _, id, ok := strings.Cut(values[0], "."); ok && visible(id) && hmac.Equal([]byte(h.sealSession(q.workload, caller, id)), []byte(values[0])) {
			q.mcp = id
			return nil
		}
	}
	return fault.New(fault.NotFound, codeSession, "there is no such session of yours").WithFix("begin a new one: initialize, without %s", mcpSession)
}

// keepSession puts the caller's name of a session in place of the agent's.
func (h *Handler) keepSession(q *request, r *http.Response, caller string) error {
	values := r.Header[mcpSession]
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || len(values[0]) > maxSession-24 || !visible(values[0]) {
		return fault.New(fault.Upstream, "session_malformed", "the agent names a session in a way that cannot be passed on")
	}
	r.Header[mcpSession] = []string{h.sealSession(q.workload, caller, values[0])}
	return nil
}

// visible reports whether s is made of visible ASCII characters, as the names of
// sessions are.
func visible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

package ingress

import (
	"bytes"
	"net/http"
	"strings"
)

// withheld reports whether a header, in the form that plain gives it, never
// reaches an agent as a client sent it: credentials, everything that says who is
// calling or from where, and what the ingress sets itself.
func withheld(plain []byte) bool {
	switch string(plain) {
	case "authorization", "proxy-authorization", "cookie", "cookie2",
		"workloadaccesstoken", "workload-access-token", "x-workload-access-token", "x-workloadaccesstoken",
		"user-id", "userid", "x-user-id", "x-userid", "session-id", "sessionid", "x-session-id", "x-sessionid", "x-request-id",
		"remote-user", "x-remote-user", "x-authenticated-user", "forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "x-original-url",
		"x-rewrite-url", "x-http-method-override", "expect", "upgrade", "http2-settings":
		return true
	}
	for _, family := range [...]string{"x-amz", "x-amzn", "x-ve", "x-deputy", "x-forwarded", "x-auth-request"} {
		if len(plain) >= len(family) && string(plain[:len(family)]) == family && (len(plain) == len(family) || plain[len(family)] == '-') {
			return true
		}
	}
	return false
}

// plain returns a header name as the most forgiving server might read it: in
// small letters, with every sign that is no letter or digit as '-'. CGI and its
// successors make HTTP_USER_ID of user-id, user_id and User.Id alike, so a check
// of one spelling would be passed by another. It is written to room, if it fits:
// every header of every request comes by here.
func plain(header string, room []byte) []byte {
	b := append(room[:0], header...)
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case (c < 'a' || c > 'z') && (c < '0' || c > '9'):
			b[i] = '-'
		}
	}
	return bytes.Trim(b, "-")
}

// stripped returns h without what a client may not say to an agent. The values
// are shared with h.
func stripped(h http.Header) http.Header {
	kept := make(http.Header, len(h))
	var room [64]byte
	for header, values := range h {
		if !withheld(plain(header, room[:])) {
			kept[header] = values
		}
	}
	return kept
}

// sessionID returns the client's conversation id, or "" if there is none that
// can be passed on: ^[A-Za-z0-9_-]{1,128}$.
func sessionID(h http.Header) string {
	for _, header := range []string{"Session_id", "X-Session-Id"} {
		if values := h[header]; len(values) == 1 && len(values[0]) <= 128 && values[0] != "" && !strings.ContainsFunc(values[0], notIDRune) {
			return values[0]
		}
	}
	return ""
}

func notIDRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
}

// clean removes from an agent's answer what would act on the ingress's host as a
// whole: cookies ignore ports, so an agent could set those of the login pages.
func clean(h http.Header) {
	var room [64]byte
	for header := range h {
		p := plain(header, room[:])
		switch string(p) {
		case "set-cookie", "set-cookie2", "clear-site-data", "strict-transport-security", "alt-svc", "service-worker-allowed", "public-key-pins", "refresh":
			delete(h, header)
		default:
			if bytes.HasPrefix(p, []byte("access-control-")) {
				delete(h, header)
			}
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
}

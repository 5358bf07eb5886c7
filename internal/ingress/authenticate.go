package ingress

import (
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/usertoken"
	"github.com/deputy-id/deputy/internal/workload"
)

// credential returns the one bearer value that a request shows, or "". Those in
// bodies and queries are not looked for.
func (q *request) credential() (string, error) {
	shown, err := bearer(q.in.Header)
	if err != nil || q.route != routeSocket {
		return shown, err
	}
	inProtocol, err := socketToken(q.in.Header)
	if err != nil || inProtocol == "" {
		return shown, err
	}
	if len(q.in.Header["Authorization"]) > 0 {
		return "", fault.New(fault.Invalid, "token_ambiguous", "there is a token in the Authorization header and one among the subprotocols").WithFix("send one")
	}
	q.socket = true
	return inProtocol, nil
}

// bearer returns the one bearer value in the Authorization header (RFC 6750,
// section 2.1), or "" if there is no such header.
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		// Whoever stands in front of us may have looked at the other one.
		return "", fault.New(fault.Invalid, "token_ambiguous", "there are %d Authorization headers", len(values)).WithFix("send one")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", noToken()
	case len(token) > jwt.MaxToken:
		return "", unauthenticated("token_malformed", "the token is larger than %d bytes", jwt.MaxToken)
	case !b64Token(token):
		return "", unauthenticated("token_malformed", "the bearer token is malformed")
	}
	return token, nil
}

// b64Token reports whether s may be a bearer token (RFC 6750, section 2.1).
func b64Token(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return s != ""
}

func unauthenticated(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Unauthenticated, code, format, args...)
}

// noToken is the fault of a request without anything that could prove a caller.
func noToken() error {
	return unauthenticated("token_missing", "there is no bearer token").WithFix("send Authorization: Bearer <access token>")
}

// authenticate fills in who is calling, or returns why he is not let in. shown
// is what the request shows; "" is nothing.
func (h *Handler) authenticate(q *request, shown string, d *Decision) error {
	in := q.inbound
	switch {
	case !q.browser && workload.IsCall(shown): // what lets agents in is the workload's settings, not its definition
		return h.byCall(q, shown, d)
	case in.Open && (shown == "" || in.DiscoveryURL == "" && !in.APIKeys && !q.browser):
		return h.nobody(q)
	case shown == "":
		return noToken()
	case q.browser:
		return h.byToken(q, ofSession(in), shown, d)
	case agent.IsKey(shown):
		return h.byKey(q, in, shown, d)
	default:
		return h.byToken(q, in, shown, d)
	}
}

// nobody lets in a request that proves nobody. It must not come from a page of
// another origin: whoever opens such a page in his browser is not the one who
// wants to call the agent, and may reach it where the page's author cannot.
func (h *Handler) nobody(q *request) error {
	for _, origin := range q.in.Header["Origin"] {
		if origin != h.config.URL {
			return foreignOrigin()
		}
	}
	return nil
}

func (h *Handler) byKey(q *request, in agent.Inbound, shown string, d *Decision) error {
	if !in.APIKeys {
		return unauthenticated("keys_not_taken", "this agent is not called with keys").WithFix("add key_auth to runtime_auth_type in agentkit.yaml")
	}
	key, err := h.config.Keys.Verify(q.in.Context(), q.workload, secret.FromString(shown))
	if err != nil {
		return err
	}
	d.Key, d.User = key, key.User
	return nil
}

// byCall lets in an agent that calls for its user.
func (h *Handler) byCall(q *request, shown string, d *Decision) error {
	caller, err := h.config.Calls.Called(q.in.Context(), q.workload, secret.FromString(shown))
	d.Agent, d.Chain, d.User = caller.Workload, caller.Chain, caller.User
	return err
}

func (h *Handler) byToken(q *request, in agent.Inbound, token string, d *Decision) error {
	if in.DiscoveryURL == "" {
		f := unauthenticated("tokens_not_taken", "this agent is not called with tokens")
		if in.Session != nil {
			return f.WithFix("log in on the agent's own page")
		}
		return f.WithFix("send a key of the agent")
	}
	claims, err := h.config.Verifier.Verify(q.in.Context(), in.DiscoveryURL, token)
	if err == nil {
		d.User, d.Client, err = usertoken.RuleOf(in, h.resource(q.workload)).Judge(claims)
	}
	return err
}

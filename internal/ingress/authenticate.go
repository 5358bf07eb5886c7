package ingress

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
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

func (h *Handler) byToken(q *request, in agent.Inbound, token string, d *Decision) error {
	if in.DiscoveryURL == "" {
		f := unauthenticated("tokens_not_taken", "this agent is not called with tokens")
		if in.Session != nil {
			return f.WithFix("log in on the agent's own page")
		}
		return f.WithFix("send a key of the agent")
	}
	claims, err := h.config.Verifier.Verify(q.in.Context(), in.DiscoveryURL, token)
	if err != nil {
		return err
	}
	more := claims.more
	if more.Nonce != nil || more.AtHash != nil || more.Events != nil {
		// They have type JWT like many access tokens, and travel through browsers.
		return unauthenticated("token_type", "this is an ID token or a logout token").WithFix("send the access token")
	}
	if !agent.SubjectFits(claims.Subject) {
		return unauthenticated("token_subject", "the token names no user that can be passed on").
			WithFix("its sub must be 1 to 255 printable ASCII characters")
	}
	d.User = name.User{Issuer: claims.Issuer, Subject: claims.Subject}
	if d.Client = claims.ClientID; d.Client == "" {
		d.Client = more.AuthorizedParty
	}
	if len(in.AllowedClients) > 0 && (d.Client == "" || !slices.Contains(in.AllowedClients, d.Client)) {
		return fault.New(fault.Forbidden, "client_not_allowed", "client %q may not call this agent", name.Clip(d.Client, 80)).
			WithFix("add it to runtime_jwt_allowed_clients in agentkit.yaml")
	}
	if err := h.meant(q, in, claims); err != nil {
		return err
	}
	return entitled(in, claims)
}

// meant checks that the token is meant for the agent: for its address, or for
// one of the audiences that it allows, or, if it names none, for a client that
// may call it. One that such a client got for a third service does not open this
// one.
func (h *Handler) meant(q *request, in agent.Inbound, claims Claims) error {
	others := in.AllowedAudiences
	if len(others) == 0 {
		others = in.AllowedClients
	}
	if len(others) == 0 {
		return nil // any client's token for anything, of which the definition's author was warned
	}
	own := h.resource(q.workload)
	for _, audience := range claims.Audience {
		if audience == own || slices.Contains(others, audience) {
			return nil
		}
	}
	return unauthenticated("token_audience", "the token is not meant for this agent").
		WithFix("its audience must be %s, or one that agentkit.yaml allows", own)
}

// entitled checks what a token must say besides.
func entitled(in agent.Inbound, claims Claims) error {
	for _, scope := range in.RequiredScopes {
		if !slices.Contains(strings.Fields(claims.Scope), scope) && !claims.has("scp", []string{scope}) {
			return fault.New(fault.Forbidden, codeScope, "the token lacks the scope %s", scope).WithFix("ask for %s", strings.Join(in.RequiredScopes, " "))
		}
	}
	for claim, values := range in.RequiredClaims {
		if !claims.has(claim, values) {
			return fault.New(fault.Forbidden, "claim_missing", "the token's claim %q is not as this agent demands", claim)
		}
	}
	return nil
}

// Claims are what a verified token says, as far as the ingress wants to know.
type Claims struct {
	jwt.Claims
	more extra
}

// extra are claims besides those of jwt.Claims.
type extra struct {
	AuthorizedParty string `json:"azp"`     // OpenID Connect Core 1.0, section 2
	Nonce           *any   `json:"nonce"`   // in ID tokens
	AtHash          *any   `json:"at_hash"` // in ID tokens
	Events          *any   `json:"events"`  // in logout tokens
}

// has reports whether a claim is one of values, or a list with one of them, or
// a text of several words with one of them if it is scp, which some issuers have
// in place of scope.
func (c Claims) has(claim string, values []string) bool {
	var all map[string]json.RawMessage
	if wire.DecodeForeign(c.Raw, &all) != nil {
		return false
	}
	var list []json.RawMessage
	if json.Unmarshal(all[claim], &list) != nil {
		list = []json.RawMessage{all[claim]}
	}
	for _, item := range list {
		said := []string{string(item)} // a number or a truth value
		var text string
		switch err := json.Unmarshal(item, &text); {
		case len(item) == 0 || string(item) == "null":
			continue
		case err == nil && claim == "scp":
			said = strings.Fields(text)
		case err == nil:
			said = []string{text}
		}
		if slices.ContainsFunc(said, func(s string) bool { return slices.Contains(values, s) }) {
			return true
		}
	}
	return false
}

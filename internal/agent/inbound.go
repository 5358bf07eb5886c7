package agent

import (
	"maps"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/deputy-id/deputy/internal/name"
)

// Inbound says whose requests are let in to the agent. What is not named lets
// nobody in: the zero Inbound is a closed door.
type Inbound struct {
	// DiscoveryURL is that of the issuer whose JWTs are taken; "": none are.
	DiscoveryURL     string   `json:"discoveryUrl"`
	AllowedClients   []string `json:"allowedClients"`             // empty: any client of the issuer
	AllowedAudiences []string `json:"allowedAudiences,omitempty"` // besides the agent itself; empty: an allowed client
	RequiredScopes   []string `json:"requiredScopes,omitempty"`   // a token must have all of them
	// RequiredClaims are claims that a token must have, each with one of the values.
	RequiredClaims map[string][]string `json:"requiredClaims,omitempty"`
	APIKeys        bool                `json:"apiKeys,omitempty"` // whoever has a [Key] of the agent is let in
	Open           bool                `json:"open,omitempty"`    // whoever shows neither token nor key is let in, as nobody
	Session        *Session            `json:"session,omitempty"` // who logged in at the ingress with his browser is let in; nil: there is no login
}

// Session says where people log in who talk to an agent on its own page, and as
// which client. What tokens must say holds for the one that such a login gets, too.
type Session struct {
	DiscoveryURL string `json:"discoveryUrl"`
	Client       string `json:"client"` // a public client of the issuer
}

// Ways returns which values of runtime_auth_type let callers in.
func (in Inbound) Ways() []string {
	var ways []string
	if in.DiscoveryURL != "" {
		ways = append(ways, customJWT)
	}
	if in.APIKeys {
		ways = append(ways, keyAuth)
	}
	if in.Session != nil {
		ways = append(ways, poolSession)
	}
	if in.Open {
		ways = append(ways, noAuth)
	}
	return ways
}

// Protocol is a way of talking to an agent through the ingress.
type Protocol string

// The protocols.
const (
	Invoke    Protocol = "invoke"    // POST of JSON, answered by JSON or server-sent events
	WebSocket Protocol = "websocket" // RFC 6455
	A2A       Protocol = "a2a"       // Agent2Agent: the agent card, and JSON-RPC
	MCP       Protocol = "mcp"       // Model Context Protocol, streamable HTTP
)

// Paths says under which paths an agent listens for which protocols. Nothing
// else of an agent can be reached. None: [Invoke] alone.
type Paths map[Protocol]string

// usualPaths are the paths that SDKs of agents use if they are told nothing.
func usualPaths() Paths {
	return Paths{Invoke: "/invoke", WebSocket: "/ws", A2A: "/", MCP: "/mcp"}
}

// Of returns the agent's path for a protocol, and whether it speaks that.
func (p Paths) Of(protocol Protocol) (string, bool) {
	if len(p) == 0 {
		return "/invoke", protocol == Invoke
	}
	at, ok := p[protocol]
	return at, ok
}

// Protocols returns the names of the protocols that the agent speaks, sorted.
func (p Paths) Protocols() []string {
	if len(p) == 0 {
		return []string{string(Invoke)}
	}
	list := make([]string, 0, len(p))
	for _, protocol := range slices.Sorted(maps.Keys(p)) {
		list = append(list, string(protocol))
	}
	return list
}

const (
	maxListed = 100 // clients, audiences, scopes, values of a claim
	maxClaims = 20
)

// The values of runtime_auth_type.
const (
	customJWT   = "custom_jwt"
	keyAuth     = "key_auth"
	poolSession = "pool_session"
	noAuth      = "none"
)

// inbound reads who is let in. In the original runtime_auth_type is a single
// word; here it may also be a list.
func (p *parser) inbound(f map[string]entry, launch LaunchType) (Inbound, error) {
	in := Inbound{AllowedClients: []string{}}
	at := "launch_types." + string(launch) + "."
	e := f["runtime_auth_type"].orNull()
	kinds := []string{e.value.Value}
	if e.value.Kind == yaml.SequenceNode {
		var err error
		if kinds, err = e.texts("one of custom_jwt, key_auth, pool_session and none"); err != nil {
			return in, err
		}
	}
	if e.value.Kind == yaml.MappingNode {
		return in, e.fault("agentkit_invalid", "%s must be a text or a list of texts", e.path)
	}
	if e.blank() {
		return in, missing(at+"runtime_auth_type", "runtime_auth_type: custom_jwt (or key_auth, or a list of both), so that it is known whom to let in")
	}
	for _, kind := range kinds {
		if _, err := choice(e, kind, customJWT, keyAuth, poolSession, noAuth); err != nil {
			return in, err
		}
	}
	in.APIKeys, in.Open = slices.Contains(kinds, keyAuth), slices.Contains(kinds, noAuth)
	if in.Open {
		p.warn(e.path, e.line, "none lets in everybody who reaches the ingress, without a name: whatever the agent may do for itself, it does for strangers")
	}
	direct, sessions := slices.Contains(kinds, customJWT), slices.Contains(kinds, poolSession)
	for _, field := range slices.Sorted(maps.Keys(f)) {
		if reason := idle(field, direct, sessions); reason != "" && !f[field].blank() {
			p.warn(f[field].path, f[field].line, reason)
		}
	}
	if !direct && !sessions {
		return in, nil
	}
	if err := p.tokens(f, at, &in, direct); err != nil || !sessions {
		return in, err
	}
	in.Session = &Session{DiscoveryURL: in.DiscoveryURL}
	if !direct {
		in.DiscoveryURL = ""
	}
	if err := scalar(f, "runtime_session_client", &in.Session.Client); err != nil {
		return in, err
	}
	if in.Session.Client == "" {
		return in, missing(at+"runtime_session_client", "the id of a public client of the issuer, as which people log in; its redirect URI is <ingress URL>/agents/<pool>/<agent>/callback")
	}
	return in, nil
}

// idle returns why a field has no effect with these ways in; "" if it has one.
func idle(field string, direct, sessions bool) string {
	switch {
	case field == "runtime_session_client" && !sessions:
		return "runtime_auth_type does not name pool_session, so nobody logs in at the ingress"
	case !strings.HasPrefix(field, "runtime_jwt_") || direct:
		return ""
	case !sessions:
		return "runtime_auth_type does not name custom_jwt, so no token is taken"
	case field == "runtime_jwt_allowed_clients":
		return "runtime_auth_type does not name custom_jwt, so no token is taken but that of runtime_session_client"
	default:
		return ""
	}
}

// tokens reads which JWTs are taken; from callers themselves, if direct.
func (p *parser) tokens(f map[string]entry, at string, in *Inbound, direct bool) error {
	if err := scalar(f, "runtime_jwt_discovery_url", &in.DiscoveryURL); err != nil {
		return err
	}
	if in.DiscoveryURL == "" {
		return missing(at+"runtime_jwt_discovery_url", "the discovery URL of the issuer whose users may call the agent")
	}
	if err := checkDiscovery(in.DiscoveryURL); err != "" {
		return f["runtime_jwt_discovery_url"].fault("agentkit_invalid", "the discovery URL %s", err).
			WithFix("use https://…/.well-known/openid-configuration (http on the loopback interface only)")
	}
	for _, list := range []struct {
		field, what string
		into        *[]string
	}{
		{"runtime_jwt_allowed_clients", "client id", &in.AllowedClients},
		{"runtime_jwt_allowed_audiences", "audience", &in.AllowedAudiences},
		{"runtime_jwt_required_scopes", "scope", &in.RequiredScopes},
	} {
		found, err := f[list.field].orNull().texts(list.what)
		if err != nil {
			return err
		}
		*list.into = append(*list.into, found...)
	}
	if _, err := name.NewScopes(in.RequiredScopes...); err != nil {
		return f["runtime_jwt_required_scopes"].fault("agentkit_invalid", "%s holds something that is no scope", f["runtime_jwt_required_scopes"].path)
	}
	if len(in.AllowedClients) == 0 && direct {
		line := f["runtime_jwt_discovery_url"].line
		if e, ok := f["runtime_jwt_allowed_clients"]; ok {
			line = e.line
		}
		reason := "no client is named, so every client of the issuer is let in"
		if len(in.AllowedAudiences) > 0 {
			reason += " that gets a token for one of the audiences"
		}
		p.warn(at+"runtime_jwt_allowed_clients", line, reason)
	}
	var err error
	in.RequiredClaims, err = claims(f["runtime_jwt_required_claims"].orNull())
	return err
}

// claims reads a mapping from names of claims to the values that will do: one,
// or a list.
func claims(e entry) (map[string][]string, error) {
	fields, err := e.mapping()
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	if len(fields) > maxClaims {
		return nil, e.fault("agentkit_invalid", "%s has more than %d claims", e.path, maxClaims)
	}
	required := make(map[string][]string, len(fields))
	for _, claim := range slices.Sorted(maps.Keys(fields)) {
		f := fields[claim]
		if f.value.Kind == yaml.ScalarNode {
			f.value = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{f.value}, Line: f.value.Line}
		}
		values, err := f.texts("value of a claim")
		if err != nil {
			return nil, err
		}
		if claim == "" || len(values) == 0 {
			return nil, f.fault("agentkit_invalid", "%s names no value that will do", f.path).WithFix("write claim: value, or claim: [value, value]")
		}
		required[claim] = values
	}
	return required, nil
}

// texts returns the items of a list of texts; none for null.
func (e entry) texts(what string) ([]string, error) {
	if e.null() {
		return nil, nil
	}
	if e.value.Kind != yaml.SequenceNode {
		return nil, e.fault("agentkit_invalid", "%s must be a list of texts", e.path)
	}
	if len(e.value.Content) > maxListed {
		return nil, e.fault("agentkit_invalid", "%s has more than %d entries", e.path, maxListed)
	}
	var list []string
	for _, n := range e.value.Content {
		n = follow(n)
		if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || strings.TrimSpace(n.Value) == "" || len(n.Value) > 255 {
			// An empty client id, for one, would be equal to the missing one of a token.
			return nil, entry{e.path, n, n.Line}.fault("agentkit_invalid", "%s holds something that is no %s", e.path, what)
		}
		list = append(list, n.Value)
	}
	return list, nil
}

var pathShape = regexp.MustCompile(`^/[A-Za-z0-9._~/-]{0,255}$`)

// paths reads which protocols an agent speaks, and where. A protocol without a
// path has the usual one.
func paths(e entry) (Paths, error) {
	fields, err := e.mapping()
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	usual, found := usualPaths(), make(Paths, len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		f, protocol := fields[key], Protocol(key)
		at, known := usual[protocol]
		if !known {
			words := usual.Protocols()
			return nil, f.fault("agentkit_unknown_field", "there is no protocol %q", name.Clip(key, 80)).
				WithFix("%s", name.DidYouMean(key, words, "use "+strings.Join(words, ", ")))
		}
		if err := scalar(fields, key, &at); err != nil {
			return nil, err
		}
		if !pathShape.MatchString(at) || at != "/" && path.Clean(at) != strings.TrimSuffix(at, "/") {
			return nil, f.fault("agentkit_invalid", "%s is not a path", f.path).
				WithFix("use letters, digits, '.', '_', '~', '-' and '/', beginning with '/', such as %s", usual[protocol])
		}
		found[protocol] = at
	}
	return found, nil
}

// checkDiscovery returns what is wrong with a discovery URL, or "".
func checkDiscovery(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "is not an absolute URL"
	}
	host := u.Hostname()
	ip, ipErr := netip.ParseAddr(host)
	loopback := host == "localhost" || (ipErr == nil && ip.IsLoopback())
	switch {
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "has a user, a query or a fragment"
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback):
		return "is not an https URL"
	case !strings.Contains(u.Path, "/.well-known/openid-configuration") && !strings.Contains(u.Path, "/.well-known/oauth-authorization-server"):
		return "is not that of a discovery document"
	default:
		return ""
	}
}

package ingress

import (
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/usertoken"
	"github.com/deputy-id/deputy/internal/wire"
)

// challenge returns what WWW-Authenticate says about a refusal (RFC 6750, section
// 3; RFC 9728, section 5.1), or "" if no other token would help.
func (h *Handler) challenge(q *request, status int, e *fault.Error) string {
	if status != http.StatusUnauthorized && e.Code != usertoken.CodeScope && e.Code != "token_ambiguous" {
		return ""
	}
	params := []string{`Bearer realm="deputy"`}
	switch e.Code {
	case "token_missing":
		// RFC 6750, section 3.1: no error for those who did not know that they need a token.
	case usertoken.CodeScope:
		params = append(params, `error="insufficient_scope"`)
	case "token_ambiguous":
		params = append(params, `error="invalid_request"`)
	default:
		params = append(params, `error="invalid_token"`)
	}
	if len(params) > 1 {
		params = append(params, `error_description="`+quotable(e.Message)+`"`)
	}
	if scopes := q.inbound.RequiredScopes; len(scopes) > 0 {
		params = append(params, `scope="`+strings.Join(scopes, " ")+`"`)
	}
	return strings.Join(append(params, `resource_metadata="`+h.config.URL+metadataPrefix+"/agents/"+q.workload.Pool+"/"+q.workload.Name+`"`), ", ")
}

// quotable replaces what error_description may not hold (RFC 6750, section 3).
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		default:
			return r
		}
	}, s)
}

// metadataJSON is what RFC 9728, section 2, says of a protected resource.
type metadataJSON struct {
	Resource string   `json:"resource"`
	Name     string   `json:"resource_name"`
	Servers  []string `json:"authorization_servers,omitempty"`
	Methods  []string `json:"bearer_methods_supported"`
	Scopes   []string `json:"scopes_supported,omitempty"`
}

// metadata tells everybody where tokens for an agent come from.
func (h *Handler) metadata(q *request) {
	a, _, err := h.config.Fleet.Lookup(q.workload)
	if err != nil {
		h.refuse(q, err)
		return
	}
	in := a.Definition.Inbound
	doc := metadataJSON{Resource: h.resource(q.workload), Name: q.workload.Name, Methods: []string{"header"}, Scopes: in.RequiredScopes}
	if in.DiscoveryURL != "" {
		issuer, err := h.config.Verifier.Issuer(q.in.Context(), in.DiscoveryURL)
		if err != nil {
			h.refuse(q, err)
			return
		}
		doc.Servers = []string{issuer}
	}
	wire.Write(q.out, http.StatusOK, doc)
}

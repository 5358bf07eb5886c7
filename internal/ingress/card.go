package ingress

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
)

// cardPath is where an agent has its card (Agent2Agent Protocol, section 5.3).
const cardPath = "/" + string(routeCard)

// maxCard bounds an agent card, in bytes.
const maxCard = 256 << 10

// The transport that is passed through, as cards call it.
const jsonRPC = "JSONRPC"

// The names of the security schemes in a card.
const (
	schemeTokens = "deputy_token"
	schemeKeys   = "deputy_key"
)

type object = map[string]any

// card replaces what an agent's card says about the way to the agent, which the
// agent cannot know: its addresses, and how callers prove themselves.
func (h *Handler) card(q *request, r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return nil
	}
	text, err := wire.ReadAll(r.Body, maxCard)
	if closed := r.Body.Close(); err == nil {
		err = closed
	}
	card := map[string]json.RawMessage{}
	if err == nil {
		err = wire.DecodeForeign(text, &card)
	}
	if err != nil || len(card) == 0 {
		return errNoCard(err)
	}
	if err := h.readdress(q, card); err != nil {
		return err
	}
	if text, err = json.Marshal(card); err != nil {
		return errNoCard(err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	r.Header["Content-Length"], r.Header["Content-Type"] = []string{strconv.Itoa(len(text))}, []string{"application/json"}
	delete(r.Header, "Etag") // of what the agent sent
	return nil
}

func errNoCard(err error) error {
	return fault.Wrap(err, fault.Upstream, "card_malformed", "what the agent has at %s is not an agent card", cardPath)
}

// readdress does so in the shape of version 1.0 for a card with
// supportedInterfaces, and in that of 0.3 for one with a url.
func (h *Handler) readdress(q *request, card map[string]json.RawMessage) error {
	at, in := h.resource(q.workload)+"/"+string(routeMessages), q.inbound
	// The signatures are over what is replaced, and an extended card would have the old addresses.
	remove(card, "signatures", "additionalInterfaces", "supportsAuthenticatedExtendedCard", "security", "securityRequirements", "securitySchemes", "preferredTransport")
	interfaces, ok := card["supportedInterfaces"]
	remove(card, "url", "supportedInterfaces")
	set := func(key string, v any) {
		b, err := json.Marshal(v)
		if err == nil { // what is set here is made of texts
			card[key] = b
		}
	}
	if !ok {
		set("url", at)
		set("preferredTransport", jsonRPC)
		set("securitySchemes", in03(in))
		set("security", demands(in, func(scheme string, scopes []string) object { return object{scheme: scopes} }))
		return nil
	}
	var ways []object
	if err := json.Unmarshal(interfaces, &ways); err != nil {
		return errNoCard(err)
	}
	kept := []object{}
	for _, way := range ways {
		if way["protocolBinding"] == jsonRPC {
			remove(way, "url")
			way["url"] = at
			kept = append(kept, way)
		}
	}
	if len(kept) == 0 {
		return errNoCard(nil)
	}
	var capabilities object
	if json.Unmarshal(card["capabilities"], &capabilities) == nil && capabilities["extendedAgentCard"] != nil {
		delete(capabilities, "extendedAgentCard")
		set("capabilities", capabilities)
	}
	set("supportedInterfaces", kept)
	set("securitySchemes", in10(in))
	set("securityRequirements", demands(in, func(scheme string, scopes []string) object {
		return object{"schemes": object{scheme: object{"list": scopes}}}
	}))
	return nil
}

// remove deletes members in any letter case: some readers do not tell them
// apart.
func remove[V any](from map[string]V, members ...string) {
	for key := range from {
		if slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(m, key) }) {
			delete(from, key)
		}
	}
}

// in03 are the schemes as version 0.3 has them, which are those of OpenAPI.
func in03(in agent.Inbound) object {
	schemes := object{}
	if in.DiscoveryURL != "" {
		schemes[schemeTokens] = object{"type": "openIdConnect", "openIdConnectUrl": in.DiscoveryURL}
	}
	if in.APIKeys {
		schemes[schemeKeys] = object{"type": "http", "scheme": "bearer", "description": "A key of this agent"}
	}
	return schemes
}

// in10 are the schemes as version 1.0 has them.
func in10(in agent.Inbound) object {
	schemes := object{}
	if in.DiscoveryURL != "" {
		schemes[schemeTokens] = object{"openIdConnectSecurityScheme": object{"openIdConnectUrl": in.DiscoveryURL}}
	}
	if in.APIKeys {
		schemes[schemeKeys] = object{"httpAuthSecurityScheme": object{"scheme": "Bearer", "description": "A key of this agent"}}
	}
	return schemes
}

// demands lists which schemes do: each alone. An agent that is open to everybody
// demands none.
func demands(in agent.Inbound, demand func(scheme string, scopes []string) object) []object {
	list := []object{}
	if in.Open {
		return list
	}
	if in.DiscoveryURL != "" {
		list = append(list, demand(schemeTokens, append([]string{}, in.RequiredScopes...)))
	}
	if in.APIKeys {
		list = append(list, demand(schemeKeys, []string{}))
	}
	return list
}

package ingress

import (
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/name"
)

// route is what of an agent a request is about.
type route string

// The routes, by what follows the agent's name in the path.
const (
	nowhere       route = ""
	routePing     route = "ping"
	routeInvoke   route = "invoke"
	routeSocket   route = "ws"
	routeMessages route = "a2a"
	routeCard     route = ".well-known/agent-card.json"
	routeMCP      route = "mcp"
	routeMetadata route = "oauth-protected-resource" // RFC 9728; not below the agent
	routeTalk     route = "page"                     // the agent's address itself
	routeLogin    route = route(PageLogin)
	routeCallback route = route(PageCallback)
	routeLogout   route = route(PageLogout)
)

// methods is the value of an Allow header.
type methods string

func (m methods) has(method string) bool {
	for allowed := range strings.SplitSeq(string(m), ", ") {
		if method == allowed {
			return true
		}
	}
	return false
}

// serves returns the methods of a route, and the protocol that it is part of.
func (r route) serves() (methods, agent.Protocol) {
	switch r {
	case routePing:
		return "GET, HEAD", ""
	case routeMetadata, routeLogin, routeCallback:
		return "GET", ""
	case routeTalk:
		return "GET, HEAD", ""
	case routeLogout:
		return "POST", ""
	case routeInvoke:
		return "POST", agent.Invoke
	case routeSocket:
		return "GET", agent.WebSocket
	case routeMessages:
		return "POST", agent.A2A
	case routeCard:
		return "GET", agent.A2A
	case routeMCP:
		return "GET, POST, DELETE", agent.MCP
	default:
		return "", ""
	}
}

// page returns which of the agent's pages the route is, and whether it is one.
func (r route) page() (Page, bool) {
	switch r {
	case routeTalk:
		return PageTalk, true
	case routeLogin, routeCallback, routeLogout:
		return Page(r), true
	default:
		return "", false
	}
}

const metadataPrefix = "/.well-known/" + string(routeMetadata)

// find takes the path apart as the client wrote it. Nothing is cleaned or
// decoded: a path that would need it names no agent.
func find(r *http.Request) (name.Workload, route) {
	path, metadata := strings.CutPrefix(r.URL.EscapedPath(), metadataPrefix)
	part := strings.SplitN(path, "/", 5)
	if metadata {
		part = append(part, string(routeMetadata))
	} else if len(part) == 4 {
		part = append(part, string(PageTalk))
	}
	if len(part) != 5 || part[0] != "" || part[1] != "agents" || metadata != (part[4] == string(routeMetadata)) {
		return name.Workload{}, nowhere
	}
	w, at := name.Workload{Pool: part[2], Name: part[3]}, route(part[4])
	switch part[4] {
	case string(PageTalk):
		at = routeTalk
	case string(routeTalk):
		at = nowhere
	}
	if allow, _ := at.serves(); allow == "" || name.Check("workload pool", w.Pool) != nil || name.Check("agent", w.Name) != nil {
		return name.Workload{}, nowhere
	}
	return w, at
}

// resource is the agent's address: what tokens for it have as their audience
// (RFC 8707), and the identifier in its metadata (RFC 9728).
func (h *Handler) resource(w name.Workload) string {
	return h.config.URL + "/agents/" + w.Pool + "/" + w.Name
}

// carries reports whether a request has a body that the agent gets.
func carries(method string) bool { return method == http.MethodPost }

package ingress

import (
	"net/http"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Talk is where a person logs in with a browser and talks to an agent; talk.Desk
// is one.
type Talk interface {
	// Serve answers with a page of an agent that has a login.
	Serve(out http.ResponseWriter, r *http.Request, v Visit)
	// Token returns the access token that the browser's login at w got, or "".
	Token(r *http.Request, w name.Workload) string
}

// Page is one of the pages of an agent.
type Page string

// The pages, by what follows the agent's name in the path.
const (
	PageTalk     Page = ""
	PageLogin    Page = "login"
	PageCallback Page = "callback"
	PageLogout   Page = "logout"
)

// Visit is a browser's request for a page of an agent.
type Visit struct {
	Workload name.Workload
	Session  agent.Session
	Scopes   []string // which a token must have
	Issuer   string   // at whose login people log in
	Page     Page
	Path     string // of the agent's own page, with the slash at its end
	URL      string // the same with the ingress's origin
	// Check returns whose token it is, or the fault for which it does not open the agent.
	Check func(token string) (name.User, error)
}

// page answers with a page of the agent. Where there is no login there are none.
func (h *Handler) page(q *request, page Page, allow methods) {
	a, _, err := h.config.Fleet.Lookup(q.workload)
	in := a.Definition.Inbound
	if err != nil || in.Session == nil || h.config.Talk == nil {
		h.refuse(q, notHere())
		return
	}
	if !allow.has(q.in.Method) {
		h.wrongMethod(q, string(allow))
		return
	}
	issuer, err := h.config.Verifier.Issuer(q.in.Context(), in.Session.DiscoveryURL)
	if err != nil {
		h.refuse(q, err)
		return
	}
	path := "/agents/" + q.workload.Pool + "/" + q.workload.Name + "/"
	h.config.Talk.Serve(q.out, q.in, Visit{
		Workload: q.workload, Session: *in.Session, Scopes: in.RequiredScopes, Issuer: issuer, Page: page, Path: path, URL: h.config.URL + path,
		Check: func(token string) (name.User, error) {
			var d Decision
			err := h.byToken(q, ofSession(in), token, &d)
			return d.User, err
		},
	})
}

func notHere() error {
	return fault.New(fault.NotFound, "route_not_found", "there is nothing here").WithFix("POST to /agents/<workload pool>/<agent>/invoke")
}

// ofSession returns what holds for the token of a browser's login: it is of the
// one client, and else must be what every token must.
func ofSession(in agent.Inbound) agent.Inbound {
	in.DiscoveryURL, in.AllowedClients = in.Session.DiscoveryURL, []string{in.Session.Client}
	return in
}

// loggedIn returns the token of the browser's login at the agent, or "". A login
// counts for the agent's own page only: its requests name their origin, which
// pages of others cannot choose.
func (h *Handler) loggedIn(q *request) (string, error) {
	if q.inbound.Session == nil || h.config.Talk == nil || q.route != routeInvoke {
		return "", nil
	}
	token := h.config.Talk.Token(q.in, q.workload)
	if token == "" {
		return "", nil
	}
	if origins := q.in.Header["Origin"]; len(origins) != 1 || origins[0] != h.config.URL {
		return "", foreignOrigin()
	}
	return token, nil
}

func foreignOrigin() error {
	return fault.New(fault.Forbidden, "origin_not_allowed", "pages of other origins may not call this agent")
}

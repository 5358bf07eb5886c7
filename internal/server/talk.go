package server

import (
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/talk"
	"github.com/deputy-id/deputy/internal/vendor"
)

// newDesk makes the pages on which people talk to agents, and returns them with
// the handler of what those pages are made of. out reaches the issuers.
func newDesk(c Config, catalogue vendor.Catalogue, out *outbound.Client) (*talk.Desk, http.Handler, error) {
	site, err := browser.NewSite(c.IngressURL, "agents")
	if err != nil {
		return nil, nil, err
	}
	pages, err := browser.NewPages(site, c.Logger)
	if err != nil {
		return nil, nil, err
	}
	dialect, err := catalogue.Lookup("custom")
	if err != nil {
		return nil, nil, err
	}
	assets := http.NewServeMux()
	pages.Mount(assets)
	return talk.New(talk.Config{
		Site: site, Pages: pages, Metadata: &discovery.Client{Outbound: out}, Issuer: &vendor.Client{Outbound: out, Now: c.Now}, Dialect: dialect,
		Identity: c.PublicURL, Log: c.Logger, Now: c.Now,
	}), assets, nil
}

// withAssets serves assets beside the ingress. A mux for both would clean the paths
// of requests, which the ingress takes as they are.
func withAssets(assets, ingress http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			assets.ServeHTTP(w, r)
			return
		}
		ingress.ServeHTTP(w, r)
	})
}

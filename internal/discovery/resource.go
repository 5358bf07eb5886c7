package discovery

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
)

// Resource is what a protected resource says about itself (RFC 9728, section 2).
type Resource struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"` // issuers
	Scopes   []string `json:"scopes_supported"`
	Asked    string   `json:"-"` // the scope of its challenge, space-separated (RFC 6750, section 3); may be empty
}

// wellKnownResource is where the metadata of resources is (RFC 9728, section 3).
const wellKnownResource = "/.well-known/oauth-protected-resource"

// Resource finds the metadata of a protected resource, such as an MCP server:
// where the resource says that it is when it refuses (RFC 9728, section 5.1), or
// at its well-known address (section 3.1).
func (c *Client) Resource(ctx context.Context, resource string) (Resource, error) {
	if err := checkAddress(resource, "resource"); err != nil {
		return Resource{}, err
	}
	u, err := url.Parse(resource)
	if err != nil {
		return Resource{}, err
	}
	root := u.Scheme + "://" + u.Host + wellKnownResource
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	places := slices.Compact([]string{root + path, root})
	told, asked := c.told(ctx, u)
	if told != "" {
		places = append([]string{told}, places...)
	}
	var failure error
	for _, address := range places {
		var r Resource
		err := c.document(ctx, address, &r)
		if err == nil {
			if r.covers(u, address) && len(r.Servers) > 0 {
				r.Asked = asked
				return r, nil
			}
			err = fault.New(fault.Upstream, "discovery_invalid", "the metadata at %s is that of another resource, or names no authorization server", name.Clip(address, 200)).WithSource("resource")
		}
		if failure == nil || !fault.HasCode(err, "discovery_missing") {
			failure = err
		}
	}
	return Resource{}, failure
}

// covers reports whether metadata that was found at an address is that of the
// resource that was asked: of this very one (RFC 9728, section 3.3), or of what is
// above it on the same host, as many MCP servers have it. The latter counts only
// at a well-known address, which is the host's to say: where paths belong to
// different people, one of them must not get tokens that are good for all.
func (r Resource) covers(asked *url.URL, address string) bool {
	own, err := url.Parse(r.Resource)
	if err != nil || own.Scheme != asked.Scheme || own.Host != asked.Host || own.User != nil || own.RawQuery != "" || own.Fragment != "" {
		return false
	}
	at, path := strings.TrimSuffix(own.EscapedPath(), "/"), strings.TrimSuffix(asked.EscapedPath(), "/")
	place, err := url.Parse(address)
	return err == nil && (at == path || strings.HasPrefix(path, at+"/") && strings.HasPrefix(place.EscapedPath(), wellKnownResource))
}

// Initialize is what every client of an MCP server POSTs first (Model Context
// Protocol, Lifecycle).
const Initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"deputy","version":"1"}}}`

// Accept is what a client of an MCP server takes (Model Context Protocol,
// Streamable HTTP).
const Accept = "application/json, text/event-stream"

// told asks the resource itself where its metadata is, and which scopes it wants.
// Both are empty if it does not say. Servers that have nothing to stream do not
// answer a GET. An address on another host is not believed.
func (c *Client) told(ctx context.Context, resource *url.URL) (address, scope string) {
	for _, r := range []outbound.Request{
		{Header: http.Header{"Accept": {Accept}}},
		{Method: http.MethodPost, Header: http.Header{"Accept": {Accept}, "Content-Type": {"application/json"}}, Body: []byte(Initialize)},
	} {
		r.URL, r.MaxBody, r.Purpose = resource.String(), maxDocument, "protected resource"
		resp, err := c.Outbound.Do(ctx, r)
		if err != nil || resp.Status != http.StatusUnauthorized {
			continue
		}
		said := challenge(resp.Header)
		scope = said["scope"]
		if said := said["resource_metadata"]; sameHost(said, resource.String()) {
			address = said
		}
		return address, scope
	}
	return "", ""
}

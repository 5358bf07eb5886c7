package op

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Resource indicators (RFC 8707): a client says for which of its audiences a
// token is to be. A token that names none is for the client itself, and only
// such a token reads userinfo: one that was made for a resource must be of no
// use to whoever runs that resource elsewhere.

// The parameters that may be sent more than once.
const (
	paramResource = "resource" // RFC 8707, section 2; RFC 8693, section 2.1
	paramAudience = "audience" // RFC 8693, section 2.1
)

// maxResources bounds the audiences of one token.
const maxResources = 10

// askedResources returns the resources that a request names, which must be among
// the client's audiences.
func askedResources(q url.Values, client userpool.Client) ([]string, *oauth.Error) {
	asked := q[paramResource]
	for _, uri := range asked {
		// Section 2: an absolute URI without fragment.
		if u, err := url.Parse(uri); err != nil || !u.IsAbs() || u.Fragment != "" {
			return nil, oauth.NewError(oauth.CodeInvalidTarget, "resource is not an absolute URI without fragment")
		}
	}
	return targets(asked, client)
}

// targets returns the wanted audiences, each once, if the client may have them.
func targets(wanted []string, client userpool.Client) ([]string, *oauth.Error) {
	if len(wanted) > maxResources {
		return nil, oauth.NewError(oauth.CodeInvalidTarget, "the request names too many resources")
	}
	var list []string
	for _, w := range wanted {
		if !slices.Contains(client.Audiences, w) && w != client.ID {
			return nil, oauth.NewError(oauth.CodeInvalidTarget, "this client may not ask for tokens for "+name.Clip(w, 200))
		}
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list, nil
}

// narrowResources returns the audience of a token: what a token request names of
// what was granted, or all of it. A request never widens what was granted
// (section 2.2), and an audience that the client has lost since is not given.
func narrowResources(q url.Values, granted []string, client userpool.Client) ([]string, error) {
	asked := q[paramResource]
	if len(asked) == 0 {
		asked = granted
	}
	for _, uri := range asked {
		if !slices.Contains(granted, uri) {
			return nil, refuse(http.StatusBadRequest, oauth.CodeInvalidTarget, "the authorization was not for "+name.Clip(uri, 200))
		}
	}
	list, refusal := targets(asked, client)
	if refusal != nil {
		return nil, &apiError{status: http.StatusBadRequest, err: refusal}
	}
	return list, nil
}

// narrowScopes returns the scopes of a token: what a token request names of what
// it may have, or all of that (RFC 6749, section 6).
func narrowScopes(q url.Values, may name.Scopes) (name.Scopes, error) {
	if !q.Has("scope") {
		return may, nil
	}
	asked, err := name.ParseScopes(q.Get("scope"))
	if err != nil {
		return name.Scopes{}, refuse(http.StatusBadRequest, oauth.CodeInvalidScope, err.Error())
	}
	if beyond := may.Missing(asked); beyond.Len() > 0 {
		return name.Scopes{}, refuse(http.StatusBadRequest, oauth.CodeInvalidScope, "the token may have at most: "+may.String())
	}
	return asked, nil
}

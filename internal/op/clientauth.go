package op

import (
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// clientAuth authenticates clients (RFC 6749, section 2.3).
type clientAuth struct {
	clients userpool.Clients
	guard   *guard.Guard
}

// actionAuthenticate is what a client is refused with a wrong secret.
const actionAuthenticate guard.Action = "client.authenticate"

// authenticate returns the client that sent the request, by exactly one method:
// the one of its type.
func (e clientAuth) authenticate(r *http.Request, pool userpool.Pool, form url.Values) (userpool.Client, error) {
	id, given := form.Get("client_id"), secret.FromString(form.Get("client_secret"))
	_, tried := r.Header["Authorization"]
	if tried {
		if !given.Empty() {
			return userpool.Client{}, refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "the client authenticates in two ways at once")
		}
		user, password, ok := basicAuth(r)
		if !ok || (id != "" && id != user) {
			return userpool.Client{}, invalidClient(true, "the Authorization header is not Basic with this client's id")
		}
		id, given = user, password
	}
	if id == "" {
		return userpool.Client{}, invalidClient(tried, "client_id is missing")
	}
	c, err := e.clients.Client(r.Context(), pool.Name, id)
	if fault.Is(err, fault.NotFound) {
		return userpool.Client{}, invalidClient(tried, "this pool has no such client, or the secret is wrong")
	}
	if err != nil {
		return userpool.Client{}, err
	}
	if c.Type == userpool.Public && given.Empty() {
		return c, nil
	}
	if !c.SecretIs(given) {
		if err := e.guard.Refuse(r.Context(), name.Caller{}, actionAuthenticate, c.Resource(), "wrong client secret", nil); err != nil {
			return userpool.Client{}, err
		}
		return userpool.Client{}, invalidClient(tried, "this pool has no such client, or the secret is wrong")
	}
	return c, nil
}

// basicAuth returns id and secret of a Basic Authorization header, which are
// form-encoded inside it (RFC 6749, section 2.3.1).
func basicAuth(r *http.Request) (id string, s secret.Text, ok bool) {
	rawID, rawSecret, ok := r.BasicAuth()
	id, err := url.QueryUnescape(rawID)
	plain, err2 := url.QueryUnescape(rawSecret)
	return id, secret.FromString(plain), ok && err == nil && err2 == nil && len(r.Header["Authorization"]) == 1
}

// invalidClient is status 401 always, and with a challenge if the client tried
// the header (RFC 6749, section 5.2).
func invalidClient(tried bool, description string) error {
	e := refuse(http.StatusUnauthorized, oauth.CodeInvalidClient, description)
	if tried {
		e.challenge = `Basic realm="deputy", charset="UTF-8"`
	}
	return e
}

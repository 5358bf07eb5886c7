package op

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// clientAuth authenticates clients (RFC 6749, section 2.3) for every endpoint
// that they call: by exactly one method, the one that the client is pinned to.
// Otherwise whoever got hold of a client's weakest secret could choose it.
type clientAuth struct {
	base
	clients    userpool.Clients
	guard      *guard.Guard
	throttle   *signin.Throttle
	assertions assertions
}

// actionAuthenticate is what a client is refused with a wrong secret.
const actionAuthenticate guard.Action = "client.authenticate"

// credential is how a request says which client sent it.
type credential struct {
	client    string
	method    string // one of those of RFC 7591
	secret    secret.Text
	assertion string
}

// authenticate returns the client that sent the request.
func (e clientAuth) authenticate(r *http.Request, pool userpool.Pool, form url.Values) (userpool.Client, error) {
	given, err := credentialOf(r, form)
	if err != nil {
		return userpool.Client{}, err
	}
	c, err := e.clients.Client(r.Context(), pool.Name, given.client)
	if fault.Is(err, fault.NotFound) {
		return userpool.Client{}, invalidClient(given.basic(), "this pool has no such client, or the secret is wrong")
	}
	if fault.HasCode(err, "client_document_invalid") {
		return userpool.Client{}, invalidClient(given.basic(), err.Error())
	}
	if err != nil {
		return userpool.Client{}, err
	}
	why, err := e.wrong(r, pool, c, given)
	if err != nil || why == "" {
		return c, err
	}
	return userpool.Client{}, e.refused(r, c, given, why)
}

// credentialOf reads what a request authenticates with.
func credentialOf(r *http.Request, form url.Values) (credential, error) {
	c := credential{client: form.Get("client_id"), method: oauth.ClientAuthNone, secret: secret.FromString(form.Get("client_secret")), assertion: form.Get("client_assertion")}
	ways := 0
	if !c.secret.Empty() {
		c.method = oauth.ClientSecretPost
		ways++
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		c.method = oauth.PrivateKeyJWT
		ways++
	}
	if _, tried := r.Header["Authorization"]; tried {
		id, password, ok := basicAuth(r)
		if !ok || (c.client != "" && c.client != id) {
			return c, invalidClient(true, "the Authorization header is not Basic with this client's id")
		}
		c.client, c.secret, c.method = id, password, oauth.ClientSecretBasic
		ways++
	}
	if ways > 1 {
		return c, refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "the client authenticates in two ways at once")
	}
	if c.method == oauth.PrivateKeyJWT {
		if form.Get("client_assertion_type") != oauth.AssertionJWT {
			return c, refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "this client_assertion_type is not supported")
		}
		_, subject := jwt.Claimed(c.assertion)
		if subject == "" || (c.client != "" && c.client != subject) { // RFC 7521, section 4.2
			return c, invalidClient(false, "the client assertion is not a JWT with this client's id as sub")
		}
		c.client = subject
	}
	if c.client == "" {
		return c, invalidClient(c.basic(), "client_id is missing")
	}
	return c, nil
}

func (c credential) basic() bool { return c.method == oauth.ClientSecretBasic }

// fits reports whether the method is the one that c is pinned to.
func (c credential) fits(client userpool.Client) bool {
	either := client.AuthMethod == userpool.ClientSecret
	return c.method == client.AuthMethod || (either && (c.method == oauth.ClientSecretBasic || c.method == oauth.ClientSecretPost))
}

// basicAuth returns id and secret of a Basic Authorization header, which are
// form-encoded inside it (RFC 6749, section 2.3.1).
func basicAuth(r *http.Request) (id string, s secret.Text, ok bool) {
	rawID, rawSecret, ok := r.BasicAuth()
	id, err := url.QueryUnescape(rawID)
	plain, err2 := url.QueryUnescape(rawSecret)
	return id, secret.FromString(plain), ok && err == nil && err2 == nil && len(r.Header["Authorization"]) == 1
}

// wrong says what is wrong with a client's credential; nothing if it is right.
// The error is about us, or about the client's keys that cannot be had.
func (e clientAuth) wrong(r *http.Request, pool userpool.Pool, c userpool.Client, given credential) (string, error) {
	switch {
	case !given.fits(c):
		return "the client is registered for another way to authenticate", nil
	case given.method == oauth.ClientAuthNone:
		return "", nil
	case given.method == oauth.PrivateKeyJWT:
		return e.assertions.wrong(r.Context(), pool, c, e.PublicURL+r.URL.Path, given.assertion)
	case !c.SecretIs(given.secret):
		return "wrong client secret", nil
	default:
		return "", nil
	}
}

// refused records that a client was not let in, and answers. What is right is let
// in at any pace: nobody guesses 256 random bits, and slowing a client down for
// what others send in its name would help them only. What is wrong costs us an
// entry in the log each time, and that is slowed.
func (e clientAuth) refused(r *http.Request, c userpool.Client, given credential, why string) error {
	if _, err := e.throttle.Guess(c.Pool+"/"+c.ID, e.Address(r)); err != nil {
		return tooOften(err)
	}
	if err := e.guard.Refuse(r.Context(), name.Caller{}, actionAuthenticate, c.Resource(), why, map[string]string{"method": given.method}); err != nil {
		return err
	}
	if given.method == oauth.PrivateKeyJWT {
		return invalidClient(false, why)
	}
	return invalidClient(given.basic(), "this pool has no such client, the secret is wrong, or the client is registered for another way to authenticate")
}

// tooOften is the answer to who has failed too often.
func tooOften(err error) error {
	var many *signin.TooMany
	if !errors.As(err, &many) {
		return err
	}
	e := refuse(http.StatusTooManyRequests, oauth.CodeInvalidClient, "too many attempts have failed; try again later")
	e.retryAfter = many.Wait
	return e
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

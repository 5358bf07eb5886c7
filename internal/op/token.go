package op

import (
	"context"
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// token is the token endpoint (RFC 6749, section 3.2). What it does is the same
// for all grants, up to the grant itself.
type token struct {
	clientAuth
	grants map[string]grant // by grant_type
}

// grant answers the token requests of one grant type.
type grant interface {
	// answer returns the tokens, which are released at once: whatever has to be stored and recorded before
	// that, is.
	answer(ctx context.Context, q tokenRequest) (tokens, error)
}

// tokenRequest is a token request of a client that has proven who it is and may
// use the grant type.
type tokenRequest struct {
	pool   userpool.Pool
	client userpool.Client
	form   url.Values
}

func (e token) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody, paramResource, paramAudience)
	if err != nil {
		return err
	}
	client, err := e.authenticate(r, pool, form)
	if err != nil {
		return err
	}
	kind := form.Get("grant_type")
	g, known := e.grants[kind]
	switch {
	case kind == "":
		return refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "grant_type is missing")
	case !known:
		return refuse(http.StatusBadRequest, oauth.CodeUnsupportedGrantType, "this grant_type is not supported")
	case !client.HasGrant(kind):
		return refuse(http.StatusBadRequest, oauth.CodeUnauthorizedClient, "this client may not use grant_type="+kind)
	}
	t, err := g.answer(r.Context(), tokenRequest{pool, client, form})
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749, section 5.1
	wire.Write(w, http.StatusOK, t)
	return nil
}

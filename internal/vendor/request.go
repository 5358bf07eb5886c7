package vendor

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// ask is a request in which an app proves who it is.
type ask struct {
	method      string
	endpoint    string
	auth        Auth
	body        Body
	contentType string
	params      map[string]string // it gets those that prove the app
	names       map[string]string // what the vendor calls them; "" = not sent
}

// request returns a as it goes over the wire. It is of no use for
// [AuthBearer] beyond the token endpoint, where a token is shown in place of
// the app's secret.
func (c *Client) request(e Entry, app App, a ask) (outbound.Request, error) {
	r := outbound.Request{Method: a.method, URL: a.endpoint, MaxBody: maxAnswer, Header: e.header(secret.Text{})}
	if err := c.authenticate(e, app, a, r.Header); err != nil {
		return outbound.Request{}, err
	}
	params := maps.Clone(a.params)
	for k, n := range a.names {
		v, ok := params[k]
		if delete(params, k); ok && n != "" {
			params[n] = v
		}
	}
	if len(params) == 0 {
		return r, nil
	}
	r.Header.Set("Content-Type", a.contentType)
	if a.body == BodyJSON {
		body, err := json.Marshal(params)
		if err != nil {
			return outbound.Request{}, fault.Wrap(err, fault.Internal, "vendor_request", "the request cannot be encoded")
		}
		r.Body = body
		return r, nil
	}
	form := url.Values{}
	for k, v := range params {
		form.Set(k, v)
	}
	r.Body = []byte(form.Encode())
	return r, nil
}

// authenticate puts what proves the app into the parameters or the header.
func (c *Client) authenticate(e Entry, app App, a ask, h http.Header) error {
	if a.auth != AuthBasic && a.auth != AuthAnonymous {
		a.params["client_id"] = app.ClientID
	}
	switch a.auth {
	case AuthPost:
		a.params["client_secret"] = app.ClientSecret.RevealString()
	case AuthBasic:
		// RFC 6749, section 2.3.1: both are form-encoded before they are joined.
		pair := url.QueryEscape(app.ClientID) + ":" + url.QueryEscape(app.ClientSecret.RevealString())
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case AuthBearer:
		h.Set("Authorization", "Bearer "+app.ClientSecret.RevealString())
	case AuthPrivateKeyJWT:
		return c.proveClient(e, app, a.params)
	}
	return nil
}

// header returns what every request to the vendor says. With a token it is one
// to the vendor's API.
func (e Entry) header(access secret.Text) http.Header {
	// Some vendors answer with a form unless JSON is asked for.
	h := http.Header{"Accept": {"application/json"}}
	shown := access.Empty()
	for k, v := range e.Header {
		if strings.Contains(v, accessToken) {
			if access.Empty() {
				continue
			}
			v, shown = strings.ReplaceAll(v, accessToken, access.RevealString()), true
		}
		h.Set(k, v)
	}
	if !shown {
		h.Set("Authorization", "Bearer "+access.RevealString())
	}
	return h
}

// accessToken stands for the access token in an entry's header.
const accessToken = "{access_token}"

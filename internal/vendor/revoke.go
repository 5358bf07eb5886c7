package vendor

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// Revoke tells the vendor that tokens are not needed any more (RFC 7009); which
// of the two, its entry says. It returns nil when the vendor confirmed, or does
// not know the tokens any more, and a fault of kind Invalid
// (vendor_endpoint_missing) if the vendor cannot be told. Either may be empty.
func (c *Client) Revoke(ctx context.Context, e Entry, app App, access, refresh secret.Text) error {
	if e.Endpoints.Revocation == "" {
		return e.missing("revocation")
	}
	which := e.Revocation.Which
	if !refresh.Empty() && which != WhichAccess {
		if err := c.revoke(ctx, e, app, refresh, "refresh_token"); err != nil {
			return err
		}
	}
	if !access.Empty() && (which != WhichRefresh || refresh.Empty()) {
		return c.revoke(ctx, e, app, access, "access_token")
	}
	return nil
}

func (c *Client) revoke(ctx context.Context, e Entry, app App, token secret.Text, hint string) error {
	v := e.Revocation
	params := map[string]string{}
	maps.Copy(params, v.Params)
	if v.Param != "" {
		params[v.Param] = token.RevealString()
	}
	if v.Hint {
		params["token_type_hint"] = hint
	}
	a := ask{v.Method, strings.ReplaceAll(e.Endpoints.Revocation, clientID, url.PathEscape(app.ClientID)), v.Auth, v.Body, v.Body.mediaType(), params, nil}
	if v.Auth == AuthBearer {
		a.auth = AuthAnonymous
	}
	r, err := c.request(e, app, a)
	if err != nil {
		return err
	}
	if v.Auth == AuthBearer {
		maps.Copy(r.Header, e.header(token))
	}
	return c.revoked(ctx, e, app, r, token)
}

// clientID stands for the app's client id in the address of the revocation
// endpoint.
const clientID = "{client_id}"

// revoked sends a revocation. That the vendor does not know the token is as good
// as a confirmation (RFC 7009, section 2.2).
func (c *Client) revoked(ctx context.Context, e Entry, app App, r outbound.Request, token secret.Text) error {
	r.Purpose = "revocation at " + e.ID
	resp, err := c.Outbound.Do(ctx, r)
	if err != nil {
		return e.unreachable(StepRevoke, err)
	}
	a := parseAnswer(resp.Body)
	code, word, failed := a.failed(e.Errors)
	if !failed && success(resp.Status) {
		return nil
	}
	for _, said := range []string{code, word, strconv.Itoa(resp.Status)} {
		if said != "" && slices.Contains(e.Revocation.Gone, said) {
			return nil
		}
	}
	return e.refused(StepRevoke, resp.Status, a, app, []secret.Text{token, app.ClientSecret, secret.FromString(r.Header.Get("Authorization"))}).fault()
}

package vendor

import (
	"context"
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// Account is whose account at the vendor an access token opens.
type Account struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Identity asks whose account access opens. It returns a fault of kind Invalid
// (vendor_endpoint_missing) if the vendor cannot be asked.
func (c *Client) Identity(ctx context.Context, e Entry, access secret.Text) (Account, error) {
	if e.Identity.ID == "" {
		return Account{}, e.missing("user info")
	}
	p, err := c.Profile(ctx, e, access)
	if err != nil {
		return Account{}, err
	}
	id := p.Exact(e.Identity.ID)
	if id == "" || len(id) > 255 {
		return Account{}, e.refused(StepAPI, http.StatusOK, p.answer, App{}, []secret.Text{access}).fault()
	}
	return Account{ID: id, Name: name.Clip(p.Text(e.Identity.Name), 200)}, nil
}

// Profile asks what the vendor tells about whose account access opens. It
// returns a fault of kind Invalid (vendor_endpoint_missing) if the vendor
// cannot be asked.
func (c *Client) Profile(ctx context.Context, e Entry, access secret.Text) (Profile, error) {
	if e.Endpoints.UserInfo == "" {
		return Profile{}, e.missing("user info")
	}
	a, status, err := c.call(ctx, e, "identity", e.Identity.Method, e.Endpoints.UserInfo, e.Identity.Body, access)
	if err != nil {
		return Profile{}, err
	}
	if a == nil {
		return Profile{}, e.refused(StepAPI, status, nil, App{}, []secret.Text{access}).fault()
	}
	return Profile{a}, nil
}

// Test finds out whether access is accepted: by the entry's test request, else
// by asking whose account it opens, else by asking about the token (RFC 7662).
// It returns a fault of kind Invalid (vendor_endpoint_missing) if there is
// nothing to ask.
func (c *Client) Test(ctx context.Context, e Entry, app App, access secret.Text) error {
	switch {
	case e.Test.URL != "" && e.Endpoints.API != "":
		a, status, err := c.call(ctx, e, "test", e.Test.Method, e.apiURL(e.Test.URL), e.Test.Body, access)
		if err == nil && e.Test.OK != "" && a.at(e.Test.OK) == nil {
			return e.refused(StepAPI, status, a, App{}, []secret.Text{access}).fault()
		}
		return err
	case e.Endpoints.UserInfo != "":
		_, err := c.Profile(ctx, e, access)
		return err
	case e.Endpoints.Introspection != "":
		_, err := c.introspect(ctx, e, app, access)
		return err
	default:
		return e.missing("user info")
	}
}

// apiBase stands for the vendor's API in the address of an entry's test.
const apiBase = "{api}"

func (e Entry) apiURL(s string) string {
	return strings.TrimSuffix(e.Endpoints.API, "/") + strings.TrimPrefix(s, apiBase)
}

// call sends a request with an access token, and returns an answer that is no
// error; nil if it is no JSON object.
func (c *Client) call(ctx context.Context, e Entry, purpose, method, address, body string, access secret.Text) (answer, int, error) {
	r := outbound.Request{Method: method, URL: address, Header: e.header(access), MaxBody: maxAnswer, Purpose: purpose + " at " + e.ID}
	if body != "" {
		r.Body = []byte(body)
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Outbound.Do(ctx, r)
	if err != nil {
		return nil, 0, e.unreachable(StepAPI, err)
	}
	a := parseAnswer(resp.Body)
	if _, _, failed := a.failed(e.Errors); failed || !success(resp.Status) {
		return nil, 0, e.refused(StepAPI, resp.Status, a, App{}, []secret.Text{access}).fault()
	}
	return a, resp.Status, nil
}

// introspect asks about a token (RFC 7662, section 2). One that is not active is
// refused like by the API.
func (c *Client) introspect(ctx context.Context, e Entry, app App, access secret.Text) (answer, error) {
	i := e.Introspection
	r, err := c.request(e, app, ask{http.MethodPost, e.Endpoints.Introspection, i.Auth, i.Body, i.Body.mediaType(), map[string]string{i.Param: access.RevealString()}, nil})
	if err != nil {
		return nil, err
	}
	r.Purpose = "introspection at " + e.ID
	resp, err := c.Outbound.Do(ctx, r)
	if err != nil {
		return nil, e.unreachable(StepAPI, err)
	}
	a := parseAnswer(resp.Body)
	_, _, failed := a.failed(e.Errors)
	switch active := string(a.at("active")); {
	case success(resp.Status) && !failed && active == "true":
		return a, nil
	case success(resp.Status) && !failed && active == "false":
		return nil, e.failure(StepAPI, resp.Status, "", "invalid_token", "", "").fault()
	default:
		return nil, e.refused(StepAPI, resp.Status, a, app, []secret.Text{access, app.ClientSecret, secret.FromString(r.Header.Get("Authorization"))}).fault()
	}
}

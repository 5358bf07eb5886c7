package op

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// push is the pushed authorization request endpoint (RFC 9126).
type push struct {
	clientAuth
	requests requestParser
	store    userpool.PushedRequests
}

type pushedAnswer struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"` // seconds
}

func (e push) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody, paramResource)
	if err != nil {
		return err
	}
	client, err := e.authenticate(r, pool, form)
	if err != nil {
		return err
	}
	if form.Has("request_uri") { // RFC 9126, section 2.1
		return refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "a pushed request cannot refer to another one")
	}
	for _, own := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		form.Del(own)
	}
	form.Set("client_id", client.ID)
	parameters := form.Encode()
	if _, err := e.requests.parameters(r.Context(), pool, parameters); err != nil {
		return asAnswer(err)
	}
	v, value := userpool.NewPushed(pool.Name, client.ID, parameters, e.Now().UTC().Truncate(time.Millisecond))
	p, err := e.guard.Allow(r.Context(), client.Caller(), userpool.ActionCreatePushed, v.Resource())
	if err != nil {
		return err
	}
	if err := e.store.CreatePushed(r.Context(), p, v); err != nil {
		return err
	}
	wire.Write(w, http.StatusCreated, pushedAnswer{oauth.PushedPrefix + value.RevealString(), int64(userpool.PushedLifetime / time.Second)})
	return nil
}

// asAnswer turns what would be told to a person, or to the client by redirect,
// into the answer to a client that asks by itself (RFC 9126, section 2.3).
func asAnswer(err error) error {
	var back *redirectError
	var page *poolpage.Error
	switch {
	case errors.As(err, &back):
		return &apiError{status: http.StatusBadRequest, err: back.err}
	case errors.As(err, &page): // that a client is not known would have been said before
		return refuse(page.Status, oauth.CodeInvalidRequest, page.Notice.Text.EN)
	default:
		return err
	}
}

// pushedRequests reads requests that come as the request_uri of a pushed one.
// In the browser the reference stays what it is, on the way through the login page
// and the consent page; the request behind it cannot be changed there.
type pushedRequests struct {
	base
	store userpool.PushedRequests
	guard *guard.Guard
}

// find returns the pushed request that a reference stands for. It is good for
// the client that pushed it; until [userpool.PushedLifetime] after the push, and
// once a browser has come with it, [userpool.PushedOpen] longer; and until it has
// been answered.
func (s pushedRequests) find(ctx context.Context, pool userpool.Pool, clientID, requestURI string) (userpool.Pushed, error) {
	value, ok := strings.CutPrefix(requestURI, oauth.PushedPrefix)
	if !ok {
		return userpool.Pushed{}, pushedNotice("request_uri_unknown")
	}
	v, err := s.store.Pushed(ctx, pool.Name, userpool.HashPushed(secret.FromString(value)))
	if fault.Is(err, fault.NotFound) || (err == nil && v.ClientID != clientID) {
		return userpool.Pushed{}, pushedNotice("request_uri_unknown")
	}
	if err != nil {
		return userpool.Pushed{}, err
	}
	if !s.Now().Before(v.ExpiresAt) {
		return userpool.Pushed{}, pushedNotice("request_uri_expired")
	}
	return v, nil
}

// open notes that a browser has come with the request.
func (s pushedRequests) open(ctx context.Context, pool userpool.Pool, a authRequest) error {
	if a.pushed.ID == "" || !a.pushed.OpenedAt.IsZero() {
		return nil
	}
	p, err := s.guard.Allow(ctx, a.client.Caller(), userpool.ActionOpenPushed, a.pushed.Resource())
	if err != nil {
		return err
	}
	now := s.Now()
	err = s.store.OpenPushed(ctx, p, pool.Name, a.pushed.ID, now, now.Add(userpool.PushedOpen))
	if fault.Is(err, fault.Conflict) {
		return nil // the same browser, twice at once
	}
	return err
}

// use takes the request out of the store. It is answered once.
func (s pushedRequests) use(ctx context.Context, pool userpool.Pool, a authRequest) error {
	if a.pushed.ID == "" {
		return nil
	}
	p, err := s.guard.Allow(ctx, a.client.Caller(), userpool.ActionUsePushed, a.pushed.Resource())
	if err != nil {
		return err
	}
	err = s.store.UsePushed(ctx, p, pool.Name, a.pushed.ID)
	if fault.Is(err, fault.NotFound) {
		return pushedNotice("request_uri_unknown")
	}
	return err
}

// pushedNotice tells a person, because a request that is not known names no
// address to go back to.
func pushedNotice(code string) error {
	n := browser.Notice{
		Mood: browser.Failure, Title: poolpage.BadRequest(), Code: code,
		Text:   browser.Text{EN: "The application's request is not known here: it was answered before, or it was never made.", ZH: "此处没有该应用的请求：它已被处理，或从未提交。"},
		Detail: browser.Text{EN: "Go back to the application and start again.", ZH: "请返回应用重新开始。"},
	}
	if code == "request_uri_expired" {
		n.Text = browser.Text{EN: "The application's request has expired.", ZH: "该应用的请求已过期。"}
	}
	return &poolpage.Error{Status: http.StatusBadRequest, Notice: n}
}

// reference returns the parameters of a request that only refer to a pushed one
// (RFC 9126, section 4): whatever else came with them does not count.
func reference(q url.Values) string {
	return url.Values{"client_id": {q.Get("client_id")}, "request_uri": {q.Get("request_uri")}}.Encode()
}

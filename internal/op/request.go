package op

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// authRequest is an authorization request that may be answered by redirect.
type authRequest struct {
	raw         string // its parameters as they came
	client      userpool.Client
	redirectURI string
	state       string
	scopes      name.Scopes
	resources   []string // RFC 8707; empty: tokens for the client itself
	nonce       string
	challenge   string // PKCE, S256; empty: none
	prompts     []string
	subject     string          // whom id_token_hint names; empty: anybody
	maxAge      time.Duration   // negative: any
	pushed      userpool.Pushed // that raw refers to; zero: raw is the request
}

func (a authRequest) prompt(p string) bool { return slices.Contains(a.prompts, p) }

// redirectError is an error that the client is told by redirect (RFC 6749,
// section 4.1.2.1).
type redirectError struct {
	request authRequest
	err     *oauth.Error
}

func (e *redirectError) Error() string { return e.err.Error() }

// requestParser reads authorization requests.
type requestParser struct {
	clients userpool.Clients
	pushed  pushedRequests
	hints   hints
}

// parse reads a request as a browser brings it: its parameters, or a reference to
// those that the client has pushed.
func (p requestParser) parse(ctx context.Context, pool userpool.Pool, raw string) (authRequest, error) {
	q, err := parseQuery(raw)
	if err != nil {
		return authRequest{}, err
	}
	if strings.HasPrefix(q.Get("request_uri"), oauth.PushedPrefix) {
		return p.refer(ctx, pool, q)
	}
	a, err := p.parameters(ctx, pool, raw)
	if err == nil && a.client.RequirePushed {
		return authRequest{}, &redirectError{a, oauth.NewError(oauth.CodeInvalidRequest, "this client must push its authorization requests")}
	}
	return a, err
}

// refer reads the request that q refers to.
func (p requestParser) refer(ctx context.Context, pool userpool.Pool, q url.Values) (authRequest, error) {
	v, err := p.pushed.find(ctx, pool, q.Get("client_id"), q.Get("request_uri"))
	if err != nil {
		return authRequest{}, err
	}
	a, err := p.parameters(ctx, pool, v.Parameters)
	a.raw, a.pushed = reference(q), v
	return a, err
}

func parseQuery(raw string) (url.Values, error) {
	if len(raw) > poolpage.MaxRequest {
		return nil, fault.New(fault.TooLarge, "request_too_large", "the authorization request is larger than %d bytes", poolpage.MaxRequest)
	}
	return oauth.ParseQuery(raw, paramResource)
}

// parameters reads the parameters of a request. As long as client and redirect URI
// are not both known to be right, an error is a *poolpage.Error: redirecting to an
// address that came with the request would make Deputy an open redirector (RFC
// 9700, section 4.11). After that it is a *redirectError.
func (p requestParser) parameters(ctx context.Context, pool userpool.Pool, raw string) (authRequest, error) {
	q, err := parseQuery(raw)
	if err != nil {
		return authRequest{}, err
	}
	a := authRequest{
		raw: raw, redirectURI: q.Get("redirect_uri"), state: q.Get("state"), nonce: q.Get("nonce"), prompts: strings.Fields(q.Get("prompt")),
	}
	if a.client, err = p.client(ctx, pool, q.Get("client_id")); err != nil {
		return authRequest{}, err
	}
	if !oauth.Registered(a.client.RedirectURIs, a.redirectURI) {
		return authRequest{}, redirectMismatch(a.client, a.redirectURI)
	}
	refusal := a.fill(q)
	if hint := q.Get("id_token_hint"); hint != "" && refusal == nil {
		var claims jwt.Claims
		claims, err = p.hints.read(ctx, pool, hint)
		if fault.Is(err, fault.Unauthenticated) {
			// What may name somebody else than who is logged in cannot be passed over.
			refusal, err = oauth.NewError(oauth.CodeInvalidRequest, "id_token_hint is not an ID token of this pool"), nil
		}
		a.subject = claims.Subject
	}
	if err != nil {
		return authRequest{}, err
	}
	if refusal != nil {
		return authRequest{}, &redirectError{a, refusal}
	}
	return a, nil
}

func (p requestParser) client(ctx context.Context, pool userpool.Pool, id string) (userpool.Client, error) {
	if id == "" {
		return userpool.Client{}, &poolpage.Error{Status: http.StatusBadRequest, Notice: browser.Notice{
			Mood: browser.Failure, Title: poolpage.BadRequest(), Code: "client_id_missing",
			Text: browser.Text{EN: "The application did not say who it is: client_id is missing.", ZH: "应用没有说明自己的身份：缺少 client_id。"},
		}}
	}
	c, err := p.clients.Client(ctx, pool.Name, id)
	if fault.Is(err, fault.NotFound) {
		return userpool.Client{}, &poolpage.Error{Status: http.StatusBadRequest, Notice: browser.Notice{
			Mood: browser.Failure, Title: poolpage.BadRequest(), Code: "client_unknown",
			Text:   browser.Text{EN: "No application with this client_id is registered in this user pool.", ZH: "此用户池中没有注册使用该 client_id 的应用。"},
			Facts:  []browser.Fact{{Label: browser.Text{EN: "client_id that came", ZH: "收到的 client_id"}, Values: []string{name.Clip(id, 200)}}},
			Detail: browser.Text{EN: "Compare the client ID in the application's configuration with the one in the pool.", ZH: "请核对应用配置中的客户端 ID 与用户池中的是否一致。"},
		}}
	}
	return c, err
}

// redirectMismatch explains the commonest mistake of all: it names the client,
// what came and what is allowed.
func redirectMismatch(c userpool.Client, came string) error {
	n := browser.Notice{
		Mood: browser.Failure, Title: poolpage.BadRequest(), Code: "redirect_uri_mismatch",
		Text: browser.Text{EN: "redirect_uri is not one of the addresses registered for this application.", ZH: "redirect_uri 不在该应用已注册的回调地址之列。"},
		Facts: []browser.Fact{
			{Label: browser.Text{EN: "Application", ZH: "应用"}, Values: []string{c.Title()}},
			{Label: browser.Text{EN: "redirect_uri that came", ZH: "收到的 redirect_uri"}, Values: []string{name.Clip(came, 400)}},
			{Label: browser.Text{EN: "Registered", ZH: "已注册"}, Values: c.RedirectURIs},
		},
		Detail: browser.Text{
			EN: "Register the first address in the user pool's client, or correct the application's. They must be equal in every character.",
			ZH: "请在用户池的客户端中注册收到的地址，或更正应用中的地址。两者必须逐字符一致。"},
	}
	if came == "" {
		n.Code = "redirect_uri_missing"
		n.Text = browser.Text{EN: "redirect_uri is missing.", ZH: "缺少 redirect_uri。"}
		n.Facts = slices.Delete(n.Facts, 1, 2)
		n.Detail = browser.Text{EN: "The application must send one of the registered addresses.", ZH: "应用必须发送其中一个已注册的地址。"}
	}
	return &poolpage.Error{Status: http.StatusBadRequest, Notice: n}
}

// refusedNotice tells the person what his application is not told.
func refusedNotice(c userpool.Client, why *oauth.Error) error {
	return &poolpage.Error{Status: http.StatusBadRequest, Notice: browser.Notice{
		Mood: browser.Failure, Title: poolpage.BadRequest(), Code: why.Code,
		Text: browser.Text{EN: "The application's request cannot be answered.", ZH: "无法处理该应用的请求。"},
		Facts: []browser.Fact{
			{Label: browser.Text{EN: "Application", ZH: "应用"}, Values: []string{c.ID}},
			{Label: browser.Text{EN: "Reason", ZH: "原因"}, Values: []string{why.Error()}},
		},
		Detail: browser.Text{
			EN: "You were not sent back, because nobody of this user pool has registered this application.",
			ZH: "该应用未在此用户池中注册，因此没有将你送回该应用。"},
	}}
}

// fill reads the rest of the request.
func (a *authRequest) fill(q url.Values) *oauth.Error {
	for param, code := range map[string]string{
		"request": oauth.CodeRequestNotSupported, "request_uri": oauth.CodeRequestURINotSupported, "registration": "registration_not_supported",
	} {
		if q.Has(param) {
			return oauth.NewError(code, "the parameter "+param+" is not supported")
		}
	}
	switch q.Get("response_type") {
	case oauth.ResponseTypeCode:
	case "":
		return oauth.NewError(oauth.CodeInvalidRequest, "response_type is missing")
	default:
		return oauth.NewError(oauth.CodeUnsupportedResponseType, "only response_type=code is supported")
	}
	if mode := q.Get("response_mode"); mode != "" && mode != oauth.ResponseModeQuery {
		return oauth.NewError(oauth.CodeInvalidRequest, "only response_mode=query is supported")
	}
	for _, step := range []func(url.Values) *oauth.Error{a.fillScopes, a.fillResources, a.fillChallenge, a.fillPrompt} {
		if err := step(q); err != nil {
			return err
		}
	}
	return nil
}

// fillScopes takes the scopes that the client may have and leaves the others
// out, as OpenID Connect Core 1.0, section 3.1.2.1, advises; the token response
// says what was granted.
func (a *authRequest) fillScopes(q url.Values) *oauth.Error {
	asked, err := name.ParseScopes(q.Get("scope"))
	if err != nil {
		return oauth.NewError(oauth.CodeInvalidScope, err.Error())
	}
	a.scopes = asked.Intersect(a.client.Scopes)
	if a.scopes.Len() == 0 {
		return oauth.NewError(oauth.CodeInvalidScope, "this client may ask for: "+a.client.Scopes.String())
	}
	return nil
}

func (a *authRequest) fillResources(q url.Values) (refusal *oauth.Error) {
	a.resources, refusal = askedResources(q, a.client)
	return refusal
}

func (a *authRequest) fillChallenge(q url.Values) *oauth.Error {
	challenge, method := q.Get("code_challenge"), q.Get("code_challenge_method")
	if challenge == "" && method == "" {
		if a.client.Type == userpool.Public {
			return oauth.NewError(oauth.CodeInvalidRequest, "a public client must use PKCE: code_challenge is missing")
		}
		return nil
	}
	if err := oauth.CheckChallenge(challenge, method); err != nil {
		return oauth.NewError(oauth.CodeInvalidRequest, err.Error())
	}
	a.challenge = challenge
	return nil
}

func (a *authRequest) fillPrompt(q url.Values) *oauth.Error {
	for _, p := range a.prompts {
		switch p {
		case oauth.PromptNone, oauth.PromptLogin, oauth.PromptConsent, promptSelectAccount:
		default:
			return oauth.NewError(oauth.CodeInvalidRequest, "this value of prompt is not supported")
		}
	}
	if a.prompt(oauth.PromptNone) && len(a.prompts) > 1 {
		return oauth.NewError(oauth.CodeInvalidRequest, "prompt=none excludes other values")
	}
	a.maxAge = -1
	if s := q.Get("max_age"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return oauth.NewError(oauth.CodeInvalidRequest, "max_age is not a number of seconds")
		}
		a.maxAge = time.Duration(n) * time.Second
	}
	return nil
}

// promptSelectAccount is answered with the login page: there people choose.
const promptSelectAccount = "select_account"

// needsLogin reports whether the who, if there is one, is not enough. Who has
// logged in since the request was pushed has done what it asks for: unlike
// parameters in a browser, it cannot be made to ask no more (see afterLogin).
func (a authRequest) needsLogin(l login.Login, loggedIn bool, now time.Time) bool {
	if loggedIn && a.pushed.ID != "" && !l.Session.AuthTime.Before(a.pushed.CreatedAt) {
		return false
	}
	return !loggedIn || a.prompt(oauth.PromptLogin) || a.prompt(promptSelectAccount) ||
		(a.maxAge >= 0 && now.Sub(l.Session.AuthTime) > a.maxAge)
}

// afterLogin returns the request's parameters without what a login fulfils:
// with it, the browser would be sent to the login page again and again.
func (a authRequest) afterLogin() string {
	if a.pushed.ID != "" {
		return a.raw
	}
	q, err := url.ParseQuery(a.raw)
	if err != nil {
		return a.raw // cannot be: it was parsed before
	}
	rest := slices.DeleteFunc(slices.Clone(a.prompts), func(p string) bool {
		return p == oauth.PromptLogin || p == promptSelectAccount
	})
	q.Set("prompt", strings.Join(rest, " "))
	if a.maxAge == 0 {
		q.Del("max_age")
	}
	if len(rest) == 0 {
		q.Del("prompt")
	}
	return q.Encode()
}

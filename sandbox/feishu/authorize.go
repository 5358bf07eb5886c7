package feishu

import (
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// authorizeRequest is a request of the authorize page that may be shown to the user.
type authorizeRequest struct {
	app         App
	redirectURI string
	state       string
	challenge   string
	scopes      scopeSet
	query       string // as it came, to be carried through the forms
}

// pageError is a request that the authorize page refuses. It is shown and never
// redirected: the redirect URI cannot be trusted yet, or Feishu does it so.
type pageError struct {
	code             int
	chinese, english string
	fix              words
	subject          string // what the words are about: a URL, a scope
}

var challengeFormat = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// parseAuthorize checks a query in Feishu's order: app, redirect URI, the rest.
// It runs again when the consent form comes back, since a form is input too.
func (s *Sandbox) parseAuthorize(query string) (authorizeRequest, *pageError) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return authorizeRequest{}, badRequest("query")
	}
	for name, values := range q {
		if len(values) > 1 {
			return authorizeRequest{}, badRequest(name)
		}
	}
	app, ok := s.apps[q.Get("client_id")]
	if !ok {
		return authorizeRequest{}, &pageError{code: 20048, chinese: "应用不存在", english: "There is no such app", subject: q.Get("client_id"),
			fix: words{"请检查 client_id 是否为应用的 App ID。", "Check that client_id is the App ID of your app."}}
	}
	req := authorizeRequest{app: app, redirectURI: q.Get("redirect_uri"), state: q.Get("state"), challenge: q.Get("code_challenge"), query: query}
	if !slices.Contains(app.RedirectURIs, req.redirectURI) {
		return req, &pageError{code: 20029, chinese: "redirect_uri 请求不合法", english: "The redirect_uri is not registered", subject: req.redirectURI,
			fix: words{"请将上面的地址原样添加到开发者后台「安全设置 → 重定向 URL」。", "Add exactly the URL above in the developer console under Security settings → Redirect URLs."}}
	}
	switch {
	case q.Get("response_type") != "code":
		return req, badRequest("response_type")
	case req.challenge != "" && q.Get("code_challenge_method") != "S256":
		return req, badRequest("code_challenge_method")
	case req.challenge != "" && !challengeFormat.MatchString(req.challenge):
		return req, badRequest("code_challenge")
	}
	req.scopes, _ = parseScopes(q.Get("scope"))
	for _, scope := range req.scopes {
		if _, known := scopeWords[scope]; !known {
			return req, &pageError{code: 20043, chinese: "scope 参数错误：没有这个权限", english: "There is no such scope", subject: scope,
				fix: words{"飞书不支持 OpenID Connect 的 scope（openid、profile、email）；请使用开发者后台「权限管理」中的名称。",
					"Feishu has no OpenID Connect scopes (openid, profile, email). Use the names listed in the developer console under Permissions."}}
		}
	}
	for _, scope := range req.scopes {
		if !slices.Contains(app.Scopes, scope) {
			return req, &pageError{code: 20027, chinese: "应用未申请该权限", english: "The app has not been given this permission", subject: scope,
				fix: words{"请在开发者后台「权限管理」开通该权限，然后创建并发布新版本。", "Enable the permission in the developer console under Permissions, then create and publish a new version."}}
		}
	}
	return req, nil
}

func badRequest(parameter string) *pageError {
	return &pageError{code: 20001, chinese: "请求参数错误", english: "A request parameter is missing or wrong", subject: parameter,
		fix: words{"请检查授权链接中的该参数。", "Check this parameter of the authorization link."}}
}

// authorize shows the consent page, the login page before it, or an error.
func (s *Sandbox) authorize(w http.ResponseWriter, r *http.Request) {
	refusal, ok := s.begin(r, OpAuthorize)
	if !ok {
		return
	}
	if refusal != nil {
		s.showError(w, r, &pageError{code: refusal.Code, chinese: "请求被拒绝", english: "The request was refused",
			fix: words{"这是测试设置的错误。", "A test asked for this error."}})
		return
	}
	req, problem := s.parseAuthorize(r.URL.RawQuery)
	if problem != nil {
		s.showError(w, r, problem)
		return
	}
	user, session, ok := s.loggedIn(r)
	if !ok {
		s.showLogin(w, r, http.StatusOK, req, "")
		return
	}
	s.showConsent(w, req, user, session)
}

// consent takes the decision and sends the browser back to the app.
func (s *Sandbox) consent(w http.ResponseWriter, r *http.Request) {
	form, ok := s.readForm(w, r)
	if !ok {
		return
	}
	user, session, ok := s.loggedIn(r)
	if !ok {
		http.Redirect(w, r, AuthorizePath+"?"+form.Get("request"), http.StatusSeeOther)
		return
	}
	if !s.csrfValid(form.Get("csrf"), "consent", session) {
		http.Error(w, "this form is not from the page you saw; open the link again", http.StatusForbidden)
		return
	}
	req, problem := s.parseAuthorize(form.Get("request"))
	if problem != nil {
		s.showError(w, r, problem)
		return
	}
	back := url.Values{}
	if req.state != "" {
		back.Set("state", req.state)
	}
	switch form.Get("decision") {
	case "allow":
		back.Set("code", s.state.issueCode(code{
			app: req.app.ID, user: user.Username, redirectURI: req.redirectURI,
			challenge: req.challenge, scopes: req.scopes, expires: s.now().Add(CodeLifetime),
		}))
	case "deny":
		back.Set("error", "access_denied")
	default:
		http.Error(w, "decision must be allow or deny", http.StatusBadRequest)
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "consent decided", slog.String("app", req.app.ID), slog.String("user", user.Username),
		slog.String("decision", form.Get("decision")), slog.String("scope", req.scopes.String()))
	target, err := url.Parse(req.redirectURI)
	if err != nil { // New parsed it already
		http.Error(w, "bad redirect URI", http.StatusInternalServerError)
		return
	}
	query := target.Query()
	for name := range back {
		query.Set(name, back.Get(name))
	}
	target.RawQuery = query.Encode()
	http.Redirect(w, r, target.String(), http.StatusFound)
}

// sessionLifetime is how long a browser stays logged in here.
const sessionLifetime = 8 * time.Hour
